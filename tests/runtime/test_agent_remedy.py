"""A backend that hangs is restarted by itself, within bounds, and what was decided stands on the audit trail. Edge."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tenfold.audit.trail import Trail
from tenfold.balancer.states import States, Wanted
from tenfold.monitor.collect.health import Health
from tenfold.monitor.collect.probes import Probes
from tenfold.monitor.live import Live
from tenfold.monitor.remedies import Policy
from tenfold.notify.outbox import Outbox
from tenfold.runtime import agent_questions, programs
from tenfold.runtime.agent_history import History
from tenfold.runtime.agent_remedy import Remedy
from tenfold.runtime.agent_sight import RecordSight
from tenfold.runtime.agent_view import Facts
from tenfold.runtime.fleet import Here
from tenfold.runtime.place import Place
from tenfold.topology.load import load
from tests.runtime.platforms import Platform, runs
from tests.support import wait_for

QUICK = Policy(hold_s=4.0, settle_s=0.5, verify_s=0.5, open_s=60.0, budget=1, pause_s=0.2, jitter=0.1)

drill = pytest.mark.skipif(os.environ.get("TENFOLD_DRILLS") != "1", reason="takes a minute; make drills")


def is_past(moment_s: float) -> bool:
    return time.monotonic() > moment_s


class Watch:
    """A remedy beside a platform, with the agent's own questions, and a patience that a test can wait for."""

    def __init__(self, platform: Platform, mode: str = "restart", wanted: States | None = None) -> None:
        topology = load(platform.root / "tenfold.toml")
        monitor = type(topology.monitor).model_validate({"remedies": mode})
        topology = topology.model_copy(update={"monitor": monitor})
        self.place = Place.of(platform.root / "tenfold.toml")
        self.facts = Facts(topology, Live(time.time()), History(None))
        record = RecordSight(self.place.state)
        made = programs.backends(topology, {}, "python")
        self._probes = {p.name: agent_questions.of_program(p, partial(record.entry, p.name)) for p in made}
        self.outbox, self.seen = Outbox(self.place.agent / "ours.db"), True
        self.remedy = Remedy(
            Here(topology), self.place, self.facts, record, lambda: wanted or {}, lambda: self.seen, self.outbox, QUICK
        )

    def until(self, fact: Callable[[], object], what: str, timeout_s: float = 40.0) -> None:
        """Look, until `fact` is so."""

        asyncio.run(self.looking(fact, what, timeout_s))

    async def looking(self, fact: Callable[[], object], what: str, timeout_s: float = 40.0) -> None:
        probes, late_s = Probes(self._probes), time.monotonic() + timeout_s
        while not fact():
            assert time.monotonic() < late_s, f"{what}: {self.trail()}"
            self.facts.backends = await probes.collect(time.time())
            await self.remedy.look(time.monotonic())
            await asyncio.sleep(0.1)

    def trail(self) -> list[dict[str, Any]]:
        entries = Trail(self.place.var / "audit.jsonl").entries()
        return [{"did": e.did, **e.about} for e in entries if e.did.startswith("remedy.")]

    def did(self) -> list[str]:
        return [entry["did"] for entry in self.trail()]


@pytest.fixture
def two(two_backends: Platform) -> Platform:
    two_backends.write(more='[monitor]\nremedies = "off"\n')
    two_backends.up()
    return two_backends


def test_a_backend_that_hangs_is_restarted_once_and_a_cure_is_noted(two: Platform) -> None:
    watch = Watch(two)
    hung, other = two.pid("backend_1"), two.pid("backend_0")
    os.kill(hung, signal.SIGSTOP)
    watch.until(lambda: "remedy.cured" in watch.did(), "the backend is well again")
    assert watch.did() == ["remedy.restart", "remedy.restarted", "remedy.cured"]
    first = watch.trail()[0]
    assert first["backend"] == "backend_1" and first["why"] and first["dry_run"] is False
    assert not runs(hung) and two.pid("backend_0") == other
    assert two.get("/", two.ports[1]) == "backend_1"
    assert watch.outbox.counts()["unassigned"] == 0


@drill
def test_dry_run_does_nothing_and_calls_a_person_once_though_the_agent_is_started_anew(two: Platform) -> None:
    watch = Watch(two, "dry-run")
    hung = two.pid("backend_1")
    os.kill(hung, signal.SIGSTOP)
    watch.until(lambda: "remedy.restart" in watch.did(), "it is ill for long")
    watch = Watch(two, "dry-run")  # and knows what the one before has done
    watch.until(lambda: "remedy.call" in watch.did(), "the budget is spent")
    assert [did for did in watch.did() if did != "remedy.failed"] == ["remedy.restart", "remedy.call"]
    assert watch.trail()[0]["dry_run"] is True and runs(hung)
    told = watch.outbox.listed()["unassigned"]
    assert len(told) == 1 and "backend_1 is ill, and stays so" in str(told)
    watch = Watch(two, "dry-run")  # nor does it forget that it has called
    watch.until(partial(is_past, time.monotonic() + 5), "time passes")
    assert watch.did().count("remedy.call") == 1
    os.kill(hung, signal.SIGCONT)
    watch.until(lambda: "remedy.well" in watch.did(), "it is well again")
    assert watch.outbox.counts()["unassigned"] == 2


@drill
def test_nothing_is_done_where_it_is_meant_or_not_known_or_has_another_cause(two: Platform) -> None:
    taken_out, unseen, shard_down = Watch(two, wanted={"backend_1": Wanted.DRAIN}), Watch(two), Watch(two)
    unseen.seen = False
    shard_down.facts.shards = {"shard_0": Health("down")}
    hung = two.pid("backend_1")
    os.kill(hung, signal.SIGSTOP)
    watches = (taken_out, unseen, shard_down)

    async def look() -> None:
        past = partial(is_past, time.monotonic() + 7)
        await asyncio.gather(*(watch.looking(past, "time passes") for watch in watches))

    asyncio.run(look())
    assert [watch.facts.backends["backend_1"].state for watch in watches] == ["down"] * 3
    assert shard_down.trail() == [
        {"did": "remedy.none", "backend": "backend_1", "why": "shard_0 is down, which is the likelier cause"}
    ]
    os.kill(hung, signal.SIGCONT)
    (two.root / "warming_up").touch()  # both answer 503
    both = Watch(two)
    both.until(lambda: any("2 of 2 are ill" in str(entry.get("why")) for entry in both.trail()), "it is noted")
    assert set(both.did()) == {"remedy.none"} and runs(hung)


@drill
def test_the_agent_itself_restarts_a_backend_that_hangs(two_backends: Platform) -> None:
    platform = two_backends
    platform.up()
    hung = platform.pid("backend_1")
    os.kill(hung, signal.SIGSTOP)
    trail = Trail(platform.root / "var/audit.jsonl")
    wait_for(lambda: any(e.did == "remedy.cured" for e in trail.entries()), "it is cured", timeout_s=100)
    assert not runs(hung) and platform.get("/", platform.ports[1]) == "backend_1"
