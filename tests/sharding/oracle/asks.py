"""A statement of the oracle: its text, its parameters in any style, and what the judge must know of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

_MARK = re.compile("\x01(\\d+)\x02")
STYLES = ("?", "%s", ":name")


@dataclass(frozen=True, slots=True)
class Value:
    """A value in a statement; literal: written into the text whatever the style."""

    value: Any
    literal: bool


@dataclass(frozen=True)
class Ask:
    """One statement, or several in a transaction.

    sql     with a marker wherever a value stands; `values` by the markers' numbers
    whole   of a SELECT with ORDER BY or LIMIT: all its rows, and with `ranks` one column more: the place of each
            row in the order, ties alike, as the engine itself counts it; empty: the statement is its own
    limit   (most rows, how many are left out first)
    loose   position of a column → why equal answers may differ: "fold" any of the texts that the collation holds
            for one, "bag" texts put together in any order
    rows    for executemany: the values of each row, by the markers' numbers
    draws   the table whose ids Tenfold draws for it
    script  several statements in one transaction; kept: whether it is committed; anywhere: it reads all shards
    route   how Tenfold is asked: "execute", "stream" (a SELECT), "async" or "dbapi"
    """

    sql: str = ""
    values: tuple[Value, ...] = ()
    style: str = "?"
    whole: str = ""
    ranks: bool = False
    limit: tuple[int, int] | None = None
    loose: dict[int, str] = field(default_factory=dict)
    rows: tuple[tuple[Any, ...], ...] = ()
    draws: str = ""
    script: tuple[Ask, ...] = ()
    kept: bool = True
    anywhere: bool = False
    shape: str = ""
    route: str = "execute"

    @property
    def reads(self) -> bool:
        """Whether it is a SELECT."""
        return self.sql.lstrip("( ").upper().startswith(("SELECT", "WITH"))

    def text(self, engine: str) -> str:
        """For messages: the statement with its values written into it."""
        if self.script:
            return "BEGIN; " + "; ".join(each.text(engine) for each in self.script)
        shown = _MARK.sub(lambda found: written(self.values[int(found[1])].value, engine), self.sql)
        return shown + (f" -- executemany {list(self.rows)}" if self.rows else "")

    def placed(
        self, engine: str, style: str, text: str | None = None, write: Callable[[Any], str] | None = None
    ) -> tuple[str, Any]:
        """(statement, parameters) in a style: "?", "%s", ":name", or "" where `write` makes SQL of each value."""
        params: list[Any] = []
        names: dict[str, Any] = {}
        pieces: list[str] = []
        done, source = 0, self.sql if text is None else text
        for found in _MARK.finditer(source):
            number = int(found[1])
            held = self.values[number]
            pieces.append(source[done : found.start()])
            done = found.end()
            if held.literal or not style:
                pieces.append(written(held.value, engine) if held.literal or not write else write(held.value))
            elif style == ":name":
                names[f"p{number}"] = held.value
                pieces.append(f":p{number}")
            else:
                params.append(held.value)
                pieces.append(style)
        pieces.append(source[done:])
        return "".join(pieces), names if style == ":name" and names else tuple(params)


def marker(number: int) -> str:
    """What stands in the text for a value."""
    return f"\x01{number}\x02"


def written(value: Any, engine: str) -> str:
    """A value as SQL."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int | float | Decimal):
        return repr(value) if isinstance(value, float) else str(value)
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    text = as_text(value).replace("'", "''")
    return "'" + (text.replace("\\", "\\\\") if engine == "mysql" else text) + "'"


def as_text(value: Any) -> str:
    """A text, date or time as both engines read it in quotes."""
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        micros = round(abs(value).total_seconds() * 1_000_000)
        sign = "-" if value < timedelta() else ""
        hours, rest = divmod(micros, 3_600_000_000)
        minutes, rest = divmod(rest, 60_000_000)
        return f"{sign}{hours:02}:{minutes:02}:{rest // 1_000_000:02}.{rest % 1_000_000:06}"
    return str(value)


@dataclass(frozen=True, slots=True)
class By:
    """One term of an ORDER BY.

    expression  as it may stand in OVER (ORDER BY …)
    down        descending
    written     as the statement has it where that differs: an alias, a position
    nulls       "", "FIRST" or "LAST"
    """

    expression: str
    down: bool = False
    written: str = ""
    nulls: str = ""

    def sql(self, *, shown: bool) -> str:
        """The term, as the statement has it (`shown`) or as the judge asks."""
        text = (self.written if shown else "") or self.expression
        return text + (" DESC" if self.down else "") + (f" NULLS {self.nulls}" if self.nulls else "")


def ordered(by: Sequence[By], *, shown: bool) -> str:
    """ORDER BY and its terms; empty without any."""
    return " ORDER BY " + ", ".join(term.sql(shown=shown) for term in by) if by else ""
