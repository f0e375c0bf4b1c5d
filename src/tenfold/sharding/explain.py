"""A plan as people and programs read it: a tree of steps, the first one last to be done. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import TokenType

from tenfold.sharding.dialects import SQLITE, Dialect
from tenfold.sharding.plan import (
    AnyShard,
    ById,
    ByKey,
    ByKeys,
    ByUnique,
    Changing,
    Everywhere,
    Inserting,
    InsertRow,
    Merged,
    OnShard,
    Part,
    Plan,
    Route,
    Scatter,
    SortKey,
    Staged,
)
from tenfold.sharding.shapes import OWN_PREFIX
from tenfold.sharding.statement import Const, Source, Text

STAR = "*"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a plan; what stands below it happens before it.

    does  one word: Limit, MergeSorted, Scatter, Send, …
    what  what it is done with: a key, an order, a statement; parameters are ?1, ?2, … or :name
    """

    does: str
    what: str = ""
    below: tuple[Step, ...] = ()

    def lines(self, indent: str = "") -> Iterator[str]:
        """The tree, a step a line, two spaces deeper for each level."""
        yield f"{indent}{self.does} {self.what}".rstrip()
        for step in self.below:
            yield from step.lines(indent + "  ")

    def as_json(self) -> dict[str, Any]:
        """The same for programs: {"does", "what", "below": [...]}."""
        return {"does": self.does, "what": self.what, "below": [step.as_json() for step in self.below]}


def told(plan: Plan, dialect: Dialect = SQLITE) -> str:
    """The plan in a few lines that a reader can check by eye."""
    return "\n".join(steps_of(plan, dialect).lines())


def steps_of(plan: Plan, dialect: Dialect) -> Step:
    """The plan as a tree. Of a SELECT on several shards it ends in what makes one answer of theirs."""
    if plan.merged:
        return _merged(plan.route, plan.merged, dialect)
    if plan.staged and isinstance(plan.route, ByKey):
        whole = Step("Send", plan.sql)
        return _route(plan.route, below=(whole, Step("IfApart", "", (_staged(plan.staged, dialect),))))
    if plan.staged:
        return _staged(plan.staged, dialect)
    before: list[Step] = []
    if plan.inserting:
        before += _inserting(plan.inserting)
    if plan.changing:
        before += _changing(plan.changing)
    if isinstance(plan.route, Scatter) and not before:
        return Step("SendAll", plan.sql)
    return _route(
        plan.route,
        of_rows=plan.inserting is not None and plan.inserting.copying is None,
        below=(*before, Step("Send", plan.sql)),
    )


def _merged(route: Route, merged: Merged, dialect: Dialect) -> Step:
    text = shown(merged.text, dialect)
    if merged.limit is not None:
        both = [source for source in (merged.limit, merged.offset) if source is not None]
        text += f" LIMIT {_sum(both)}"
    step = _sent(route, text)
    if merged.folds:
        return Step("AddUp", ", ".join(merged.folds), (step,))
    if merged.keys:
        named = _columns(merged.text.sql, dialect)
        step = Step("MergeSorted", ", ".join(_sort_key(key, named) for key in merged.keys), (step,))
    if merged.limit is None and merged.offset is None:
        return step
    said = [] if merged.limit is None else [source_said(merged.limit)]
    said += [] if merged.offset is None else ["offset", source_said(merged.offset)]
    return Step("Limit", " ".join(said), (step,))


def _sum(sources: list[Source]) -> str:
    """What each shard's limit is: a number where all are written in the text."""
    written = [s.value for s in sources if isinstance(s, Const) and isinstance(s.value, int)]
    if len(written) == len(sources):
        return str(sum(written))
    return " + ".join(source_said(source) for source in sources)


def _sort_key(key: SortKey, named: list[str]) -> str:
    at = key.position
    # How many columns a `*` stands for, only the shard knows: what comes after it is counted from the end.
    known = -len(named) <= at < len(named) and STAR not in (named[at:] if at < 0 else named[: at + 1])
    name = named[at] if known else f"column {at + 1}"
    return f"{name} DESC" if key.descending else name


def _columns(sql: str, dialect: Dialect) -> list[str]:
    """Names of the columns that a SELECT gives; empty for what does not parse by itself."""
    try:
        tree = sqlglot.parse_one(sql, dialect=dialect.engine)
    except SqlglotError:
        return []
    return [STAR if item.is_star else _column(item) for item in tree.selects] if isinstance(tree, exp.Query) else []


