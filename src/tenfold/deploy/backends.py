"""The steps that bring one backend from one release to another, without a failed request. Edge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from tenfold.balancer.upstreams import backend_address, backend_name
from tenfold.deploy import gates
from tenfold.deploy.fleet import Fleet
from tenfold.deploy.gates import Answer
from tenfold.deploy.order import Kind, Order
from tenfold.deploy.plan import LOCAL, Item, gate_path, is_alone
from tenfold.errors import DeployError, GateError, TenfoldError

ASK_S, PAUSE_S = 5.0, 0.2
POLL_S = 0.1
# Old workers of nginx end after 60 s at the latest (worker_shutdown_timeout), and their connections with them.
SETTLE_S = 90.0
WARM_UP = 3
"""Requests before a measurement that are not counted: the first ones load what a process loads when first asked."""
Started = dict[int, tuple[int | None, float]]
"""Position of a backend that this deploy has restarted → (its process since, when on the monotonic clock)."""


class BackendStep:
    """What the steps of a backend have in common."""

    def __init__(self, item: Item, fleet: Fleet, order: Order) -> None:
        assert item.backend is not None  # noqa: S101
        self.name, self.said, self.host = item.name, item.said, item.host
        self.told = ""
        self._fleet, self._order, self._position = fleet, order, item.backend
        self._backend = backend_name(item.backend)
        self._place = item.host or LOCAL
        self._settings = fleet.topology.deploy

    async def check(self) -> bool:
        """A step that cannot be known to be done already."""
        return False

    async def undo(self) -> None:
        """Nothing is to be taken back."""

    @property
    def _before(self) -> str | None:
        return self._order.before[self._backend]

    async def _ask(
        self, path: str, count: int, within_s: float, passes: int = 0, well: Sequence[int] = ()
    ) -> list[Answer]:
        address = backend_address(self._fleet.topology, self._position)
        host, _, port = address.rpartition(":")
        # As the balancer asks: what fails only behind it is to fail here, before a client meets it.
        headers = gates.as_proxied(gates.domain_of(self._fleet.topology, address), "127.0.0.1")
        answers = await self._fleet.do(
            self._place, "ask", host=host.strip("[]"), port=int(port), target=path, headers=headers, count=count,
            passes=passes, within_s=within_s, each_s=ASK_S, pause_s=PAUSE_S, well=[200, *well],
        )  # fmt: skip
        return [(int(status), float(seconds), str(wrong)) for status, seconds, wrong in answers]

    async def _measure(self) -> list[Answer]:
        count, path = self._settings.gate_requests, gate_path(self._fleet.topology)
        well = range(200, 400)
        return (await self._ask(path, count + WARM_UP, (count + WARM_UP) * ASK_S, well=well))[WARM_UP:]

    async def _wanted(self, action: str) -> dict[str, Any]:
        return await self._fleet.agent({"do": "balancer", "action": action, "backend": self._backend})

    async def _state(self, idle_s: float = 60.0) -> tuple[dict[str, Any], dict[str, Any]]:
        told = await self._fleet.agent({"do": "balancer", "idle_s": idle_s})
        return told, next(dict(one) for one in told["backends"] if one["name"] == self._backend)

    async def _is(self, wanted: str) -> bool:
        told, one = await self._state()
        return one["wanted"] == wanted and not told["pending"]

    async def _take_out(self) -> None:
        """Have nginx send nothing, and wait until nothing can be under way: no old worker, no connection."""
        await self._wanted("down")
        until_s = time.monotonic() + SETTLE_S
        while True:
            told, one = await self._state()
            if one["wanted"] != "down":
                raise DeployError(
                    f"{self._backend} was made {one['wanted']} by somebody else", hint="tenfold balancer status"
                )
            workers, held = told.get("old_workers"), one["connections"]
            quiet = workers == 0 if workers is not None else told["settled"]
            if quiet and held == 0 and not told["pending"]:
                return
            if time.monotonic() > until_s:
                raise GateError(
                    f"{self._backend} is still asked after {SETTLE_S:g} s: {held} connections, "
                    f"{'?' if workers is None else workers} old workers of nginx",
                    hint="see which client holds a request for so long; `tenfold logs balancer`",
                )
            await asyncio.sleep(POLL_S)

    async def _put_in(self) -> None:
        """Have nginx send requests again, once the backend answers well."""
        if not await self._is("ready"):
            answers = await self._ask_health(self._settings.health_passes)
            verdict = gates.health(answers, self._settings.health_passes, self._fleet.topology.app.health)
            if not verdict.opened:
                raise GateError(f"{self._backend} does not answer well: {verdict.said}", hint=self._see())
            await self._wanted("ready")

    async def _ask_health(self, passes: int) -> list[Answer]:
        app = self._fleet.topology.app
        return await self._ask(app.health, 10_000, app.start_timeout_s, passes=passes)

    def _see(self) -> str:
        return self._fleet.keeper.logs(self._position)


class Baseline(BackendStep):
    """Measures the response times of what runs now; the journal keeps them."""

    p95_s: float | None = None

    async def apply(self) -> None:
        """Ask it; what does not answer has no baseline, and stops nothing.

        Raises DeployError for one that somebody has taken out: afterwards it would take clients again.
        """
        if self._order.kind is Kind.DEPLOY and not is_alone(self._fleet.topology) and not await self._is("ready"):
            raise DeployError(
                f"{self._backend} takes no clients: somebody has taken it out",
                hint=f"tenfold balancer ready {self._backend}, then deploy again",
            )
        answers = await self._measure()
        good = [seconds for status, seconds, _ in answers if 200 <= status < 400]
        if len(good) == self._settings.gate_requests:
            self.p95_s = gates.p95(good)
            self.told = f"p95 {gates.ms(self.p95_s)} of {gate_path(self._fleet.topology)}" + await self._live()
        else:
            self.told = f"no baseline: {len(good)} of {len(answers)} good answers"

    async def _live(self) -> str:
        """What the agent has seen of real requests, for the person who reads."""
        try:
            seen = await self._fleet.agent({"do": "timings", "backend": self._backend, "window_s": 300})
            return f"; of {seen['requests']} requests in 5 minutes {gates.ms(float(seen['p95_s']))}"
        except (TenfoldError, KeyError, TypeError, ValueError):
            return ""


class Drain(BackendStep):
    """No new clients; those that are bound to it may stay for a while."""

    async def check(self) -> bool:
        """Once more costs nothing: whoever came meanwhile is waited for."""
        return False

    async def apply(self) -> None:
        """Wait until the last has gone, drain_s at most."""
        await self._wanted("drain")
        since_s, limit_s = time.monotonic(), self._settings.drain_s
        while True:
            _, one = await self._state(idle_s=max(1.0, min(60.0, limit_s)))
            spent_s = time.monotonic() - since_s
            if one["sessions"] == 0 or spent_s >= limit_s:
                self.told = f"{one['sessions']} clients left after {spent_s:.1f} s"
                return
            await asyncio.sleep(min(POLL_S * 2, max(0.0, limit_s - spent_s)))

    async def undo(self) -> None:
        """Have it take clients again."""
        await self._put_in()


class Down(BackendStep):
    """Nothing reaches it any more."""

    async def apply(self) -> None:
        """Have nginx send nothing, and wait for what is under way."""
        since_s = time.monotonic()
        await self._take_out()
        self.told = f"nobody left after {time.monotonic() - since_s:.1f} s"

    async def undo(self) -> None:
        """Have it take clients again, as soon as it answers well."""
        await self._put_in()


class Switch(BackendStep):
    """Its link leads to the release."""

    async def check(self) -> bool:
        """Whether it does."""
        return await self._link() == self._order.release

    async def apply(self) -> None:
        """Lead it there."""
        await self._lead(self._order.release)

    async def undo(self) -> None:
        """Lead it back, and have what ran before run again. Nothing reaches it at that time."""
        if await self._link() != self._before:
            await self._lead(self._before)
        if self._order.cold:
            return
        one = await self._fleet.program(self._position)
        if one is None or one["release"] != self._before or one["state"] != "up":
            await restart(self._fleet, self._place, self._position, self._before)

    async def _link(self) -> str | None:
        told = await self._fleet.do(self._place, "look", backends=[self._backend])
        found: str | None = told["links"][self._backend]
        return found

    async def _lead(self, release: str | None) -> None:
        did = self._fleet.fenced(await self._fleet.do(self._place, "switch", backend=self._backend, release=release))
        if did != "switched":
            raise DeployError(
                f"{self._place}: the release {release} is not there, or was never completed",
                hint="`tenfold deploy --list` says which are; deploy another commit",
            )


class Restart(BackendStep):
    """The new release runs."""

    started: Started
    """Set by Making; the backend is entered."""

    async def apply(self) -> None:
        """End what runs, start the release, wait until it is well."""
        took_s = await restart(self._fleet, self._place, self._position, self._order.release)
        one = await self._fleet.program(self._position)
        self.started[self._position] = one["pid"] if one else None, time.monotonic()
        self.told = f"well after {took_s:.1f} s"


async def restart(fleet: Fleet, host: str, position: int, release: str | None) -> float:
    """Have a backend run the release of its link → seconds. Raises GateError where that does not come up."""
    told = await fleet.keeper.restart(host, position)
    if told.release != release:
        raise GateError(
            f"{backend_name(position)} runs {told.release} after its restart, not {release}",
            hint="somebody else has changed its link: see `tenfold deploy --list`",
        )
    return told.took_s


async def no_ending(fleet: Fleet, started: Started) -> None:
    """Raises GateError where a backend has ended since it was restarted, be it that it runs again: a release that
    ends after a few seconds answers every gate well in between."""
    for position, (pid, at_s) in started.items():
        one = await fleet.program(position)
        if one is None or one["pid"] != pid or one["state"] != "up":
            raise GateError(
                f"{backend_name(position)} has ended within {time.monotonic() - at_s:.0f} s after it was well"
                f" (it is {one['state'] if one else 'not kept by anything'})",
                hint=fleet.keeper.logs(position),
            )


class Health(BackendStep):
    """The health gate, on the backend's own address."""

    async def apply(self) -> None:
        """Ask until enough answers in a row were good."""
        passes, app = self._settings.health_passes, self._fleet.topology.app
        verdict = gates.health(await self._ask_health(passes), passes, app.health)
        self.told = verdict.said
        if not verdict.opened:
            raise GateError(f"health gate of {self._backend}: {verdict.said}", hint=self._see())


