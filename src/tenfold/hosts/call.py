"""One command that runs somewhere: what it says, how it ends, and what it is fed. Edge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tenfold.hosts.port import MOST_OUTPUT, Ran
from tenfold.hosts.shell import Output

PIECE = 1 << 16
LINGER_S = 1.0
"""A daemon that keeps an output of its starter open does not hold up the answer for longer."""


class Call:
    """Told by a transport what happens; waited for by whoever runs the command."""

    def __init__(self) -> None:
        self.output = Output(MOST_OUTPUT)
        self.code: int | None = None
        """128 and the signal's number where one ended it."""
        self.ended = asyncio.Event()
        """It has ended, or the line to it is lost."""
        self.closed = asyncio.Event()
        """Nothing more will be heard: whatever held its outputs has ended too."""
        self._begun = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._deaf = False

    def said(self, data: bytes) -> None:
        """It has written to its standard output."""
        self.output.out(data)
        if self.output.group is not None:
            self._begun.set()

    def exited(self, code: int) -> None:
        """It has ended with `code`."""
        self.code = code
        self.deaf()
        self.ended.set()

    def gone(self) -> None:
        """The line to it is closed."""
        self.deaf()
        self.closed.set()
        self.ended.set()

    def deaf(self) -> None:
        """It reads no more of its input."""
        self._deaf = True
        self._begun.set()
        self._room.set()

    def full(self) -> None:
        """The line takes no more for now."""
        self._room.clear()

    def roomy(self) -> None:
        """The line takes more."""
        self._room.set()

    async def feed(self, write: Callable[[bytes], object], line: bytes, data: bytes | memoryview) -> None:
        """Write `line` and `data`, as fast as they are taken; ends early where nobody reads them any more.

        Not before the shell has answered: what was given up until then must not begin afterwards.
        """
        await self._begun.wait()
        if not self._hears():
            return
        write(line)
        view = memoryview(data)
        for start in range(0, view.nbytes, PIECE):
            await self._room.wait()
            if not self._hears():
                return
            write(bytes(view[start : start + PIECE]))

    def _hears(self) -> bool:
        return not self._deaf

    def ran(self) -> Ran:
        """How it ended, once it has."""
        return Ran(self.code or 0, *self.output.both())


async def within(event: asyncio.Event, seconds: float) -> bool:
    """Whether it happened within so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
