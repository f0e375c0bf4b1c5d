"""The supervisor's socket, var/run/up.sock: what runs, and restarts of one program. Edge."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tenfold.errors import PlatformError
from tenfold.runtime import command_door
from tenfold.runtime.supervisor import Supervisor

TIMEOUT_S, LONGEST_S = 60.0, 3600.0


async def serve(path: Path, supervisor: Supervisor, host: str | None = None) -> None:
    """Answer until cancelled. Raises OSError where there can be no socket.

    status   {"pid", "host", "programs": [{"name", "kind", "state", "pid", "release", "restarts", "since_s"}]}
    restart  {"program", "timeout_s"}, the time for all of it; answers {"pid", "release", "took_s"} once it is well
    """
    asked = _Asked(supervisor, host)
    door = command_door.Commands(
        {"status": asked.status, "restart": asked.restart}, "supervisor", "what tenfold up printed"
    )
    server = command_door.listen(path)
    try:
        await command_door.serve_each(server, door.serve, command_door.MOST_COMMANDERS)
    finally:
        server.close()


class _Asked:
    def __init__(self, supervisor: Supervisor, host: str | None) -> None:
        self._supervisor, self._host = supervisor, host

    async def status(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        programs = [
            {
                "name": entry.name,
                "kind": entry.kind,
                "state": entry.state,
                "pid": entry.pid,
                "release": entry.release,
                "restarts": entry.restarts,
                "since_s": entry.since,
            }
            for entry in self._supervisor.entries()
        ]
        return {"pid": os.getpid(), "host": self._host, "programs": programs}

    async def restart(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        name, timeout_s = command.get("program"), command.get("timeout_s", TIMEOUT_S)
        if not isinstance(name, str):
            raise PlatformError("no program is named", hint='{"do": "restart", "program": "backend_0"}')
        good = isinstance(timeout_s, int | float) and not isinstance(timeout_s, bool)
        if not good or not 0 < timeout_s <= LONGEST_S:
            raise PlatformError(f"timeout_s is a number of seconds up to {LONGEST_S:g}", hint="leave it out for 60")
        begun_s = time.monotonic()
        entry = await self._supervisor.restart(name, float(timeout_s))
        return {"pid": entry.pid, "release": entry.release, "took_s": round(time.monotonic() - begun_s, 3)}
