"""The agent's socket: recorders send timings, and commands are answered. Edge."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tenfold.errors import TenfoldError
from tenfold.hosts.agent_link import short_path
from tenfold.monitor.receive import Batch, Name, Stream
from tenfold.monitor.wire import COMMAND, MAX_ANSWER, MAX_FRAME, RECORDER, Unframer, WireError, frame

READ_BYTES = 256 * 1024
# Who connects says at once what it wants; a command's words follow each other closely.
HELLO_S = 5.0
BACKLOG = 256
MOST_CONNECTIONS = 1024

log = logging.getLogger(__name__)
Command = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Answers one command; raises TenfoldError."""


def listen(path: Path) -> socket.socket:
    """A socket at `path` for this account alone; what a killed agent left there is replaced. Raises OSError."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Bound under another name and then moved: at any moment there is a socket that answers, or none.
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        beside.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            with short_path(beside) as name:
                server.bind(name)
        finally:
            os.umask(before)
        server.listen(BACKLOG)
        server.setblocking(False)
        beside.replace(path)
    except BaseException:
        server.close()
        raise
    return server


class Door:
    """Serves the connections of one socket.

    commands      by the word in "do"
    register      gives the number for a name that a recorder uses
    observations  takes what recorders send, in batches
    """

    def __init__(
        self,
        commands: Mapping[str, Command],
        register: Callable[[Name], int],
        observations: Callable[[Batch], None],
    ) -> None:
        self._commands, self._register, self._observations = dict(commands), register, observations
        self._open: set[asyncio.Task[None]] = set()
        self._streams: set[Stream] = set()
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Observations that recorders say they lost."""
        return self._dropped + sum(stream.dropped for stream in self._streams)

    async def serve(self, server: socket.socket) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    line, _ = await loop.sock_accept(server)
                except OSError as error:  # too many open files: those that are open go on
                    log.warning("no connection can be taken: %s", error)
                    await asyncio.sleep(0.2)
                    continue
                if len(self._open) >= MOST_CONNECTIONS:
                    line.close()
                    continue
                task = asyncio.create_task(self._serve_one(line))
                self._open.add(task)
                task.add_done_callback(self._open.discard)
        finally:
            for task in self._open:
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve_one(self, line: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=line, limit=READ_BYTES)
        try:
            kind = await asyncio.wait_for(reader.read(1), HELLO_S)
            if kind == RECORDER:
                await self._record(reader)
            elif kind == COMMAND:
                await self._obey(reader, writer)
        except (OSError, TimeoutError):
            pass  # it hung up, or had nothing to say
        except WireError as error:
            log.warning("a connection was closed: %s", error)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _record(self, reader: asyncio.StreamReader) -> None:
        stream = Stream(self._register)
        self._streams.add(stream)
        try:
            while data := await reader.read(READ_BYTES):
                for batch in stream.feed(data):
                    self._observations(batch)
        finally:
            self._streams.discard(stream)
            self._dropped += stream.dropped

    async def _obey(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = Unframer(MAX_FRAME)
        while data := await reader.read(READ_BYTES):
            for payload in frames.feed(data):
                answer = await self._answer(payload)
                writer.write(frame(json.dumps(answer, allow_nan=False).encode(), MAX_ANSWER))
                await writer.drain()

    async def _answer(self, payload: bytes) -> Mapping[str, Any]:
        try:
            command = json.loads(payload)
            word = command.get("do") if isinstance(command, dict) else None
            if not isinstance(word, str) or word not in self._commands:
                return _refusal(f"there is no command {word!r}", "update both: the agent is of another version")
            return {"ok": True, **await self._commands[word](command)}
        except TenfoldError as error:
            return _refusal(str(error), error.hint, error.retryable)
        except (ValueError, RecursionError):
            return _refusal("the command is no JSON object", "update both: the agent is of another version")
        except Exception as error:
            log.exception("a command failed")
            return _refusal(f"{type(error).__name__} in the agent", "tenfold logs agent shows where; please report it")


def _refusal(error: str, hint: str, retryable: bool = False) -> dict[str, Any]:
    return {"ok": False, "error": error, "hint": hint, "retryable": retryable}
