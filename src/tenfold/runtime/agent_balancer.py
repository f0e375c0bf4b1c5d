"""The one who writes nginx's configuration while the platform runs, and reloads it. Edge.

A change is recorded first, then written for nginx, checked, swapped and taken over by a reload; at most one reload in
RELOAD_EVERY_S, and changes that come meanwhile share the next one. After a crash anywhere the record says what is
wanted and what nginx was last told, and the difference is made up for.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tenfold.balancer import states
from tenfold.balancer.apply import Prepared, prepare, reload, restore
from tenfold.balancer.render import PID_FILE
from tenfold.balancer.states import Wanted
from tenfold.balancer.upstreams import backend_name
from tenfold.errors import BalancerError, PlatformError, TenfoldError
from tenfold.runtime import agent_state
from tenfold.runtime.aside import aside
from tenfold.topology.model import Topology

# An old nginx resets kept connections at a reload, and every one costs workers: changes are gathered.
RELOAD_EVERY_S = 2.0
# While nginx is away (its supervisor brings it back), how often one looks for it, and for how long.
AWAY_S, LONGEST_AWAY_S = 0.5, 60.0
# After a reload a request may still go by the old configuration: on a connection that its client has kept open for up
# to keepalive_min_timeout (5 s). And nginx writes its log a second later.
SETTLE_S, SETTLE_KEPT_S = 2.0, 7.0


def names(topology: Topology) -> list[str]:
    """The backends, in the order of the file."""
    return [backend_name(position) for position in range(len(topology.app.backends))]


def recorded(path: Path, topology: Topology, key: str = "wanted") -> dict[str, Wanted]:
    """What the record says is wanted of each backend that is not ready; nothing where there is no record.

    A record that cannot be read counts as none: a platform that answers comes first.
    """
    with suppress(OSError, ValueError):
        data = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(data, dict) and isinstance(data.get(key), dict):
            return states.kept(data[key], names(topology))
    return {}


class BalancerOwner:
    """Takes wishes, and makes nginx do as they say.

    record  where the wishes are kept (var/agent/balancer.json); there only while some backend is not ready
    """

    def __init__(
        self,
        topology: Topology,
        var: Path,
        record: Path,
        *,
        reload_every_s: float = RELOAD_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topology, self._var, self._record = topology, var, record
        self._every_s, self._clock = reload_every_s, clock
        self._wanted = recorded(record, topology)
        self._told = recorded(record, topology, "told")
        self._dirty = asyncio.Event()
        self._carrying = False
        self._waiting: list[asyncio.Future[None]] = []
        self._last_s = float("-inf")
        self.reloads = 0
        self._tasks: set[asyncio.Task[None]] = set()
        # When nginx was last told, and how long after that an old worker may still do as before.
        self.settled_s, self.settle_s = clock(), 0.0
        if self._wanted != self._told:
            self._dirty.set()

    @property
    def wanted(self) -> Mapping[str, Wanted]:
        """Of the backends that are not ready."""
        return dict(self._wanted)

    @property
    def pending(self) -> bool:
        """Tell whether nginx does not yet do as is wanted."""
        return self._wanted != self._told

    @property
    def settled(self) -> bool:
        """Tell whether every request goes by what is wanted, and the log says so."""
        return not self.pending and self._clock() - self.settled_s >= self.settle_s

    def master(self) -> int | None:
        """Process id of nginx, as its own pid file tells; None while none runs."""
        return _running(self._var / PID_FILE)

    async def want(self, backend: str, wanted: Wanted) -> None:
        """Have `backend` ready, drained or down; returns once nginx does so.

        Raises BalancerError for what must not be or nginx refuses (then it is as before), PlatformError when it cannot
        be recorded.
        """
        before = self._wanted
        self._wanted = states.changed(before, names(self._topology), backend, wanted)
        try:
            self._write()
        except PlatformError:
            self._wanted = before
            raise
        # What is on its way to nginx now may be another wish, beside which this one only seems to be fulfilled.
        if not self.pending and not self._dirty.is_set() and not self._carrying:
            return
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self._dirty.set()
        # Shielded: a caller that hangs up takes nothing back.
        await asyncio.shield(done)

    async def run(self) -> None:
        """Carry wishes out, until cancelled."""
        while True:
            await self._dirty.wait()
            await asyncio.sleep(max(0.0, self._last_s + self._every_s - self._clock()))
            self._dirty.clear()
            waiting, self._waiting = self._waiting, []
            wanted = dict(self._wanted)
            self._carrying = True
            try:
                if wanted != self._told:
                    await self._carry_out(wanted)
            except TenfoldError as error:
                self._give_up(wanted)
                self._answer(waiting, error)
            else:
                self._answer(waiting, None)
            finally:
                self._carrying = False

    async def _carry_out(self, wanted: Mapping[str, Wanted]) -> None:
        prepared = await aside(lambda: prepare(self._topology, self._var, wanted))
        pid = _master(prepared)
        if pid is not None:
            self._last_s = self._clock()
            try:
                await self._reload(prepared, pid)
            except BalancerError:
                if _master(prepared) == pid:
                    with suppress(OSError):
                        restore(prepared)
                    raise
                pid = None
        # Away, it reads what we have written when it comes back, unless it has just begun to read what was before.
        if pid is None:
            self._spawn(self._tell_when_back(prepared))
        self.settle_s = SETTLE_KEPT_S if prepared.nginx.features.keepalive_min_timeout else SETTLE_S
        self._told, self.settled_s = dict(wanted), self._clock()
        with suppress(PlatformError):  # at worst the next agent reloads once more
            self._write()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell_when_back(self, prepared: Prepared) -> None:
        for _ in range(int(LONGEST_AWAY_S / AWAY_S)):
            await asyncio.sleep(AWAY_S)
            if (pid := _master(prepared)) is not None:
                with suppress(BalancerError):
                    await self._reload(prepared, pid)
                return

    async def _reload(self, prepared: Prepared, pid: int) -> None:
        await aside(lambda: reload(prepared, pid))
        self.reloads += 1

    def _give_up(self, refused: Mapping[str, Wanted]) -> None:
        # A wish that came after the refused one stands; it is tried by itself.
        if self._wanted == refused:
            self._wanted = dict(self._told)
        with suppress(PlatformError):
            self._write()

    @staticmethod
    def _answer(waiting: list[asyncio.Future[None]], error: TenfoldError | None) -> None:
        for done in waiting:
            if done.done():
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

    def _write(self) -> None:
        """Record what is wanted and what nginx was told, as one step. Raises PlatformError."""
        try:
            if not self._wanted and not self._told:
                self._record.unlink(missing_ok=True)
                return
            text = json.dumps({"wanted": self._wanted, "told": self._told})
            agent_state.replace(self._record, text.encode(), lasting=True)
        except OSError as error:
            raise PlatformError(
                f"{self._record} cannot be written: {error.strerror}; nothing was changed",
                hint="make room on the disk, then try again",
            ) from None


def _master(prepared: Prepared) -> int | None:
    """The process id of the nginx that runs; None while none does."""
    return _running(prepared.pid_file)


def _running(pid_file: Path) -> int | None:
    with suppress(OSError, ValueError):
        pid = int(pid_file.read_text())
        os.kill(pid, 0)
        return pid
    return None
