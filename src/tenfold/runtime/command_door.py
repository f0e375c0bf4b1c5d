"""A Unix socket on which commands are answered, for this account alone: the supervisor's, and the agent's. Edge."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tenfold.errors import TenfoldError
from tenfold.hosts.agent_link import short_path
from tenfold.monitor.wire import COMMAND, MAX_ANSWER, MAX_FRAME, Unframer, WireError, frame

READ_BYTES = 256 * 1024
# Who connects says at once what it wants; a command's words follow each other closely.
HELLO_S = 5.0
BACKLOG = 256
MOST_CONNECTIONS = 1024
# The supervisor has few callers: a deploy, the agent, a person.
MOST_COMMANDERS = 64
_CREDENTIALS = struct.Struct("3i")

log = logging.getLogger(__name__)
Command = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Answers one command; raises TenfoldError."""
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Serves one connection; may raise OSError, TimeoutError and WireError."""


def listen(path: Path) -> socket.socket:
    """A socket at `path` for this account alone; what a killed process left there is replaced. Raises OSError."""
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


def is_ours(line: socket.socket) -> bool:
    """Tell whether the other side runs as this account, or as root, who may do everything anyway."""
    if sys.platform != "linux":
        return True  # the mode of the socket says who may connect
    credentials = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, account, _ = _CREDENTIALS.unpack(credentials)
    return account in (os.geteuid(), 0)


async def serve_each(server: socket.socket, serve: Serve, most: int) -> None:
    """Serve every connection by itself, at most `most` at a time, until cancelled."""
    loop, open_ = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    try:
        while True:
            try:
                line, _ = await loop.sock_accept(server)
            except OSError as error:  # too many open files: those that are open go on
                log.warning("no connection can be taken: %s", error)
                await asyncio.sleep(0.2)
                continue
            if len(open_) >= most or not is_ours(line):
                line.close()
                continue
            task = asyncio.create_task(_serve_one(line, serve))
            open_.add(task)
            task.add_done_callback(open_.discard)
    finally:
        for task in open_:
            task.cancel()
        await asyncio.gather(*open_, return_exceptions=True)


async def _serve_one(line: socket.socket, serve: Serve) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=line, limit=READ_BYTES)
    try:
        await serve(reader, writer)
    except (OSError, TimeoutError):
        pass  # it hung up, or had nothing to say
    except WireError as error:
        log.warning("a connection was closed: %s", error)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


class Commands:
    """Answers commands in order, by the word in "do"."""

    def __init__(self, commands: Mapping[str, Command], who: str, shown: str) -> None:
        """`who`: whose commands they are, for messages: "agent", "supervisor"; `shown`: what shows its mistakes."""
        self._commands, self._who, self._shown = dict(commands), who, shown

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Greet, and obey until the other side hangs up."""
        if await asyncio.wait_for(reader.read(1), HELLO_S) == COMMAND:
            await self.obey(reader, writer)

    async def obey(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer command after command until the other side hangs up. Raises WireError, OSError."""
        frames = Unframer(MAX_FRAME)
        while data := await reader.read(READ_BYTES):
            for payload in frames.feed(data):
                answer = await self._answer(payload)
                writer.write(frame(json.dumps(answer, allow_nan=False).encode(), MAX_ANSWER))
                await writer.drain()

    async def _answer(self, payload: bytes) -> Mapping[str, Any]:
        other = f"update both: the {self._who} is of another version"
        try:
            command = json.loads(payload)
            word = command.get("do") if isinstance(command, dict) else None
            if not isinstance(word, str) or word not in self._commands:
                return _refusal(f"there is no command {word!r}", other)
            return {"ok": True, **await self._commands[word](command)}
        except TenfoldError as error:
            return _refusal(str(error), error.hint, error.retryable)
        except (ValueError, RecursionError):
            return _refusal("the command is no JSON object", other)
        except Exception as error:
            log.exception("a command failed")
            return _refusal(
                f"{type(error).__name__} in the {self._who}", f"{self._shown} shows where; please report it"
            )


def _refusal(error: str, hint: str, retryable: bool = False) -> dict[str, Any]:
    return {"ok": False, "error": error, "hint": hint, "retryable": retryable}
