"""What the agent does when it is asked over its socket. Edge."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from tenfold import __version__
from tenfold.balancer import states
from tenfold.balancer.states import Wanted
from tenfold.errors import BalancerError
from tenfold.monitor.collect.sessions import LONGEST_S, Sessions
from tenfold.runtime.agent_balancer import BalancerOwner, names
from tenfold.runtime.agent_page import Page
from tenfold.runtime.agent_sight import RecordSight, connections
from tenfold.runtime.agent_socket import Command
from tenfold.runtime.aside import aside
from tenfold.topology.model import Topology

IDLE_S = 60.0


class Commands:
    """The commands by their word in "do".

    status    {"pid", "since_s", "version", "page"}
    view      {"view": the dict of dashboard.view}
    link      {"link": a fresh address that opens the page once}
    balancer  {"action": drain | ready | down, "backend", "idle_s"} or without action; answers how each backend is:
              {"pending", "settled", "reloads", "backends": [{"name", "wanted", "sessions", "connections"}]}
    """

    def __init__(
        self,
        topology: Topology,
        page: Page,
        owner: BalancerOwner,
        sessions: Sessions,
        record: RecordSight,
        view: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._topology, self._page, self._owner = topology, page, owner
        self._sessions, self._record, self._make_view = sessions, record, view
        self._since_s, self._began_s = time.time(), time.monotonic()
        self.by_name: Mapping[str, Command] = {
            "status": self._status,
            "view": self._view,
            "link": self._link,
            "balancer": self._balancer,
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
        held = await aside(self._held)
        clock_s = time.monotonic()
        return {
            "pending": owner.pending,
            # An agent that has just begun has not seen the clients of the time before.
            "settled": owner.settled and clock_s - self._began_s >= idle_s,
            "reloads": owner.reloads,
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

    def _held(self) -> dict[str, int] | None:
        entry = self._record.entry("balancer")
        places = {
            name: ("127.0.0.1", self._topology.backend_port(position))
            for position, name in enumerate(names(self._topology))
        }
        return connections(entry.pid if entry else None, places)


def _wanted(action: object) -> Wanted:
    try:
        return Wanted(str(action))
    except ValueError:
        raise BalancerError(
            f"there is no action {action!r}", hint="one of: " + " ".join(w.value for w in Wanted)
        ) from None