def _column(item: exp.Expr) -> str:
    """A column by its own name; one that Tenfold added and nobody asked for, by what it is computed from."""
    name = item.alias_or_name
    if name and not name.startswith(OWN_PREFIX):
        return name
    inner = item.unalias()
    # On MySQL texts are merged by the bytes that order them; who reads the plan thinks of the column.
    if isinstance(inner, exp.WeightString):
        inner = inner.this
    return inner.name if isinstance(inner, exp.Column) else inner.sql()


def _staged(staged: Staged, dialect: Dialect) -> Step:
    parts = tuple(Step("Fill", part.table, tuple(_part(part, dialect))) for part in staged.parts)
    return Step(
        "Staged", f"on {staged.home}" if staged.home else "", (*parts, Step("Finish", shown(staged.final, dialect)))
    )


def _part(part: Part, dialect: Dialect) -> Iterator[Step]:
    if part.among:
        yield Step("Among", f"{part.among.column} of {shown(part.among.text, dialect)}")
    text = shown(part.text, dialect)
    yield _sent(part.where, f"{text} AND {part.among.column} IN (…)" if part.among else text)


def _sent(route: Route, text: str) -> Step:
    return Step("SendAll", text) if isinstance(route, Scatter) else _route(route, below=(Step("Send", text),))


def _inserting(inserting: Inserting) -> list[Step]:
    rows = [Step("Row", _row(row, inserting)) for row in inserting.rows]
    if inserting.copying:
        key = inserting.copying.key
        rows = [Step("Rows", f"key {source_said(key)}" if key else "each on the shard that it is read from")]
    rows += [Step("SubQuery", f"key {source_said(item)}") for item in inserting.others]
    copying = inserting.copying
    return rows + ([Step("Check", f"{copying.check.sql}…")] if copying and copying.check else [])


def _row(row: InsertRow, inserting: Inserting) -> str:
    table = inserting.table
    parts = [f"key {source_said(row.key)}"] if row.key else ["key: the id drawn"]
    if table.id_column and not (row.key and table.id_is_key):
        parts.append(f"id {source_said(row.id)}" if row.id else "id drawn")
    parts += [f"reserve {column} = {source_said(value)}" for column, value in row.claims.items()]
    return ", ".join(dict.fromkeys(parts))


def _changing(changing: Changing) -> list[Step]:
    steps = [Step("Probe", changing.probe.sql)]
    steps += [Step("Reserve", f"{column} = {source_said(value)}") for column, value in changing.claims.items()]
    return steps + [Step("Free", f"{column} of the rows before") for column in changing.columns]


def _route(route: Route, *, of_rows: bool = False, below: tuple[Step, ...]) -> Step:
    return Step(type(route).__name__, _where(route, of_rows), below)


def _where(route: Route, of_rows: bool) -> str:
    match route:
        case AnyShard() | Scatter():
            return ""
        case OnShard():
            return route.shard
        case ByKey() | ByKeys() if of_rows:
            return "of the rows"
        case ByKey():
            return " = ".join(map(source_said, route.sources))
        case ByKeys():
            return ", ".join(map(source_said, route.sources))
        case ById():
            otherwise = "all shards" if route.scatters else "refused"
            return f"{source_said(route.source)} (not one of Tenfold's: {otherwise})"
        case ByUnique():
            return f"{route.table.name}.{route.column} = {source_said(route.source)}"
        case Everywhere():
            return " ".join(route.shards)


def source_said(source: Source) -> str:
    """?1 for the first positional parameter, :name for a named one, the value itself for one that is written."""
    if isinstance(source, Const):
        return value_said(source.value)
    return f":{source.slot}" if isinstance(source.slot, str) else f"?{source.slot + 1}"


def value_said(value: object) -> str:
    """A value as SQL has it: 42, 'ann', NULL."""
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return "NULL" if value is None else repr(value)


def shown(text: Text, dialect: Dialect) -> str:
    """A text that Tenfold cut, on one line, each `?` with the number that the parameter has in the caller's own."""
    if text.slots is None:
        return text.sql
    slots = iter(text.slots)
    try:
        tokens = sqlglot.tokenize(text.sql, dialect=dialect.engine)
    except SqlglotError:
        return text.sql
    pieces, done = [], 0
    for token in tokens:
        if token.token_type is TokenType.PLACEHOLDER and (slot := next(slots, None)) is not None:
            pieces += [text.sql[done : token.start], f"?{slot + 1}"]
            done = token.end + 1
    # The space that keeps `x=?AND` apart is not needed before what ends a word anyway.
    return re.sub(r"(\?\d+) (?=[),])", r"\1", "".join([*pieces, text.sql[done:]])).rstrip()
