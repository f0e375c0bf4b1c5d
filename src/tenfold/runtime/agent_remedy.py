"""The agent restarts a backend that runs and does not answer, within bounds, and at last calls a person. Edge.

What is decided stands on the audit trail before it is done. The restarts of the last hour survive the agent, and
whether a person was called: who was called is told when it is well again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from tenfold.audit.trail import Trail
from tenfold.balancer import states
from tenfold.balancer.states import States, Wanted
from tenfold.balancer.upstreams import backend_name
from tenfold.errors import NotifyError, TenfoldError
from tenfold.hosts.agent_link import AgentLink
from tenfold.monitor import remedies
from tenfold.monitor.collect.health import Health
from tenfold.monitor.remedies import Act, Case, Condition, Decision, Policy, Seen
from tenfold.notify.notice import Notice
from tenfold.notify.outbox import Outbox
from tenfold.runtime import agent_state
from tenfold.runtime.agent_sight import RecordSight
from tenfold.runtime.agent_view import Facts
from tenfold.runtime.aside import aside
from tenfold.runtime.fleet import Here
from tenfold.runtime.life import State
from tenfold.runtime.place import Place
from tenfold.topology.operations import Remedies, Severity

LOOK_S = 1.0
# What the collector of backends says is taken for old after this; it looks four times a second.
FRESH_S = 5.0
# Beyond what the backend itself may take to start: its old process has to end first.
ENDING_S = 10.0
log = logging.getLogger(__name__)


class Remedy:
    """Looks at the backends once a second, and acts.

    fresh   tells whether the backends were looked at of late: nothing is done about what nobody sees
    wanted  what the operator wants of each backend
    """

    def __init__(
        self,
        here: Here,
        place: Place,
        facts: Facts,
        record: RecordSight,
        wanted: Callable[[], States],
        fresh: Callable[[], bool],
        outbox: Outbox,
        policy: Policy | None = None,
    ) -> None:
        self._here, self._place, self._facts, self._record = here, place, facts, record
        self._wanted, self._fresh, self._outbox = wanted, fresh, outbox
        self._policy = policy or Policy()
        self._mode = here.topology.monitor.remedies
        self._trail = Trail(place.var / "audit.jsonl", who="the agent")
        self._file = place.agent / "remedies.json"
        self._cases: dict[str, Case] = self._kept()
        self._left: dict[str, str] = {}
        self._acting: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled; where remedies are off, it does nothing at all."""
        while self._mode is not Remedies.OFF:
            await self.look(time.monotonic())
            await asyncio.sleep(LOOK_S)
        await asyncio.Event().wait()

    async def look(self, now_s: float) -> None:
        """Look once, and begin what is to be done."""
        before = _lasting(self._cases)
        chance = random.random()  # noqa: S311  no secret
        self._cases, decided = remedies.step(self._cases, self._pool(), now_s, chance, self._policy, self._cause())
        if before != _lasting(self._cases):
            await aside(lambda: self._keep(now_s))
        ill = {decision.name for decision in decided if decision.act is Act.LEAVE}
        self._left = {name: why for name, why in self._left.items() if name in ill}
        for decision in decided:
            work = self._carry_out(decision)
            if decision.act is Act.RESTART:  # it takes long, and the others are looked at meanwhile
                task = asyncio.create_task(work)
                self._acting.add(task)
                task.add_done_callback(self._acting.discard)
            else:
                await work

    def _pool(self) -> list[Seen]:
        names = [backend_name(position) for position in range(len(self._here.topology.app.backends))]
        ours = {backend_name(position) for position in self._here.backends}
        return [self._seen(name, name in ours) for name in names]

    def _seen(self, name: str, ours: bool) -> Seen:
        health, entry = self._facts.backends.get(name, Health()), self._record.entry(name)
        condition = Condition.UNKNOWN
        if states.of(self._wanted(), name) is not Wanted.READY or (ours and entry and entry.state != State.UP):
            condition = Condition.AWAY
        elif self._fresh() and health.state != "unknown" and (entry or not ours):
            condition = Condition.WELL if health.state == "up" else Condition.ILL
        return Seen(name, condition, health.reason or "", reach=ours)

    def _cause(self) -> str | None:
        """What else is down that every backend may need."""
        down = [name for name, health in self._facts.shards.items() if health.state == "down"]
        return f"{down[0]} is down" if down else None

    async def _carry_out(self, decision: Decision) -> None:
        name, why = decision.name, decision.why
        match decision.act:
            case Act.RESTART:
                await self._restart(name, why)
            case Act.LEAVE:
                # As long as nothing changes it is said once.
                if self._left.get(name) != why:
                    self._left[name] = why
                    await self._note("remedy.none", backend=name, why=why)
            case Act.CURED:
                await self._note("remedy.cured", backend=name)
            case Act.FAILED:
                await self._note("remedy.failed", backend=name, why=why)
            case Act.CALL | Act.WELL:
                await self._note("remedy.call" if decision.act is Act.CALL else "remedy.well", backend=name, why=why)
                await self._call(decision)

    async def _restart(self, name: str, why: str) -> None:
        dry = self._mode is Remedies.DRY_RUN
        # Before the act: what is not on the trail is not done.
        if not await self._note("remedy.restart", backend=name, why=why, dry_run=dry) or dry:
            return
        wait_s = self._here.topology.app.start_timeout_s + ENDING_S
        link = AgentLink(self._place.up_socket, wait_s + ENDING_S)
        try:
            await aside(lambda: link.ask({"do": "restart", "program": name, "timeout_s": wait_s}))
        except TenfoldError as error:
            log.warning("%s could not be restarted: %s", name, error)
            await self._note("remedy.restarted", backend=name, ok=False, error=str(error).partition("\n")[0])
        else:
            await self._note("remedy.restarted", backend=name, ok=True)

    async def _call(self, decision: Decision) -> None:
        name, platform = decision.name, self._here.topology.platform.name
        well = decision.act is Act.WELL
        last_s = max(self._cases[name].restarted_s, default=time.monotonic())
        about = f"remedy:{name}:{time.time() - time.monotonic() + last_s:.0f}"
        tried = "would have been restarted (dry-run)" if self._mode is Remedies.DRY_RUN else "was restarted"
        notice = Notice(
            key=f"{about}:well" if well else about,
            severity=Severity.CRITICAL,
            title=f"{platform}: {name} answers well again" if well else f"{platform}: {name} is ill, and stays so",
            text=decision.why if well else f"It {tried} by itself: {decision.why}. Look at it: tenfold logs {name}",
            at_s=time.time(),
            source="remedies",
            facts={"backend": name},
            resolved=well,
        )
        try:
            await aside(lambda: self._outbox.put(notice))
        except NotifyError as error:
            log.warning("nobody could be told that %s is ill: %s", name, error)

    async def _note(self, did: str, **about: Any) -> bool:
        """Put it on the trail; False where that cannot be written."""
        log.info("%s %s", did, about)
        try:
            await aside(lambda: self._trail.write(did, **about))
        except OSError as error:
            log.warning("the audit trail cannot be written: %s", error.strerror)
            return False
        return True

    # --- what survives the agent: when it restarted what, in seconds since 1970, and for what it called a person ---

    def _keep(self, now_s: float) -> None:
        away_s = time.time() - now_s
        data = {
            name: {"restarted_s": [at_s + away_s for at_s in times], "called": called}
            for name, (times, called) in _lasting(self._cases).items()
        }
        with suppress(OSError):
            agent_state.replace(self._file, json.dumps(data).encode())

    def _kept(self) -> dict[str, Case]:
        away_s, now_s = time.time() - time.monotonic(), time.monotonic()
        with suppress(OSError, ValueError, TypeError, AttributeError, KeyError):
            data: Mapping[str, Mapping[str, Any]] = json.loads(self._file.read_text(encoding="utf-8"))
            return {
                str(name): Case(
                    restarted_s=tuple(
                        sorted(float(at_s) - away_s for at_s in kept["restarted_s"] if at_s < time.time())
                    ),
                    not_before_s=now_s + self._policy.pause_s,
                    called=bool(kept["called"]),
                )
                for name, kept in data.items()
            }
        return {}


def _lasting(cases: Mapping[str, Case]) -> dict[str, tuple[tuple[float, ...], bool]]:
    return {name: (case.restarted_s, case.called) for name, case in cases.items()}
