"""The page served as the agent serves it, with facts that a test may change while it is open. Edge."""

from __future__ import annotations

import asyncio
import http.client
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import uvicorn
from starlette.applications import Starlette

from tenfold.dashboard.app import build
from tenfold.dashboard.view import Inputs, view
from tests.dashboard.sample import sample
from tests.support import free_port, wait_for

TOKEN = "a-token-for-one-log-in"
KEY = b"k" * 32


class Served:
    """The page on a free loopback port, in a thread of its own; `facts` and `tamper` are what it shows."""

    def __init__(self, period_s: float = 0.1) -> None:
        self.port = free_port()
        self.made = 0
        self._period_s = period_s
        self.reset()
        self.start()

    def reset(self) -> None:
        self.facts: Inputs = sample()
        self.tamper: Mapping[str, Any] = {}
        self.broken = False
        self.acted: list[tuple[str, Mapping[str, str], str]] = []
        self.refusal: Exception | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def path(self) -> str:
        """A path that opens the page once."""
        return f"/enter?token={self.app.state.access.issue()}"

    @property
    def link(self) -> str:
        return self.url + self.path

    def change(self, **facts: Any) -> None:
        self.facts = replace(self.facts, **facts)

    def source(self) -> dict[str, Any]:
        self.made += 1
        if self.broken:
            raise ValueError("a secret that no page may show")
        return {**view(self.facts), **self.tamper}

    async def act(self, action: str, fields: Mapping[str, str], who: str) -> None:
        self.acted.append((action, fields, who))
        if self.refusal is not None:
            raise self.refusal

    def start(self, key: bytes = KEY, acts: bool = True) -> None:
        act = self.act if acts else None
        self.app: Starlette = build(self.source, TOKEN, key=key, period_s=self._period_s, act=act)
        config = uvicorn.Config(
            self.app, "127.0.0.1", self.port, log_level="critical", access_log=False, lifespan="off", ws="none"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        wait_for(lambda: self._server.started, "the page is served")

    def stop(self) -> None:
        self._server.should_exit = True
        self._loop.call_soon_threadsafe(self.app.state.stream.close)
        self._thread.join(10)
        assert not self._thread.is_alive(), "the page's server does not stop"

    def _serve(self) -> None:
        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            await self._server.serve()

        asyncio.run(main())

    def ask(
        self, path: str = "/", method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """One request on a connection of its own, → (answer, body); no header is added but Host and a body's length."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in {"Host": f"127.0.0.1:{self.port}", **(headers or {})}.items():
                if value:
                    connection.putheader(name, value)
            if body:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    def session(self) -> dict[str, str]:
        """Headers of someone who is let in."""
        answer, _ = self.ask(self.path)
        return {"Cookie": (answer.headers["Set-Cookie"] or "").partition(";")[0]}
