"""Alerts where they happen: on a platform that runs, and in an agent that is killed. Edge."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sqlite3
import urllib.error
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from threading import Timer
from typing import Any, cast

import pytest

from tenfold.audit.trail import Trail
from tenfold.dashboard import inputs as page
from tenfold.errors import NodeDown, NotifyError, TenfoldError
from tenfold.hosts.agent_link import AgentLink
from tenfold.monitor.alerts.book import Book
from tenfold.monitor.alerts.rules import rules_of
from tenfold.monitor.collect.health import Health
from tenfold.monitor.collect.machine import Disk
from tenfold.monitor.live import Live
from tenfold.runtime import agent_alerts_kept
from tenfold.runtime.agent_alerts import AgentAlerts
from tenfold.runtime.agent_alerts_kept import AlertKeeper
from tenfold.runtime.agent_history import History
from tenfold.runtime.agent_notify import Notifier
from tenfold.runtime.agent_view import Facts
from tenfold.runtime.place import Place
from tenfold.topology.operations import Monitor, Notify, Threshold
from tests.balancer.site import topology_of
from tests.mariadb import on_mariadb, server
from tests.runtime.agents import LoneAgent, log_line
from tests.runtime.platforms import Platform
from tests.support import wait_for

SHORT = """
[monitor]
down_for_s = 1.0
keep_firing_s = 1.0
min_requests = 5
memory_ratio = { warning = 1.0, critical = 1.0 }
cpu_ratio = { warning = 1.0 }
disk_ratio = { warning = 1.0, critical = 1.0 }
[monitor.response_time_s]
warning = 2.0
critical = 30.0
for_s = 1.0
[monitor.error_ratio]
for_s = 1.0
[notify]
group_wait_s = 1.0
"""
LIMITS = '[balancer.limits]\ngeneral = { rate = "9999r/s", burst = 9999 }\n'
LONG_S = 40.0
NOW_S = 1_700_000_000.0

drill = pytest.mark.skipif(os.environ.get("TENFOLD_DRILLS") != "1", reason="takes long: make drills")


class Watch:
    """What an agent says of its alerts, and what it tells."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.told_before = 0

    def ask(self, action: str = "list", **more: Any) -> dict[str, Any]:
        return AgentLink(self.root / "var/run/agent.sock", 10.0).ask({"do": "alerts", "action": action, **more})

    def answers(self) -> bool:
        with suppress(NodeDown):
            return bool(self.ask())
        return False

    def items(self) -> dict[str, dict[str, Any]]:
        return {item["id"]: item for item in self.ask()["alerts"]["items"]}

    def firing(self, name: str) -> dict[str, Any] | None:
        item = self.items().get(name)
        return item if item and item["state"] == "firing" else None

    def notices(self) -> list[dict[str, Any]]:
        """All that alerts were told since `fresh`, the oldest first."""
        box = self.root / "var/agent/outbox.db"
        if not box.exists() or not box.stat().st_size:
            return []
        with closing(sqlite3.connect(box, timeout=10)) as db:
            rows = db.execute("SELECT body FROM notice WHERE key LIKE 'alerts/%' ORDER BY id").fetchall()
        return [json.loads(row[0]) for row in rows][self.told_before :]

    def fresh(self) -> None:
        wait_for(lambda: not self.items() or None, "nothing alerts", LONG_S)
        told = self.notices
        wait_for(lambda: not told() or told()[-1]["resolved"], "what was told has ended", LONG_S)
        self.told_before += len(told())

    def told_once_and_over(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The one notice of its beginning, and the one of its end."""
        wait_for(lambda: len(self.notices()) >= 2, "its end is told", LONG_S)
        begun, over = self.notices()
        assert (begun["resolved"], over["resolved"]) == (False, True)
        return begun, over


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Two backends behind the balancer, with limits that are soon reached.

    The tests share five minutes of traffic: what is bad is brought below its limits by much that is good.
    """
    platform = Platform(tmp_path_factory.mktemp("alerts") / "site", backends=2)
    platform.write(more=SHORT + LIMITS)
    (platform.root / "var").mkdir()
    sqlite3.connect(platform.root / "var/shard_0.db").executescript("CREATE TABLE t (a)")
    platform.up()
    wait_for(lambda: Watch(platform.root).answers(), "the agent answers", LONG_S)
    yield platform
    platform.close()


@pytest.fixture
def watch(site: Platform) -> Watch:
    watch = Watch(site.root)
    watch.fresh()
    return watch


def ask_many(site: Platform, count: int, path: str = "/", at_once: int = 4) -> None:
    def one(_: int) -> None:
        with suppress(urllib.error.HTTPError):
            site.get(path, timeout_s=20)

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(one, range(count)))


