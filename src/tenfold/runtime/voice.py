"""What `up` tells the person at the terminal: short lines, colour only where it is one. Edge."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

from rich.console import Console
from rich.text import Text

from tenfold.runtime.wording import duration, visible

NAMES = ("cyan", "green", "magenta", "yellow", "blue")


class Voice:
    """Says things in the form that was asked for.

    quiet    only what goes wrong, on stderr
    as_json  the same; the caller prints one object
    """

    def __init__(self, *, quiet: bool = False, as_json: bool = False) -> None:
        self.silent, self._as_json = quiet or as_json, as_json
        self._out, self._err = _console(sys.stdout), _console(sys.stderr)
        self._colours: dict[str, str] = {}

    @property
    def may_draw(self) -> bool:
        """Whether a program of ours may draw, a progress bar say, on stderr itself."""
        return not self.silent and sys.stderr.isatty()

    def step(self, name: str, text: str, seconds: float) -> None:
        """Something is done: "✓ backend_0  127.0.0.1:8101  0.4 s"."""
        self._say(Text.assemble(("✓ ", "green"), f"{name:<10}  {visible(text):<36}  ", (duration(seconds), "dim")))

    def block(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        """The one thing to read: where the platform is and how to stop it."""
        self._say(Text.assemble("\n", (visible(title), "bold"), "\n"))
        for name, text in rows:
            self._say(Text.assemble(f"  {name:<9} ", visible(text)))
        self._say(Text(""))

    def say(self, text: str) -> None:
        """A plain line."""
        self._say(Text(visible(text)))

    def event(self, text: str, *, bad: bool) -> None:
        """Something happened by itself: with the time of day, and on stderr where stdout is not for people."""
        line = Text.assemble((time.strftime("%H:%M:%S  "), "dim"), (visible(text), "red" if bad else "green"))
        if not self.silent:
            self._write(self._out, line)
        elif bad:
            self._write(self._err, line)

    def warn(self, text: str) -> None:
        """Not wrong, but to be known."""
        if not self.silent:
            self._write(self._err, Text.assemble(("warning: ", "yellow"), visible(text)))

    def line(self, name: str, text: str) -> None:
        """A line that a program wrote, after its name. Asked for by itself, so --quiet does not silence it."""
        colour = self._colours.setdefault(name, NAMES[len(self._colours) % len(NAMES)])
        self._write(self._err if self._as_json else self._out, Text.assemble((f"{name} | ", colour), visible(text)))

    def passed_on(self, text: str) -> None:
        """A line of the set-up command."""
        if not self.silent:
            self._write(self._out, Text(f"  {visible(text)}"))

    def _say(self, text: Text) -> None:
        if not self.silent:
            self._write(self._out, text)

    @staticmethod
    def _write(console: Console, text: Text) -> None:
        try:
            console.print(text, soft_wrap=True)
            console.file.flush()
        except (OSError, ValueError):
            # Whoever read us has gone, with the terminal perhaps. That is no reason to let the platform fall.
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), console.file.fileno())


def _console(file: TextIO) -> Console:
    if isinstance(file, io.TextIOWrapper):
        file.reconfigure(errors="replace")  # a terminal that knows no ✓ is no reason to fail
    plain = bool(os.environ.get("NO_COLOR")) or not file.isatty()
    return Console(file=file, highlight=False, markup=False, color_system=None if plain else "auto")
