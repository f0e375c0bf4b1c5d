"""The agent's socket: recorders send timings, and commands are answered. Edge."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping

from tenfold.monitor.receive import Batch, Name, Stream
from tenfold.monitor.wire import COMMAND, RECORDER
from tenfold.runtime.command_door import (
    HELLO_S,
    MOST_CONNECTIONS,
    READ_BYTES,
    Command,
    Commands,
    listen,
    serve_each,
)

__all__ = ["Command", "Door", "listen"]


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
        self._commands, self._register, self._observations = (
            Commands(commands, "agent", "tenfold logs agent"),
            register,
            observations,
        )
        self._streams: set[Stream] = set()
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Observations that recorders say they lost."""
        return self._dropped + sum(stream.dropped for stream in self._streams)

    async def serve(self, server: socket.socket) -> None:
        """Until cancelled."""
        await serve_each(server, self._serve_one, MOST_CONNECTIONS)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kind = await asyncio.wait_for(reader.read(1), HELLO_S)
        if kind == RECORDER:
            await self._record(reader)
        elif kind == COMMAND:
            await self._commands.obey(reader, writer)

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
