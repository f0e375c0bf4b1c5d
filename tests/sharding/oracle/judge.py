"""Whether an answer is one that the database might have given: any order of ties, any choice among them. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.sharding.oracle.asks import Ask

Row = tuple[Any, ...]
Fold = Callable[[str], Hashable]
"""What the collation of a text holds for one: the same for texts that it does not tell apart."""
FLOAT_ERROR = 1e-12


@dataclass(frozen=True)
class Answer:
    """What a database gave. columns: names, empty for a write that gives no rows; rowcount as the caller sees it."""

    columns: tuple[str, ...]
    rows: list[Row]
    rowcount: int


def complaint(ask: Ask, expected: Answer, whole: Sequence[Row], got: Answer, fold: Fold) -> str:
    """Why `got` is no answer to `ask`; empty if it is one.

    expected  what one database gave
    whole     all rows without the limit, with their rank as last column where `ask.ranks`
    """
    if got.columns != expected.columns:
        return f"columns {got.columns} instead of {expected.columns}"
    if got.rowcount != expected.rowcount:
        return f"rowcount {got.rowcount} instead of {expected.rowcount}"
    classes = _classes(whole) if ask.ranks else [list(whole)] if whole else []
    limit, left_out = ask.limit or (len(whole), 0)
    count = max(0, min(limit, len(whole) - left_out))
    if len(got.rows) != count:
        return f"{len(got.rows)} rows instead of {count}"
    start = 0
    for tied in classes:
        end = start + len(tied)
        part = got.rows[max(start - left_out, 0) : max(end - left_out, 0)]
        stray = _not_among(part, tied, ask, fold)
        if stray is not None:
            return f"{stray} is not among the {len(tied)} rows that may stand in places {start} to {end - 1}"
        start = end
    return ""


def _classes(ranked: Sequence[Row]) -> list[list[Row]]:
    found: dict[int, list[Row]] = {}
    for row in ranked:
        found.setdefault(row[-1], []).append(row[:-1])
    return [found[rank] for rank in sorted(found)]


def _not_among(rows: Sequence[Row], tied: Sequence[Row], ask: Ask, fold: Fold) -> Row | None:
    """A row that has no partner of its own among the tied ones; None when each has."""
    left: dict[Hashable, list[Row]] = {}
    for row in tied:
        left.setdefault(_exact(row, ask, fold), []).append(row)
    unsure: list[Row] = []
    for row in rows:
        same = left.get(_exact(row, ask, fold))
        if same:
            same.pop()
        else:
            unsure.append(row)
    rest = [row for rows_left in left.values() for row in rows_left]
    for row in unsure:  # equal but for the last digits of a float
        partner = next((other for other in rest if _close(row, other, ask, fold)), None)
        if partner is None:
            return row
        rest.remove(partner)
    return None


def _exact(row: Row, ask: Ask, fold: Fold) -> Hashable:
    return tuple([_form(item, ask.loose.get(place, ""), fold) for place, item in enumerate(row)])


def _form(item: Any, loose: str, fold: Fold) -> Hashable:
    """Equal forms: equal values of one type, scale and sign of zero of a decimal included."""
    if isinstance(item, str) and loose == "fold":
        return str, fold(item)
    if isinstance(item, str) and loose == "bag":
        return str, tuple(sorted(item.split(";")))
    if isinstance(item, Decimal):
        return Decimal, str(item)
    return type(item), item


def _close(row: Row, other: Row, ask: Ask, fold: Fold) -> bool:
    if len(row) != len(other):
        return False
    for place, (mine, its) in enumerate(zip(row, other, strict=True)):
        if isinstance(mine, float) and isinstance(its, float):
            if not math.isclose(mine, its, rel_tol=FLOAT_ERROR):
                return False
        elif _form(mine, ask.loose.get(place, ""), fold) != _form(its, ask.loose.get(place, ""), fold):
            return False
    return True


def same_rows(one: Sequence[Row], other: Sequence[Row]) -> bool:
    """Whether two tables hold the same rows, each as often."""
    return len(one) == len(other) and _not_among(one, other, Ask(), str) is None