def voices(watch: Watch, rule: str) -> set[str]:
    """Alerts of a rule that speak for themselves."""
    return {n for n, item in watch.items().items() if item["rule"] == rule and not item["inhibited_by"]}


def test_a_backend_that_answers_500_alerts_once_and_is_over_when_it_is_mended(site: Platform, watch: Watch) -> None:
    failing = site.root / "failing_backend_0"
    failing.touch()
    try:
        ask_many(site, 24)
        wait_for(lambda: watch.firing("error_ratio:backend_0"), "it fires", LONG_S)
        assert watch.items()["error_ratio:backend_0"]["severity"] == "critical"
        assert "error_ratio:backend_1" not in watch.items()
        assert len(voices(watch, "error_ratio")) == 1
        wait_for(lambda: watch.notices(), "it is told", LONG_S)
    finally:
        failing.unlink()
    ask_many(site, 700)
    begun, _ = watch.told_once_and_over()
    assert begun["severity"] == "critical" and "of the requests" in begun["title"]


@drill
def test_a_slow_route_alerts_once_and_is_over_when_it_is_quick_again(site: Platform, watch: Watch) -> None:
    ask_many(site, 60, "/slow?3", at_once=60)
    wait_for(lambda: watch.firing("response_time:platform"), "it fires", LONG_S)
    assert watch.items()["response_time:platform"]["severity"] == "warning"
    assert len(voices(watch, "response_time")) == 1
    wait_for(lambda: watch.notices(), "it is told", LONG_S)
    ask_many(site, 800)
    begun, over = watch.told_once_and_over()
    assert begun["severity"] == over["severity"] == "warning"
    assert "takes longer than " in begun["title"] and "docs/runbooks/response_time.md" in begun["text"]


def test_a_shard_whose_file_is_gone_alerts_once_and_is_over_when_it_is_back(site: Platform, watch: Watch) -> None:
    file = site.root / "var/shard_0.db"
    file.rename(file.with_name("gone.db"))
    item = wait_for(lambda: watch.firing("shard_down:shard_0"), "it fires", LONG_S)
    assert item["severity"] == "critical" and "shard_0 is down" in item["summary"]
    wait_for(lambda: watch.notices(), "it is told", LONG_S)
    file.with_name("gone.db").rename(file)
    begun, over = watch.told_once_and_over()
    assert begun["severity"] == over["severity"] == "critical"


@drill
def test_a_log_that_is_taken_away_from_nginx_alerts_as_a_silent_source(site: Platform, watch: Watch) -> None:
    log = site.root / "var/log/nginx-access.tsv"
    assert log.exists()
    log.rename(log.with_name("elsewhere"))
    item = wait_for(lambda: watch.firing("silent:nginx_log"), "it fires", LONG_S)
    assert item["severity"] == "warning" and "no word from nginx_log" in item["summary"]
    wait_for(lambda: watch.notices(), "it is told", LONG_S)
    log.with_name("elsewhere").rename(log)
    begun, _ = watch.told_once_and_over()
    assert "no word from nginx_log" in begun["title"]


# --- an agent by itself ---


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneAgent]:
    """An agent that runs; its shard is missing, so it has something to alert of."""
    agent = LoneAgent(tmp_path_factory.mktemp("alone") / "site", more=SHORT)
    agent.start()
    fires(agent)
    yield agent
    agent.close()


def fires(agent: LoneAgent, name: str = "shard_down:shard_0") -> Watch:
    watch = Watch(agent.root)
    wait_for(lambda: watch.firing(name), "it fires", LONG_S)
    return watch


def test_alerts_are_in_the_view_and_in_what_is_kept(alone: LoneAgent) -> None:
    told = alone.view()["alerts"]
    assert told["counts"]["critical"] == 1 and told["items"][0]["id"] == "shard_down:shard_0"
    series = 'ALERTS{alertname="shard_down",alertstate="firing",severity="critical",target="shard_0"}'
    wait_for(lambda: alone.kept(series) == 1, "it is kept", LONG_S)


