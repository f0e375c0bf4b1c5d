"""This machine, through the same port as any other. Edge."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from tenfold.errors import HostError
from tenfold.hosts import content as files
from tenfold.hosts.agent_link import short_path
from tenfold.hosts.call import LINGER_S, Call, within
from tenfold.hosts.port import MOST_READ, NOTHING, Ran
from tenfold.hosts.shell import GRACE_S, HERE, opening, shown
from tenfold.hosts.talk import converse, nobody, question


class _Child(asyncio.SubprocessProtocol):
    """Tells a Call what becomes of a child process."""

    def __init__(self) -> None:
        self.call = Call()
        self._transport: asyncio.SubprocessTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        (self.call.said if fd == 1 else self.call.output.err)(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 0:
            self.call.deaf()

    def pause_writing(self) -> None:
        self.call.full()

    def resume_writing(self) -> None:
        self.call.roomy()

    def process_exited(self) -> None:
        if self._transport is None:
            return
        code = self._transport.get_returncode() or 0
        self.call.exited(code if code >= 0 else 128 - code)
        # The watch has ended with it; an input that is still open would keep the transport.
        if entrance := self._transport.get_pipe_transport(0):
            entrance.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.call.gone()


class LocalHost:
    """Runs commands as children of this process, each in a session of its own, ended with it."""

    def __init__(self, name: str = "local") -> None:
        self.name = name

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        environment: Mapping[str, str] = NOTHING,
        input: bytes | memoryview = b"",
        timeout_s: float = 60.0,
    ) -> Ran:
        """As Host.run; the command's environment is that of this process, with `environment` on top."""
        feeds = isinstance(input, memoryview) or bool(input)
        line = opening(argv, cwd, environment, feeds)
        loop = asyncio.get_running_loop()
        transport, child = await loop.subprocess_exec(_Child, *HERE, start_new_session=True)
        call = child.call
        entrance = cast(asyncio.WriteTransport, transport.get_pipe_transport(0))
        try:
            async with asyncio.timeout(timeout_s):
                await call.feed(entrance.write, line, input)
                if feeds:
                    entrance.close()
                await call.ended.wait()
        except TimeoutError:
            raise HostError(
                f"{self.name}: `{shown(argv)}` did not end within {timeout_s:g} s, and was stopped",
                hint="see on that machine what it waits for, then try again",
            ) from None
        finally:
            # Cancelled: by Ctrl-C for one. It has to be over before anybody takes back what it did.
            await asyncio.shield(_end(transport, call))
        return call.ran()

    async def write(self, path: str, content: bytes | memoryview, mode: int = 0o640) -> None:
        """As Host.write."""
        await files.write(self, path, content, mode)

    async def read(self, path: str, limit_bytes: int = MOST_READ) -> bytes | None:
        """As Host.read."""
        return await files.read(self, path, limit_bytes)

    async def ask(self, socket: str, command: Mapping[str, Any], timeout_s: float = 10.0) -> dict[str, Any]:
        """As Host.ask."""
        frame = question(command)
        try:
            async with asyncio.timeout(timeout_s):
                with short_path(socket) as name:
                    reader, writer = await asyncio.open_unix_connection(name)
                try:
                    return await converse(socket, reader, writer, frame)
                finally:
                    writer.close()
        except TimeoutError:
            raise nobody(socket, f"nothing within {timeout_s:g} s") from None
        except OSError as error:
            raise nobody(socket, error.strerror or str(error)) from None

    async def close(self) -> None:
        """As Host.close; nothing is held."""


async def _end(transport: asyncio.SubprocessTransport, call: Call) -> None:
    """Hear the last words of a command that has ended; end one that has not, with all that it started."""
    try:
        if call.code is not None:
            await within(call.closed, LINGER_S)
            return
        group = transport.get_pid()
        for way in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(group, way)
            if await within(call.closed, GRACE_S):
                break
    finally:
        transport.close()
