"""What the agent does when it is asked over its socket. Edge."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from tenfold import __version__
from tenfold.balancer import states
from tenfold.balancer.apply import leaving_workers
from tenfold.balancer.states import Wanted
from tenfold.errors import BalancerError
from tenfold.monitor.collect.sessions import LONGEST_S, Sessions
from tenfold.monitor.live import Live
from tenfold.monitor.windows import ALERT_S, SPANS_S
from tenfold.runtime.agent_balancer import BalancerOwner, names
from tenfold.runtime.agent_page import Page
from tenfold.runtime.agent_sight import RecordSight, connections
from tenfold.runtime.agent_socket import Command
from tenfold.runtime.aside import aside
from tenfold.topology.model import Topology

IDLE_S = 60.0
WINDOWS_S = (*SPANS_S, ALERT_S)


class Commands:
    """The commands by their word in "do".

    status    {"pid", "since_s", "version", "page"}
    view      {"view": the dict of dashboard.view}
    link      {"link": a fresh address that opens the page once}
    balancer  {"action": drain | ready | down, "backend", "idle_s"} or without action; answers how each backend is:
              {"pending", "settled", "reloads", "old_workers", "backends": [{"name", "wanted", "sessions",
              "connections"}]}. No old worker (of before a reload) and no connection: nothing can reach a backend that
              is down. Both are None where they cannot be seen
    timings   {"backend": name or None for all, "window_s": up to 300}; answers {"window_s": the next of 10, 60, 300,
              "requests", "errors", "p50_s", "p95_s", "p99_s"}, from nginx's log, the last two seconds left out
    """

    def __init__(
        self,
        topology: Topology,
        page: Page,
        owner: BalancerOwner,
        sessions: Sessions,
        record: RecordSight,
        view: Callable[[], Mapping[str, Any]],
        live: Live,
    ) -> None:
        self._topology, self._page, self._owner = topology, page, owner
        self._sessions, self._record, self._make_view, self._live = sessions, record, view, live
        self._since_s, self._began_s = time.time(), time.monotonic()
        self.by_name: Mapping[str, Command] = {
            "status": self._status,
            "view": self._view,
            "link": self._link,
            "balancer": self._balancer,
            "timings": self._timings,
        }

    async def _status(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            "pid": os.getpid(),
            "since_s": self._since_s,
            "version": __version__,
            "page": self._page.url,
        }

    async def _view(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"view": self._make_view()}

    async def _link(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"link": self._page.link()}

    async def _balancer(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        owner = self._owner
        if command.get("action") is not None:
            await owner.want(str(command.get("backend")), _wanted(command["action"]))
        idle_s = command.get("idle_s", IDLE_S)
        if isinstance(idle_s, bool) or not isinstance(idle_s, int | float) or not 0 < idle_s <= LONGEST_S:
            raise BalancerError(f"idle_s is a number of seconds up to {LONGEST_S:g}", hint="leave it out for a minute")
        backends = names(self._topology)
        held, old_workers = await aside(self._held)
        clock_s = time.monotonic()
        return {
            "pending": owner.pending,
            # An agent that has just begun has not seen the clients of the time before.
            "settled": owner.settled and clock_s - self._began_s >= idle_s,
            "reloads": owner.reloads,
            "old_workers": old_workers,
            "backends": [
                {
                    "name": name,
                    "wanted": states.of(owner.wanted, name).value,
                    "sessions": self._sessions.count(name, clock_s, idle_s),
                    "connections": None if held is None else held[name],
                }
                for name in backends
            ],
        }

    def _held(self) -> tuple[dict[str, int] | None, int | None]:
        entry = self._record.entry("balancer")
        # Where systemd keeps nginx, no supervisor tells who it is.
        topology, master = self._topology, entry.pid if entry else self._owner.master()
        places = {
            name: (topology.backend_listens(position), topology.backend_port(position))
            for position, name in enumerate(names(topology))
        }
        # In this order: a worker that begins to leave in between is counted in one of them.
        old_workers = leaving_workers(master)
        return connections(master, places), old_workers

    async def _timings(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        backend, window_s = command.get("backend"), command.get("window_s", 60)
        if backend is not None and backend not in names(self._topology):
            raise BalancerError(f"there is no backend {backend!r}", hint="one of: " + " ".join(names(self._topology)))
        if isinstance(window_s, bool) or not isinstance(window_s, int | float) or not 0 < window_s <= WINDOWS_S[-1]:
            raise BalancerError(f"window_s is a number of seconds up to {WINDOWS_S[-1]}", hint="leave it out for 60")
        span_s, now_s = next(span for span in WINDOWS_S if window_s <= span), time.time()
        every = self._live.backends(now_s, span_s)
        figures = self._live.totals(now_s, span_s) if backend is None else every.get(backend)
        # A backend that the log has not named yet has served nobody.
        told = {name: getattr(figures, name, None) for name in ("p50_s", "p95_s", "p99_s")}
        return {
            "window_s": span_s,
            "requests": figures.requests if figures else 0,
            "errors": figures.errors if figures else 0,
        } | {name: value if value is not None and math.isfinite(value) else None for name, value in told.items()}


def _wanted(action: object) -> Wanted:
    try:
        return Wanted(str(action))
    except ValueError:
        raise BalancerError(
            f"there is no action {action!r}", hint="one of: " + " ".join(w.value for w in Wanted)
        ) from None
