"""Serves the page on loopback, with a key that outlives a restart. Edge."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette

from tenfold.dashboard.app import build
from tenfold.dashboard.forms import Act
from tenfold.runtime import agent_state
from tenfold.runtime.agent_port import url_of

KEY_BYTES = 32


class Page:
    """The page, its address and its links.

    server  where it is to be served, and `token` what opens it once, as they were told before
    act     does what its forms ask for
    key     var/agent/page.key: signs sessions, so that pages that are open go on after a restart of the agent
    """

    def __init__(
        self, source: Callable[[], dict[str, Any]], server: socket.socket, token: str, key: Path, act: Act | None = None
    ) -> None:
        self._server = server
        self.url = url_of(server)
        self.app: Starlette = build(source, token, key=_kept_key(key), act=act)

    def link(self) -> str:
        """A fresh address that opens the page once."""
        return agent_state.link(self.url, self.app.state.access.issue())

    async def serve(self) -> None:
        """Until cancelled."""
        # No access log: it would hold tokens.
        config = uvicorn.Config(self.app, log_config=None, access_log=False, lifespan="off", ws="none", backlog=128)
        server = _Server(config)
        serving = asyncio.create_task(server.serve([self._server]))
        try:
            await asyncio.shield(serving)
        finally:
            self.app.state.stream.close()
            server.should_exit = server.force_exit = True
            with suppress(asyncio.CancelledError, TimeoutError):
                await asyncio.wait_for(serving, 1.0)


class _Server(uvicorn.Server):
    """uvicorn that leaves signals to us: the agent has more to end than its page."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _kept_key(path: Path) -> bytes:
    """The key from the file, made when there is none. Where it cannot be kept it lasts as long as this process."""
    with suppress(OSError):
        key = path.read_bytes()
        if len(key) == KEY_BYTES and path.stat().st_uid == os.geteuid() and not path.stat().st_mode & 0o077:
            return key
    key = secrets.token_bytes(KEY_BYTES)
    with suppress(OSError):
        agent_state.replace(path, key, lasting=True)
    return key
