"""Plans that are kept: by the exact text, and by the text without its literals. Pure.

An application that writes values into its SQL sends a new text each time. The text with parameters in place
of these literals is one for all of them: it is planned once and run with the values as its parameters. Only
literals that are values are lifted: those of a SELECT list name columns, those of ORDER BY are positions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Generic, NamedTuple, TypeVar

from tenfold.sharding.plan import Plan
from tenfold.sharding.ports import Params
from tenfold.sharding.statement import Kind
from tenfold.topology.model import Engine

PLANS = 4096
"""Plans kept of each sort; beyond it the oldest goes."""

K = TypeVar("K")
V = TypeVar("V")

# Words and signs of no account are passed over in one go; then comes a text, a parameter, a number, a word after which
# literals are values, or one after which they are not (until the next of the former). Whatever else is met is not for
# us: a word right before a quote is a prefix (x'00', _utf8'a'), a backslash may escape, names of parameters have no
# place, and the length of a type (AS CHAR(5)) is no value.
_VALUE_WORDS = "FROM|SET|VALUES?"
_NAME_WORDS = "SELECT|GROUP|ORDER|HAVING|LIMIT|OFFSET|RETURNING|INTERVAL|CONFLICT"
_PASSED = rf"(?:[\s,.()=<>*+!;|&^~]++|(?!(?:{_VALUE_WORDS}|{_NAME_WORDS}|AS|CONVERT)\b)[a-z_][\w$]*+(?!['\"]))*+"
_NUMBER = r"(?<![\w.])([0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)(?![\w.])"
_WORDS = rf"({_VALUE_WORDS})\b|({_NAME_WORDS})\b|AS\b(?!\s+\w+\s*\()"
_SQLITE = re.compile(
    rf"""{_PASSED}(?:('(?:[^']|'')*')|(\?|%s\b)|{_NUMBER}|{_WORDS}"""
    r"""|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*.*?\*/|[-/]|\Z|(.))""",
    re.DOTALL | re.IGNORECASE,
)
_MYSQL = re.compile(
    rf"""{_PASSED}(?:('(?:[^'\\]|'')*'|"(?:[^"\\]|"")*")|(\?|%s\b)|{_NUMBER}|{_WORDS}"""
    r"""|`[^`]*`|\#[^\n]*|--[^\n]*|/\*.*?\*/|[-/]|\Z|(.))""",
    re.DOTALL | re.IGNORECASE,
)
_TEXT, _PARAMETER, _DIGITS, _VALUES, _NAMES = 1, 2, 3, 4, 5


class Own(NamedTuple):
    """A parameter of the caller's, by its place from 0."""

    place: int


class Normal(NamedTuple):
    """sql: with `?` for each literal that is a value; values: of all its parameters, in order: the literal, or the
    place of the caller's own parameter as an `Own`; own: how many of these there are."""

    sql: str
    values: tuple[object, ...]
    own: int = 0

    def params(self, given: Params) -> list[object] | None:
        """The parameters of `sql`, from those of the text as it was written; None where these do not fit."""
        if isinstance(given, Mapping) or len(given) != self.own:
            return None
        return [given[item.place] if isinstance(item, Own) else item for item in self.values]


def normal(sql: str, engine: Engine) -> Normal | None:
    """The text without its values; None where it has none, or something by which one might be mistaken."""
    pieces: list[str] = []
    values: list[object] = []
    done = own = selects = 0
    lifting = lifted = percent = False
    for found in (_SQLITE if engine is Engine.SQLITE else _MYSQL).finditer(sql):
        kind = found.lastindex
        if kind is None:
            continue
        text = found[kind]
        if kind in (_VALUES, _NAMES):
            lifting = kind == _VALUES
            selects += text.upper() == "SELECT"
            continue
        if kind > _NAMES:
            return None
        if kind == _PARAMETER:
            values.append(Own(own))
            own += 1
            if text == "?":
                continue
            percent = True
        elif lifting:
            lifted = True
            values.append(text[1:-1].replace(text[0] * 2, text[0]) if kind == _TEXT else _number(text, engine))
        else:
            continue
        start, end = found.span(kind)
        pieces += [sql[done:start], "?"]
        done = end
    # A sub-query may stand among what the outer one names.
    if not lifted or selects > 1 or (percent and "%" in sql.replace("%s", "")):  # `%%` would be one of two
        return None
    if engine is Engine.SQLITE and not all(map(_can_be_passed, values)):
        return None
    return Normal("".join([*pieces, sql[done:]]), tuple(values), own)


def _number(text: str, engine: Engine) -> int | float | Decimal:
    if text.isdigit():
        return int(text)
    # MySQL's 1.10 is exact; SQLite's is a float, as is everything with an exponent.
    return Decimal(text) if engine is Engine.MYSQL and "e" not in text.lower() else float(text)


def _can_be_passed(item: object) -> bool:
    """A literal of more than 63 bits is a float to SQLite, or the smallest integer with its minus; no parameter is."""
    return not isinstance(item, int) or item < 1 << 63


def same_way(one: Plan, other: Plan) -> bool:
    """Whether the plan of a text and that of the text without its values go the same way."""
    return (
        one.kind is not Kind.DDL
        and type(one.route) is type(other.route)
        and (one.kind, one.tables, one.gives_rows, one.locks)
        == (other.kind, other.tables, other.gives_rows, other.locks)
        and len(getattr(one.route, "sources", ())) == len(getattr(other.route, "sources", ()))
        and (one.merged is None, one.staged is None) == (other.merged is None, other.staged is None)
    )


class Kept(Generic[K, V]):
    """A bounded dict; the oldest entry goes first. Safe between threads: each step is one operation of dict."""

    def __init__(self, most: int = PLANS) -> None:
        self._held: dict[K, V] = {}
        self._most = most

    def get(self, key: K) -> V | None:
        """What is kept, or None."""
        return self._held.get(key)

    def put(self, key: K, held: V) -> None:
        """Keep it."""
        if len(self._held) >= self._most:
            # A copy: other threads add meanwhile.
            self._held.pop(list(self._held)[0], None)  # noqa: RUF015
        self._held[key] = held

    def clear(self) -> None:
        """Forget all."""
        self._held.clear()