@drill
def test_few_bad_requests_alert_nothing_and_explain_says_so(alone: LoneAgent) -> None:
    alone.write(*[log_line(alone.ports[0], 500) for _ in range(4)])
    watch = Watch(alone.root)

    def explained() -> dict[str, Any] | None:
        (one,) = watch.ask("explain", id="error_ratio:platform")["explained"]
        return one if one["samples"][-1]["count"] == 4 else None

    assert wait_for(explained, "they are counted")["why"] == "does not fire: too few requests, 4 of 5"
    alone.write(log_line(alone.ports[0], 500))
    wait_for(lambda: watch.firing("error_ratio:platform"), "the fifth is enough", LONG_S)


REFUSED: list[dict[str, Any]] = [
    {"action": "ack", "id": "cpu:host"},
    {"action": "ack"},
    {"action": "silence", "matches": ["nonsense"], "for_s": 60},
    {"action": "silence", "matches": 5, "for_s": 60},
    {"action": "silence", "matches": ["cpu"], "for_s": "long"},
    {"action": "unsilence", "id": "s99"},
    {"action": "explain", "id": "nonsense"},
    {"action": "explain", "id": ["x"]},
    {"action": "burn"},
    {"action": ["x"]},
    {"action": "ack", "id": "shard_down:shard_0", "note": "x" * 10_000},
    {"action": "ack", "id": "shard_down:shard_0", "who": 5},
]


def test_all_that_people_do_is_on_the_trail_and_nothing_that_was_refused(alone: LoneAgent) -> None:
    watch = Watch(alone.root)
    watch.ask("ack", id="shard_down:shard_0", note="on it", who="ann@desk")
    made = watch.ask("silence", matches={"rule": "cpu"}, for_s=60, note="a test", who="ann@desk")["silence"]
    watch.ask("unsilence", id=made["id"])
    for refused in REFUSED:
        with pytest.raises(TenfoldError) as error:
            watch.ask(**refused)
        assert error.value.hint and not isinstance(error.value, NodeDown), refused
    trail = Trail(alone.root / "var/audit.jsonl")
    assert trail.faults() == []
    done = [(entry.did, entry.about) for entry in trail.entries()]
    assert [did for did, _ in done] == ["alerts.ack", "alerts.silence", "alerts.unsilence"]
    assert done[0][1] == {"id": "shard_down:shard_0", "note": "on it"}
    assert [entry.who for entry in trail.entries()][:2] == ["ann@desk", "ann@desk"]


