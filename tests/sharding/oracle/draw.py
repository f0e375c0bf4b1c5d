"""What the shapes of the oracle draw from: values, conditions, orders, whole statements. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

from tests.sharding.oracle.asks import STYLES, Ask, By, Value, marker, ordered
from tests.sharding.oracle.data import EMAILS, HANDLES, KEYS, Maker, World
from tests.sharding.oracle.schema import COLUMNS

T = TypeVar("T")
CORE = {
    "one shard": 10, "lists, order, limit": 8, "aggregates": 10, "joins": 6, "sub-queries, unions": 6,
}  # fmt: skip
"""The parts of the core, which is never refused, and how many shapes each has."""


@dataclass
class Draw:
    """One statement in the making. `world`: the rows there are at the start, to draw values that meet some.

    random  decides what the statement looks like; apart: its values. So the same text can be drawn with others,
            which is what a cache of plans is for.
    """

    random: Random
    engine: str
    world: World
    apart: Random
    values: list[Value] = field(default_factory=list)

    @property
    def sqlite(self) -> bool:
        return self.engine == "sqlite"

    def pick(self, options: Sequence[T]) -> T:
        return self.random.choice(options)

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def some(self, options: Sequence[T], least: int = 1, most: int | None = None) -> list[T]:
        """A few of them, in any order."""
        count = self.random.randint(least, min(len(options), most or len(options)))
        return self.random.sample(options, count)

    def v(self, value: Any, *, literal: bool | None = None) -> str:
        """The value's place in the text; as a parameter or a literal, whichever chance has it."""
        self.values.append(Value(value, self.chance(0.4) if literal is None else literal))
        return marker(len(self.values) - 1)

    # --- values ---

    def number(self) -> int:
        """A user's number; of one who exists, mostly."""
        users = self.world["users"]
        exists = users and self.apart.random() < 0.85
        return int(self.apart.choice(users)[0]) if exists else self.apart.choice(KEYS)

    def key(self, number: int | None = None) -> str:
        """A key of the user group, written in one of the ways in which an application may write it."""
        number = self.number() if number is None else number
        if self.apart.random() < 0.85:
            return self.v(number)
        return self.v(self.apart.choice([str(number), f"0{number}", f" {number} ", float(number)]))

    def numbers(self, least: int = 1, most: int = 6) -> list[int]:
        return [self.number() for _ in range(self.random.randint(least, most))]

    def keys(self, least: int = 1, most: int = 6) -> str:
        """A list for IN."""
        return ", ".join(self.v(number) for number in self.numbers(least, most))

    def handle(self) -> str:
        return self.v(self.apart.choice(HANDLES))

    def email(self) -> str:
        return self.v(self.apart.choice(EMAILS))

    def of(self, table: str, column: str) -> Any:
        """A value for a column; of a row that exists, half of the time."""
        rows = self.world[table]
        if rows and self.apart.random() < 0.5:
            return self.apart.choice(rows)[COLUMNS[table].index(column)]
        return Maker(self.apart, self.engine).value(table, column)

    def value(self, table: str, column: str) -> str:
        return self.v(self.of(table, column))

    # --- parts ---

    def test(self, table: str, columns: Sequence[str], alias: str = "") -> str:
        """A condition on one of the columns."""
        column = self.pick(columns)
        name = f"{alias}.{column}" if alias else column
        kind = self.random.randint(0, 7)
        if kind == 0:
            return f"{name} IS {self.pick(['', 'NOT '])}NULL"
        if kind == 1:
            return f"{name} BETWEEN {self.value(table, column)} AND {self.value(table, column)}"
        if kind == 2:
            listed = ", ".join(self.value(table, column) for _ in range(self.random.randint(1, 4)))
            return f"{name} {self.pick(['IN', 'NOT IN'])} ({listed})"
        if kind == 3:
            same = "IS NOT" if self.sqlite else "<=>"
            return f"{name} {same} {self.value(table, column)}"
        return f"{name} {self.pick(['=', '<>', '<', '<=', '>', '>='])} {self.value(table, column)}"

    def where(self, table: str, columns: Sequence[str], alias: str = "", *, empty: float = 0.3) -> str:
        """WHERE of up to three conditions, or nothing."""
        if self.chance(empty):
            return ""
        return f" WHERE {self.tests(table, columns, alias)}"

    def tests(self, table: str, columns: Sequence[str], alias: str = "") -> str:
        """Up to three conditions."""
        parts = [self.test(table, columns, alias) for _ in range(self.pick([1, 1, 2, 3]))]
        text = parts[0]
        for part in parts[1:]:
            text += f" {self.pick(['AND', 'AND', 'OR'])} {'NOT ' if self.chance(0.1) else ''}{part}"
        return f"({text})" if len(parts) > 1 else text

    def by(self, expressions: Sequence[str], least: int = 1, most: int = 2, *, none: float = 0.0) -> list[By]:
        """An order by some of these. none: how often there is none."""
        if none and not self.chance(1 - none):
            return []
        return [By(each, self.chance(0.5)) for each in self.some(expressions, least, most)]

    @property
    def insert_ignore(self) -> str:
        return "INSERT OR IGNORE" if self.sqlite else "INSERT IGNORE"

    @property
    def upsert_value(self) -> str:
        """The end of an INSERT into `user_meta` that takes the new value where there is one."""
        if self.sqlite:
            return "ON CONFLICT (user_id, name) DO UPDATE SET value = excluded.value"
        return "ON DUPLICATE KEY UPDATE value = VALUES(value)"

    def cut(self) -> tuple[int, int]:
        """(limit, offset)"""
        return self.pick([0, 1, 2, 3, 5, 10, 100]), self.pick([0, 0, 0, 1, 2, 5, 30])

    def concat(self, *parts: str) -> str:
        return " || ".join(parts) if self.sqlite else f"CONCAT({', '.join(parts)})"

    # --- statements ---

    def say(self, sql: str, **more: Any) -> Ask:
        """A statement that is its own reference: a SELECT without ORDER BY and LIMIT, or a write."""
        return Ask(sql, tuple(self.values), self.pick(STYLES), **more)

    def select(
        self,
        items: str,
        rest: str = "",
        by: Sequence[By] = (),
        limit: tuple[int, int] | None = None,
        *,
        head: str = "SELECT",
        loose: dict[int, str] | None = None,
    ) -> Ask:
        """`head items rest ORDER BY by LIMIT limit`; the judge asks for the same with the rank of each row."""
        return self._ordered(f"{head} {items} {rest}".rstrip(), f"{head} {items}, {_rank(by)} {rest}", by, limit, loose)

    def compound(
        self,
        sql: str,
        by: Sequence[By] = (),
        limit: tuple[int, int] | None = None,
        *,
        loose: dict[int, str] | None = None,
    ) -> Ask:
        """A UNION or the like, ordered by names of its columns, which must differ."""
        return self._ordered(sql, f"SELECT q.*, {_rank(by)} FROM ({sql}) q", by, limit, loose)

    def _ordered(
        self, sql: str, ranked: str, by: Sequence[By], limit: tuple[int, int] | None, loose: dict[int, str] | None
    ) -> Ask:
        """`sql` in this order, cut. ranked: the same, each row with its rank."""
        whole = ranked if by else sql if limit else ""
        text = sql + ordered(by, shown=True) + self._cut(limit)
        return self.say(text, whole=whole, ranks=bool(by), limit=limit, loose=loose or {})

    def _cut(self, limit: tuple[int, int] | None) -> str:
        if limit is None:
            return ""
        count, left_out = limit
        if not left_out and self.chance(0.8):
            return f" LIMIT {self.v(count)}"
        if self.chance(0.3):
            return f" LIMIT {self.v(left_out)}, {self.v(count)}"
        return f" LIMIT {self.v(count)} OFFSET {self.v(left_out)}"


def _rank(by: Sequence[By]) -> str:
    return f"DENSE_RANK() OVER ({ordered(by, shown=False).strip()}) AS tf_rank"


Make = Callable[[Draw], Ask]


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of statement. part: of the core (a key of CORE), or "" for what is beyond it."""

    name: str
    part: str
    engines: tuple[str, ...]
    make: Make


class Shapes(list[Shape]):
    """Shapes of one file, in its order."""

    def __call__(
        self, name: str, part: str = "", *, engines: tuple[str, ...] = ("sqlite", "mysql")
    ) -> Callable[[Make], Make]:
        """Enter the function below as the shape of this name."""

        def enter(make: Make) -> Make:
            self.append(Shape(name, part, engines, make))
            return make

        return enter