class Timing(BackendStep):
    """The response-time gate, on the backend's own address."""

    before_s: float | None = None
    """Set by whoever has measured it."""

    async def apply(self) -> None:
        """Measure, and compare with before."""
        settings, monitor = self._settings, self._fleet.topology.monitor
        default_s = monitor.response_time_s.warning or settings.gate_floor_s
        verdict = gates.timing(
            await self._measure(), self.before_s, settings.gate_slower, settings.gate_floor_s, default_s
        )
        self.told = verdict.said
        if not verdict.opened:
            path = gate_path(self._fleet.topology)
            raise GateError(f"response-time gate of {self._backend}: {path}: {verdict.said}", hint=self._see())


class Ready(BackendStep):
    """It takes its share of the clients again."""

    started: Started
    """Set by Making: what has ended since then takes no clients, nor does the deploy go on to the next."""

    async def check(self) -> bool:
        """Whether it does."""
        return await self._is("ready")

    async def apply(self) -> None:
        """Have nginx send requests."""
        await no_ending(self._fleet, self.started)
        await self._wanted("ready")

    async def undo(self) -> None:
        """Take it out, so that it can be replaced; nothing where it runs what it ran before."""
        one = await self._fleet.program(self._position)
        told = await self._fleet.do(self._place, "look", backends=[self._backend])
        back = told["links"][self._backend] == self._before and one is not None and one["release"] == self._before
        if not back and not is_alone(self._fleet.topology):
            await self._take_out()
