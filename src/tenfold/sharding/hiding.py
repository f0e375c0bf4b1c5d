"""A text that sees no row of some buckets: copies on their way to a shard, and what remains of moved ones. Pure.

The text itself stays as it is: where it reads a table of a group, it reads the rows of it that are to be seen, under
the same name; where it changes one, its WHERE gets a condition more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from tenfold.sharding.bucketsql import bucket_sql
from tenfold.sharding.dialects import Dialect
from tenfold.sharding.keys import BUCKETS
from tenfold.sharding.layout import GroupTable
from tenfold.sharding.moves.record import spans
from tenfold.sharding.statement import tokens_of

Known = Callable[[str], GroupTable | None]
"""Lower-case name → the table of a group with its shape, if it is one."""
_RANGES = 4
"""Up to so many runs of buckets are compared one by one; more are one list, so that the hash is computed once."""
_AFTER_WHERE = {TokenType.ORDER_BY, TokenType.LIMIT, TokenType.RETURNING}


class Hiding:
    """Adds the condition to texts; remembers those that it has changed."""

    def __init__(self, known: Known, dialect: Dialect) -> None:
        self._known, self._dialect = known, dialect
        self._remembered = lru_cache(maxsize=512)(self._changed)

    def __call__(self, sql: str, buckets: frozenset[int]) -> str:
        """`sql` without the rows of `buckets` in the tables of groups."""
        return self._remembered(sql, frozenset(bucket for bucket in buckets if bucket < BUCKETS))

    def _changed(self, sql: str, buckets: frozenset[int]) -> str:
        if not buckets:
            return sql
        tree = sqlglot.parse_one(sql, dialect=self._dialect.engine.value)
        written = _written(tree)
        pieces: list[tuple[int, int, str]] = []
        for table in tree.find_all(exp.Table):
            known = self._known(table.name.lower()) if isinstance(table.this, exp.Identifier) else None
            if known is None:
                continue
            start, end = int(table.this.meta["start"]), int(table.this.meta["end"]) + 1
            name = sql[start:end]
            if table is not written:
                seen = f"(SELECT * FROM {name} WHERE {self._condition(name, known, buckets)})"  # noqa: S608
                pieces.append((start, end, seen if table.alias else f"{seen} AS {name}"))
            elif isinstance(tree, exp.Update | exp.Delete):
                condition = self._condition(table.alias or name, known, buckets)
                pieces += _added(tokens_of(sql, self._dialect), len(sql), condition)
        for start, end, text in sorted(pieces, reverse=True):
            sql = sql[:start] + text + sql[end:]
        return sql

    def _condition(self, name: str, known: GroupTable, buckets: Iterable[int]) -> str:
        column = self._dialect.quoted(known.shape.columns[known.key].name)
        return _outside(bucket_sql(f"{name}.{column}", known.key_type, self._dialect), buckets)


def _outside(bucket: str, buckets: Iterable[int]) -> str:
    """SQL: `bucket` is none of `buckets`."""
    runs = [tuple(map(int, span.split("-"))) for span in spans(buckets).split(",")]
    if len(runs) > _RANGES:
        return f"{bucket} NOT IN ({', '.join(map(str, sorted(buckets)))})"
    return " AND ".join(f"{bucket} NOT BETWEEN {run[0]} AND {run[-1]}" for run in runs)


def _added(tokens: Sequence[Token], end: int, condition: str) -> list[tuple[int, int, str]]:
    """Pieces that add a condition to the WHERE of an UPDATE or DELETE."""
    depth = 0
    begins: int | None = None
    for token in tokens:
        depth += (token.token_type is TokenType.L_PAREN) - (token.token_type is TokenType.R_PAREN)
        if depth:
            continue
        if token.token_type is TokenType.WHERE and begins is None:
            begins = token.end + 1
        elif token.token_type in _AFTER_WHERE:
            end = token.start
            break
    if begins is None:
        return [(end, end, f" WHERE {condition} ")]
    return [(begins, begins, f" {condition} AND ("), (end, end, ") ")]


def _written(tree: exp.Expr) -> exp.Table | None:
    """The table that the statement changes or creates."""
    target = tree.this if isinstance(tree, exp.Update | exp.Delete | exp.Insert | exp.Create) else None
    found = target.find(exp.Table) if isinstance(target, exp.Expr) else None
    return found if isinstance(found, exp.Table) else None