def test_the_forms_of_the_page_do_the_same(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.make()
    topology = topology_of().model_copy(update={"monitor": Monitor(down_for_s=0.0)})
    facts = Facts(topology, Live(NOW_S), History())
    facts.agent = page.Agent(collectors=[page.Collector("shards", True, 0.1)])
    facts.shards = {"shard_0": Health("down", NOW_S, reason="refuses connections")}
    alerts = AgentAlerts(facts, place, Notifier(topology, place), lambda: NOW_S)
    try:
        alerts.evaluate(NOW_S)
        assert facts.alerts is not None and facts.alerts.counts["critical"] == 1
        asyncio.run(alerts.act("ack", {"id": "shard_down:shard_0", "note": "mine"}, "ann"))
        asyncio.run(alerts.act("silence", {"id": "shard_down:shard_0", "for_s": "3600", "comment": "known"}, "ann"))
        asyncio.run(alerts.act("silence", {"matches": "rule=disk target=var", "for_s": "60"}, "ann"))
        item = facts.alerts.items[0]
        assert (item["acked_by"], item["ack_note"], item["silenced_until_s"]) == ("ann", "mine", NOW_S + 3600)
        assert [one["matches"] for one in facts.alerts.silences] == [
            {"rule": "shard_down", "target": "shard_0"}, {"rule": "disk", "target": "var"}
        ]  # fmt: skip
        asyncio.run(alerts.act("unsilence", {"id": "s1"}, "ann"))
        for action, fields in [("silence", {"id": "cpu", "for_s": "soon"}), ("silence", {"for_s": "60"}), ("burn", {})]:
            with pytest.raises(NotifyError):
                asyncio.run(alerts.act(action, fields, "ann"))
        done = [(entry.did, entry.who) for entry in Trail(place.var / "audit.jsonl").entries()]
        assert done == [(f"alerts.{did}", "ann") for did in ("ack", "silence", "silence", "unsilence")]
    finally:
        alerts.close(5.0)


def test_a_disk_that_hangs_under_the_trail_holds_up_neither_the_page_nor_the_alerts(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.make()
    facts = Facts(topology_of(), Live(NOW_S), History())
    alerts = AgentAlerts(facts, place, Notifier(facts.topology, place), lambda: NOW_S)

    async def silence() -> None:
        with (place.var / "audit.jsonl").open("a") as held:
            fcntl.flock(held, fcntl.LOCK_EX)  # to who writes the trail, as a disk that does not answer
            late = Timer(5.0, fcntl.flock, (held.fileno(), fcntl.LOCK_UN))  # who has waited for it is found out
            late.start()
            act = asyncio.create_task(alerts.act("silence", {"id": "cpu", "for_s": "60"}, "ann"))
            await asyncio.sleep(0.05)
            alerts.evaluate(NOW_S)
            held_up = act.done()
            late.cancel()
            late.join()
        await act
        assert not held_up and facts.alerts is not None
        assert facts.alerts.silences

    try:
        asyncio.run(asyncio.wait_for(silence(), 20))
    finally:
        alerts.close(5.0)


def test_a_warning_that_somebody_took_on_is_told_when_it_becomes_critical(tmp_path: Path) -> None:
    place, watch = Place(tmp_path), Watch(tmp_path)
    place.make()
    monitor = Monitor(disk_ratio=Threshold(warning=0.8, critical=0.9, for_s=0.0))
    topology = topology_of().model_copy(update={"monitor": monitor, "notify": Notify(group_wait_s=0.0)})
    facts = Facts(topology, Live(NOW_S), History())
    facts.agent = page.Agent(collectors=[page.Collector("disks", True, 0.1)])
    notifier = Notifier(topology, place)
    alerts = AgentAlerts(facts, place, notifier, lambda: NOW_S)
    notifier.start()
    try:
        facts.disks = [Disk("var", 0.85, None, 1 << 30)]
        alerts.evaluate(NOW_S)
        wait_for(lambda: len(watch.notices()) == 1, "the warning is told")
        asyncio.run(alerts.act("ack", {"id": "disk:var", "note": "on Monday"}, "ann"))
        facts.disks = [Disk("var", 0.95, None, 1 << 30)]
        alerts.evaluate(NOW_S + 1)
        wait_for(lambda: len(watch.notices()) == 2, "what it has become is told")
        assert [notice["severity"] for notice in watch.notices()] == ["warning", "critical"]
        assert facts.alerts is not None and facts.alerts.items[0]["acked_by"] == "ann"
    finally:
        notifier.stop(5.0)
        alerts.close(5.0)


def test_a_bug_in_judging_is_not_the_end_of_the_agent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = Place(tmp_path)
    place.make()
    facts = Facts(topology_of(), Live(NOW_S), History())
    alerts = AgentAlerts(facts, place, Notifier(facts.topology, place), lambda: NOW_S)
    try:
        facts.agent = cast(page.Agent, None)
        for second in range(3):
            alerts.evaluate(NOW_S + second)
        assert facts.alerts is None and caplog.text.count("alerts cannot be judged") == 1
        facts.agent = page.Agent()
        alerts.evaluate(NOW_S + 3)
        assert facts.alerts is not None
    finally:
        alerts.close(5.0)


def test_what_cannot_be_put_on_the_trail_is_not_done(alone: LoneAgent) -> None:
    trail, watch = alone.root / "var/audit.jsonl", Watch(alone.root)
    trail.unlink(missing_ok=True)
    trail.mkdir()
    try:
        with pytest.raises(TenfoldError, match="audit trail cannot be written"):
            watch.ask("silence", matches=["cpu"], for_s=60)
        assert watch.ask()["alerts"]["silences"] == []
    finally:
        trail.rmdir()


@drill
def test_an_agent_that_is_killed_goes_on_with_what_fires_and_who_took_it_on(tmp_path: Path) -> None:
    agent = LoneAgent(tmp_path / "site", more=SHORT)
    try:
        agent.start()
        watch = fires(agent)
        wait_for(lambda: watch.notices(), "it is told", LONG_S)
        since_s = watch.items()["shard_down:shard_0"]["since_s"]
        watch.ask("ack", id="shard_down:shard_0", note="on it", who="ann@desk")
        watch.ask("silence", matches=["rule=disk"], for_s=3600, note="new disk", who="bob@desk")
        state = agent.root / "var/agent/alerts.json"
        wait_for(lambda: '"disk"' in state.read_text(), "it is kept", LONG_S)
        agent.end(signal.SIGKILL)
        agent.start()
        item = watch.items()["shard_down:shard_0"]
        assert (item["state"], item["acked_by"], item["ack_note"]) == ("firing", "ann@desk", "on it")
        assert item["since_s"] == pytest.approx(since_s, abs=0.01)
        assert [one["matches"] for one in watch.ask()["alerts"]["silences"]] == [{"rule": "disk"}]
        sqlite3.connect(agent.root / "var/shard_0.db").executescript("CREATE TABLE t (a)")
        wait_for(lambda: "shard_down:shard_0" not in watch.items(), "it is over", LONG_S)
        watch.told_once_and_over()

        agent.end(signal.SIGKILL)
        state.write_bytes(state.read_bytes()[:-20])
        agent.start()
        fires(agent, "store:alerts")
        assert "was damaged" in watch.items()["store:alerts"]["summary"]
        (aside,) = state.parent.glob("alerts.json.damaged-*")
        aside.unlink()
        wait_for(lambda: "store:alerts" not in watch.items(), "seen and removed", LONG_S)
    finally:
        agent.close()


@drill
@pytest.mark.parametrize("how", ["stop", "pause"])
def test_a_server_that_is_stopped_or_hangs_alerts_once_and_is_over(
    tmp_path: Path, mariadb_pattern: Path, how: str
) -> None:
    agent = LoneAgent(tmp_path / "site", more=SHORT)
    with server(mariadb_pattern) as shard:
        file = agent.root / "tenfold.toml"
        text = file.read_text().replace("[database.shards]", '[database]\nengine = "sqlite"\n[database.shards]')
        file.write_text(on_mariadb(agent.root, text, [shard.create("ledger")]))
        try:
            agent.start()
            watch = Watch(agent.root)
            wait_for(lambda: agent.view()["shards"][0]["state"] == "up", "the shard is up", LONG_S)
            getattr(shard, how)()
            item = wait_for(lambda: watch.firing("shard_down:shard_0"), "it fires", LONG_S)
            assert item["severity"] == "critical"
            wait_for(lambda: watch.notices(), "it is told", LONG_S)
            shard.start() if how == "stop" else shard.resume()
            watch.told_once_and_over()
        finally:
            agent.close()


# --- what is kept ---


@pytest.mark.parametrize("damage", [b"", b"{", b'{"version": 1, "book": {}}', b'{"version": 99}', b"\xff" * 9, b"[]"])
def test_a_state_that_is_damaged_is_set_aside_and_told(tmp_path: Path, damage: bytes) -> None:
    state = tmp_path / "alerts.json"
    state.write_bytes(damage)
    book = Book(rules_of(Monitor()), 1)
    assert not agent_alerts_kept.restore(state, book, 1_700_000_000.0)
    aside = tmp_path / "alerts.json.damaged-1700000000"
    assert aside.read_bytes() == damage and not state.exists() and book.watched() == []
    assert f"are in {aside.name}" in (agent_alerts_kept.damage(state) or "")
    aside.unlink()
    assert agent_alerts_kept.damage(state) is None and agent_alerts_kept.restore(state, book, 0.0)


def test_a_state_that_cannot_be_written_is_told_and_written_when_it_can(tmp_path: Path) -> None:
    state = tmp_path / "away" / "alerts.json"
    keeper = AlertKeeper(state)
    keeper.keep({"number": 1})
    trouble = wait_for(lambda: keeper.trouble, "it is told")
    assert "alerts are not kept: No such file" in trouble
    state.parent.mkdir()
    keeper.keep({"number": 2})
    wait_for(lambda: not keeper.trouble, "it is written")
    keeper.keep({"number": 3})
    keeper.close(5.0)
    assert json.loads(state.read_text()) == {"version": 1, "book": {"number": 3}}
