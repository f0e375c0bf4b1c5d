"""From what the agent knows to alerts: an hour that is well alerts nothing, and each trouble its own. Edge."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from tenfold.balancer.states import Wanted
from tenfold.dashboard.inputs import Agent, Collector
from tenfold.monitor.alerts.book import Book, Change
from tenfold.monitor.alerts.rules import BAD, WELL, WORST, Key, Reading, id_of, rules_of, runbook
from tenfold.monitor.alerts.rules import NAMES as NAMES_OF_RULES
from tenfold.monitor.collect.health import Health
from tenfold.monitor.collect.machine import Certificate, Disk, Machine, Usage
from tenfold.monitor.live import Live
from tenfold.runtime.agent_history import History
from tenfold.runtime.agent_readings import Beside, readings, target_of
from tenfold.runtime.agent_view import Facts, tick
from tenfold.topology.model import Topology
from tests.balancer.site import topology_of

NOW_S = 1_700_000_000.0
NAMES = ("nginx's log", "host", "backends", "shards", "services", "disks", "certificates")
BACKENDS = ("backend_0", "backend_1", "backend_2")
UP, DOWN = Health("up", NOW_S), Health("down", NOW_S, reason="refuses connections")
MACHINE = Machine(0.25, 2.0, 2**31, 2**32, None, None, 0.5, {"backend_0": Usage(0.1, 2**26)})


def collectors(**bad: str) -> Agent:
    """All answer but those that are named with an error."""
    return Agent(
        collectors=[
            Collector(name, target_of(name) not in bad, 0.5 if target_of(name) not in bad else 60.0, 1.0,
                      bad.get(target_of(name)))
            for name in NAMES
        ]
    )  # fmt: skip


def topology(**monitor: Any) -> Topology:
    whole = topology_of()
    return whole.model_copy(update={"monitor": whole.monitor.model_copy(update=monitor)})


def well(now_s: float = NOW_S, **monitor: Any) -> Facts:
    """A platform that is well, without traffic yet."""
    facts = Facts(topology(**monitor), Live(now_s), History())
    facts.log_read, facts.agent, facts.machine = True, collectors(), MACHINE
    facts.backends = dict.fromkeys(BACKENDS, UP)
    facts.shards, facts.services = dict.fromkeys(facts.topology.database.shards, UP), {"nginx": UP, "redis": UP}
    facts.disks = [Disk("var", 0.4, 0.1, 2**35)]
    return facts


def served(
    facts: Facts, now_s: float, count: int, backend: str = "backend_0", status: int = 200, took: float = 0.1
) -> None:
    facts.live.request(now_s, [backend] * count, np.full(count, status), np.full(count, took))


def read(facts: Facts, now_s: float = NOW_S + 10, known: tuple[Key, ...] = (), **beside: Any) -> Mapping[Key, Reading]:
    return readings(facts, Beside(**beside), known, now_s)


def test_everything_of_the_file_is_watched() -> None:
    found = read(well(certificates=("a.pem",)))
    assert {id_of(key) for key in found} == {
        "response_time:platform", "error_ratio:platform", "memory:host", "cpu:host", "disk:var", "certificate:a.pem",
        *(f"{rule}:{name}" for rule in ("response_time", "error_ratio", "backend_down") for name in BACKENDS),
        *(f"{rule}:shard_0" for rule in ("shard_down", "slow_query")),
        "service_down:nginx", "service_down:redis", "silent:a.pem",
        *(f"silent:{target_of(name)}" for name in NAMES),
    }  # fmt: skip


def test_every_rule_has_a_runbook_that_its_alerts_name() -> None:
    root = Path(__file__).parent.parent.parent
    for rule in NAMES_OF_RULES:
        assert (root / runbook(rule)).read_text().startswith(f"# {rule}\n")
    assert len(list((root / "docs/runbooks").glob("*.md"))) >= len(NAMES_OF_RULES)


def test_traffic_is_judged_by_five_minutes_and_names_who_is_bad() -> None:
    facts = well()
    served(facts, NOW_S + 1, 60, "backend_0")
    served(facts, NOW_S + 1, 20, "backend_1", 500, 8.0)
    number = facts.live.register("http", ["GET", "/report/{id}", "500"])
    facts.live.observations(NOW_S + 1, np.full(20, number), np.full(20, 8.0))
    found = read(facts)
    assert found["error_ratio", "platform"] == Reading(0.25, 80, "backend_1 100.0 %")
    slow = found["response_time", "platform"]
    assert slow.value == pytest.approx(8.0, rel=0.02) and slow.about == "GET /report/{id} 8.00 s"
    assert found["error_ratio", "backend_0"] == Reading(0.0, 60) and found["error_ratio", "backend_1"].value == 1.0
    assert found["error_ratio", "backend_2"] == Reading()
    assert read(facts, NOW_S + 290)["error_ratio", "platform"].count == 80
    assert read(facts, NOW_S + 310)["error_ratio", "platform"].count == 0


def test_one_backend_is_the_platform_and_one_that_was_taken_out_is_not_judged() -> None:
    facts = well()
    facts.wanted = {"backend_1": Wanted.DOWN}
    assert ("error_ratio", "backend_1") not in read(facts) and ("error_ratio", "backend_0") in read(facts)
    app = facts.topology.app
    one = app.model_copy(update={"backends": app.backends[:1]})
    facts.topology = facts.topology.model_copy(update={"app": one})
    assert {key[1] for key in read(facts) if key[0] == "error_ratio"} == {"platform"}


def test_statements_are_judged_by_shard_where_the_app_tells_of_them() -> None:
    facts = well()
    assert read(facts)["slow_query", "shard_0"] == Reading()
    number = facts.live.register("sql", ["SELECT", "users", "shard_0", "ok"])
    facts.live.observations(NOW_S + 1, np.full(30, number), np.full(30, 2.0))
    found = read(facts)["slow_query", "shard_0"]
    assert found.count == 30 and found.value == pytest.approx(2.0, rel=0.02)


def test_what_is_down_is_as_bad_as_what_is_left() -> None:
    facts = well()
    facts.backends = {"backend_0": DOWN, "backend_1": UP, "backend_2": Health()}
    facts.shards, facts.services = {"shard_0": DOWN}, {"nginx": DOWN, "redis": DOWN}
    found = read(facts)
    assert found["backend_down", "backend_0"] == Reading(BAD, about="refuses connections")
    assert found["backend_down", "backend_2"] == Reading()  # nobody knows yet
    assert found["shard_down", "shard_0"].value == found["service_down", "nginx"].value == WORST
    assert found["service_down", "redis"].value == BAD
    facts.wanted = {"backend_1": Wanted.DOWN}
    found = read(facts)
    assert found["backend_down", "backend_0"].value == WORST  # nobody is left
    assert found["backend_down", "backend_1"].value == WELL
    facts.wanted = {"backend_0": Wanted.DOWN}  # taken out on purpose, and stopped
    assert read(facts)["backend_down", "backend_0"].value == WELL


def test_machine_and_disks_are_shares_and_the_scarcer_of_room_and_files_counts() -> None:
    facts = well()
    facts.machine = replace(MACHINE, cpu=0.9, groups={"backend_1": Usage(1.7, 2**30), "nginx": Usage(0.1, 2**20)})
    facts.disks = [Disk("var", 0.5, 0.99, 2**30), Disk("/srv/shards", 0.85, None, 2**30)]
    found = read(facts)
    assert found["memory", "host"] == Reading(0.5, about="most of ours: backend_1, 1024 MiB")
    assert found["cpu", "host"] == Reading(0.9, about="most of ours: backend_1, 1.7 cores")
    assert found["disk", "var"] == Reading(0.99, about="of the number of files it can hold")
    assert found["disk", "/srv/shards"] == Reading(0.85, about="1.0 GiB free")


def test_a_certificate_is_days_and_one_that_cannot_be_read_is_silent() -> None:
    facts = well(certificates=("a.pem", "b:443", "c.pem"))
    facts.certificates = {"a.pem": Certificate(NOW_S + 10 + 86_400 * 3.5), "b:443": Certificate(None, "no answer")}
    found = read(facts)
    assert found["certificate", "a.pem"].value == 3.5 and found["silent", "a.pem"].value == WELL
    assert found["certificate", "b:443"].trouble == "no answer" and found["silent", "b:443"].value == BAD
    assert found["certificate", "c.pem"] == found["silent", "c.pem"] == Reading()
    assert tick(facts, NOW_S)['tenfold_certificate_ends_seconds{certificate="a.pem"}'] == NOW_S + 10 + 86_400 * 3.5


@pytest.mark.parametrize(
    ("source", "blind"),
    [
        ("nginx_log", {"response_time", "error_ratio"}),
        ("host", {"memory", "cpu"}),
        ("backends", {"backend_down"}),
        ("shards", {"shard_down"}),
        ("services", {"service_down"}),
        ("disks", {"disk"}),
    ],
)
def test_a_source_that_is_silent_alerts_once_and_blinds_its_rules(source: str, blind: set[str]) -> None:
    facts = well()
    served(facts, NOW_S + 1, 60)
    before = read(facts)
    facts.agent = collectors(**{source: "hangs: no answer for 60 s"})
    found = read(facts, known=tuple(before))
    assert found.keys() == before.keys()
    assert {key[0] for key in found if found[key].blind and not before[key].blind} == blind
    assert {key for key in found if key[0] == "silent" and found[key].value == BAD} == {("silent", source)}


def test_a_source_that_has_just_begun_is_not_silent_yet() -> None:
    facts = well()
    facts.agent = Agent(collectors=[Collector("shards", False), Collector("host", True, 0.1)])
    found = read(facts)
    assert found["silent", "shards"] == Reading() and found["silent", "host"] == Reading(WELL)


def test_a_log_that_is_gone_while_nginx_serves_is_a_silent_source() -> None:
    facts = well()
    served(facts, NOW_S + 1, 60)
    assert read(facts, log_missing=True)["silent", "nginx_log"].value == BAD
    assert ("error_ratio", "platform") not in read(facts, log_missing=True)
    facts.services = {"nginx": DOWN}
    assert read(facts, log_missing=True)["silent", "nginx_log"].value == WELL  # it is nginx that alerts


def test_a_part_that_cannot_be_judged_ends_no_alert_and_no_other_part() -> None:
    facts = well()
    facts.live = cast(Live, None)  # as a bug of ours would
    known = (("response_time", "platform"), ("disk", "var"))
    found = read(facts, known=known)
    assert found["response_time", "platform"].trouble.startswith("it cannot be judged: AttributeError")
    assert found["disk", "var"].value == 0.4
    facts.disks = None  # not looked at yet, after a restart
    assert read(facts, known=known)["disk", "var"] == Reading()


def test_what_cannot_be_kept_is_told() -> None:
    found = read(well(), troubles={"history": "make room", "alerts": None})
    assert found["store", "history"] == Reading(BAD, about="make room") and found["store", "alerts"].value == WELL


# The hour takes seconds: one in each run, more with the drills.
@pytest.mark.parametrize("seed", [1, 2, 3] if os.environ.get("TENFOLD_DRILLS") == "1" else [1])
def test_an_hour_that_is_well_alerts_nothing(seed: int) -> None:
    """Traffic that comes and goes, a reload, a restart, a rare error, one very slow request, a busy minute."""
    chance = random.Random(seed)
    facts = well()
    book, changes = Book(rules_of(facts.topology.monitor), 3), list[Change]()
    statement = facts.live.register("sql", ["SELECT", "users", "shard_0", "ok"])
    for second in range(3600):
        now_s = NOW_S + second
        # From a quiet night of three requests a minute to thirty a second.
        rate = 0.05 if second < 900 else 30 * (second - 900) / 2700
        count = int(rate) + (chance.random() < rate % 1)
        if count:
            took = np.array([chance.lognormvariate(-2.5, 0.9) for _ in range(count)])
            status = np.array([502 if chance.random() < 0.01 else 200 for _ in range(count)])
            if second == 200:
                status[:] = 500  # the only request of a minute fails
            if second in (300, 1800):
                took[0] = 40.0  # somebody's report
            facts.live.request(now_s, [chance.choice(BACKENDS) for _ in range(count)], status, took)
            facts.live.observations(now_s, np.full(count * 3, statement), np.repeat(took, 3) / 20)
        cpu = min(1.0, abs(chance.gauss(0.3, 0.15)) if not 1200 <= second < 1320 else 0.97)
        memory = round(2**32 * (0.6 + 0.15 * chance.random()))
        facts.machine = replace(MACHINE, cpu=cpu, memory_used_bytes=memory)
        facts.disks = [Disk("var", 0.70 + second / 3600 * 0.05, 0.1, 2**35)]
        # Reloads, a rolling restart of eight seconds each, a shard that is away for ten, Redis for five.
        facts.backends = {
            name: DOWN if 2000 + 60 * n <= second < 2008 + 60 * n else UP for n, name in enumerate(BACKENDS)
        }
        facts.shards = {"shard_0": DOWN if 2500 <= second < 2510 else UP}
        facts.services = {"nginx": DOWN if second % 600 in (0, 1) else UP, "redis": DOWN if 40 < second < 46 else UP}
        hiccup = {chance.choice(["host", "shards", "disks"]): "no answer within 5 s"} if chance.random() < 0.02 else {}
        facts.agent = collectors(**hiccup)
        if second == 3000:  # the agent is killed, and comes back
            kept, book = book.as_json(), Book(rules_of(facts.topology.monitor), 3)
            book.restore(kept)
        if second % 2 or second in (200, 300):
            changes += book.step(now_s, readings(facts, Beside(), book.watched(), now_s))
    assert [f"{c.what} {id_of(c.alert.key)} {c.alert.about}" for c in changes] == [], f"seed {seed}"
