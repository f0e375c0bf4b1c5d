"""Where the output of programs goes: to a file each, or line by line through us. Edge."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from tenfold.runtime.logs import Lines, last_lines, open_for_program
from tenfold.runtime.place import Place

SHOWN_LINES = 12
READ_BYTES = 64 * 1024


class Output(Protocol):
    """Takes what programs write."""

    def open(self, name: str) -> int:
        """A descriptor for a program to write to; the caller closes its own copy once the program has it."""

    def recent(self, name: str) -> list[str]:
        """The last lines that the program wrote since it was last started."""

    async def settle(self) -> None:
        """Wait, shortly, until what programs that have ended wrote has arrived."""


class FileOutput:
    """Each program's output in var/log/NAME.log."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._start: dict[str, int] = {}

    def open(self, name: str) -> int:
        descriptor = open_for_program(self._place.log / f"{name}.log")
        self._start[name] = os.fstat(descriptor).st_size
        return descriptor

    def recent(self, name: str) -> list[str]:
        return last_lines(self._place.log / f"{name}.log", SHOWN_LINES, self._start.get(name, 0))

    async def settle(self) -> None:
        """Nothing is on its way: the kernel wrote to the files."""


class StreamOutput:
    """Each program's output line by line to `on_line(name, line)`."""

    def __init__(self, on_line: Callable[[str, str], None]) -> None:
        self._on_line = on_line
        self._recent: dict[str, deque[str]] = {}
        self._pipes: dict[str, Pipe] = {}

    def open(self, name: str) -> int:
        kept: deque[str] = deque(maxlen=SHOWN_LINES)
        self._recent[name] = kept

        def take(line: str) -> None:
            kept.append(line)
            self._on_line(name, line)

        pipe = self._pipes[name] = Pipe(take)
        return pipe.write_end

    def recent(self, name: str) -> list[str]:
        return list(self._recent.get(name, ()))

    async def settle(self) -> None:
        # Those of programs that run stay open; a pipe holds 64 KiB, which is read well within this time.
        await asyncio.gather(*(pipe.drained(0.2) for pipe in self._pipes.values()))


class Pipe:
    """A pipe whose lines are handed to `on_line` in the running event loop, until nobody can write to it any more."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._on_line = on_line
        self._lines = Lines()
        self.closed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._read_end, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._read_end, READ_BYTES)
        except BlockingIOError:
            return
        for line in self._lines.add(data) if data else self._lines.close():
            self._on_line(line)
        if not data:
            self._loop.remove_reader(self._read_end)
            os.close(self._read_end)
            self.closed.set()

    async def drained(self, within_s: float) -> None:
        """Wait until all of it was read, or `within_s` has passed: somebody may hold it open."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.closed.wait(), within_s)
