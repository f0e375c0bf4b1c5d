"""What a library that speaks MySQL's protocol must do for the driver; two do it. Edge."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from tenfold.sharding.engine.mysqloptions import MysqlOptions
from tenfold.sharding.ports import Reply


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, whichever library says it.

    code   the server's, or the client's (2000 to 2999); 0: an answer that cannot be read
    words  the server's
    cause  beneath it: a TimeoutError where nobody answered in time, an ssl.SSLError, another OSError, or anything
    """

    code: int
    words: str
    cause: BaseException


class Unread(Protocol):
    """The rows of one statement, still at the server."""

    columns: tuple[str, ...]
    types: tuple[int, ...]

    def fetch(self, count: int) -> Sequence[tuple[Any, ...]]:
        """The next rows; fewer than `count` are the last, and the line can go on."""

    def forget(self) -> None:
        """Leave the rest unread. The line cannot go on unless all was read, or an error ended it."""


class Line(Protocol):
    """A connection whose session is pinned. Errors are the library's own, explained by `Library.failure`.

    number  of this connection on its server
    """

    number: int

    def ask(self, text: str | bytes) -> Reply:
        """Run one statement; later results of a procedure are passed over."""

    def send(self, text: str | bytes) -> None:
        """Send one statement; its `answer` is to be taken next."""

    def answer(self) -> Reply:
        """What the server answers to the statement that was sent."""

    def hurry(self) -> None:
        """Wait no longer for the answer that is under way."""

    def unread(self, text: str | bytes) -> Unread:
        """Run one statement and leave its rows at the server."""

    def ping(self) -> None:
        """Have the server answer, with what `in_transaction` then tells."""

    @property
    def in_transaction(self) -> bool:
        """As the server said with its last answer that was no rows and no error."""

    def within(self, seconds: float) -> AbstractContextManager[None]:
        """Reading in the block fails once it takes so long; the line is then lost."""

    def cut(self) -> None:
        """Have whoever waits for an answer, on whatever thread, wait no longer."""

    def close(self) -> None:
        """Hang up; twice is once."""

    def fileno(self) -> int:
        """Of the socket; -1 once it is closed."""


class Library(Protocol):
    """Opens lines."""

    @property
    def errors(self) -> tuple[type[BaseException], ...]:
        """What opening and asking may raise, beside mistakes of our own."""

    def open(self, options: MysqlOptions, connect_s: float, read_s: float) -> Line:
        """Connect and pin the session within `connect_s`; from then on each answer may take `read_s`."""

    def failure(self, error: BaseException) -> Failure:
        """What an error means."""
