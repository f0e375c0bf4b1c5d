"""How a SELECT that several shards answer is carried out: merged, or finished in a scratch database. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenfold.errors import CrossShardError, StatementError
from tenfold.sharding.merge import Merge, folded
from tenfold.sharding.placing import Place, Placing
from tenfold.sharding.plan import Among, Listed, Merged, Part, Plan, Staged
from tenfold.sharding.ports import (
    SCRATCH,
    Close,
    Emit,
    EndScratch,
    Fetch,
    Gather,
    Open,
    Opened,
    Params,
    Reply,
    Scratch,
    Send,
    SendMany,
    Steps,
    Turn,
)
from tenfold.sharding.reserve import Transaction
from tenfold.sharding.statement import Source, picked, value
from tenfold.topology.model import Engine


class StaleShape(Exception):
    """A shard's table has other columns than the plan was made for. Caught by the executor, which plans again."""

    def __init__(self, table: str, shard: str) -> None:
        super().__init__(table, shard)
        self.table, self.shard = table, shard


BATCH = 1000
"""Rows that are read from a shard at a time."""
_MOST_ROWS = 2**63 - 1
# CREATE TABLE … AS SELECT is strict with values that a SELECT only warns of ('a' = 1); the values themselves fit.
_LENIENT = "SET @tf_sql_mode = @@sql_mode, SESSION sql_mode = ''"
_STRICT = "SET SESSION sql_mode = @tf_sql_mode"
_AMONG = 10_000
"""Up to so many values a table is asked for the rows that have one of them; beyond it, for all of its rows."""
_LISTED = 500


@dataclass(frozen=True, slots=True)
class Reads:
    """The reading half of the executor. pull_rows: how many rows one statement may bring together."""

    placing: Placing
    pull_rows: int

    def answer(self, plan: Plan, params: Params, place: Place, tx: Transaction | None) -> Steps[Reply]:
        """The whole answer at once."""
        _refuse_number(plan, params)
        if plan.merged is not None:
            return (yield from self._merged(plan, plan.merged, params, place))
        assert plan.staged is not None  # noqa: S101  # a SELECT on several shards is one of the two
        yield from self._fill_scratch(plan.staged, params, tx)
        reply: Reply = yield Send(SCRATCH, plan.staged.final.sql, picked(plan.staged.final, params))
        yield from self._leave_scratch(plan.staged)
        return reply

    def stream(self, plan: Plan, params: Params, place: Place, tx: Transaction | None) -> Steps[None]:
        """The answer in batches, as `Emit`s."""
        _refuse_number(plan, params)
        if plan.merged is not None and plan.merged.folds:
            reply = yield from self._merged(plan, plan.merged, params, place)
            yield Emit(reply.columns, reply.rows, reply.types)
            return
        if plan.merged is not None:
            yield from self._stream_merged(plan, plan.merged, params, place)
            return
        assert plan.staged is not None  # noqa: S101
        yield from self._fill_scratch(plan.staged, params, tx)
        yield from stream_one(SCRATCH, plan.staged.final.sql, picked(plan.staged.final, params))
        yield from self._leave_scratch(plan.staged)

    # --- merged ---

    def _merged(self, plan: Plan, merged: Merged, params: Params, place: Place) -> Steps[Reply]:
        skip, limit = self._bounds(merged, params)
        texts = self._texts(merged, params, place, "" if limit is None else f" LIMIT {_most(skip + limit)}")
        replies: list[Reply] = yield Gather([Send(*text) for text in texts])
        first = replies[0]
        _refuse_drift(plan, [(text[0], reply.columns) for text, reply in zip(texts, replies, strict=True)])
        if merged.folds:
            rows = [folded([row for reply in replies for row in reply.rows], merged.folds)]
        else:
            merge = Merge(len(texts), merged.keys, merged.hidden, skip, limit)
            for at, reply in enumerate(replies):
                merge.feed(at, reply.rows)
                merge.feed(at, ())
            rows = merge.take()
        return Reply(_shown(first.columns, merged), rows, len(rows), types=_shown(first.types, merged))

    def _stream_merged(self, plan: Plan, merged: Merged, params: Params, place: Place) -> Steps[None]:
        skip, limit = self._bounds(merged, params)
        texts = self._texts(merged, params, place, "" if limit is None else f" LIMIT {_most(skip + limit)}")
        opened: list[Opened] = yield Gather([Open(*text) for text in texts])
        _refuse_drift(plan, [(text[0], one.columns) for text, one in zip(texts, opened, strict=True)])
        columns, types = _shown(opened[0].columns, merged), _shown(opened[0].types, merged)
        merge = Merge(len(texts), merged.keys, merged.hidden, skip, limit)
        yield Emit(columns, (), types)
        while not merge.done:
            wanted = merge.wants()
            batches = yield Gather([Fetch(opened[at].number, BATCH) for at in wanted])
            for at, rows in zip(wanted, batches, strict=True):
                merge.feed(at, rows)
            ready = merge.take()
            if ready:
                yield Emit(columns, ready, types)
        yield Close([one.number for one in opened])

    def _texts(self, merged: Merged, params: Params, place: Place, tail: str) -> list[tuple[str, str, Params]]:
        """(shard, SQL, parameters) for each shard. None knows which of its rows come first among all, so each gives
        as many as may be wanted."""
        if merged.listed is None or not place.listed:
            values = picked(merged.text, params)
            return [(shard, merged.text.sql + tail, values) for shard in place.shards]
        return [(shard, *_cut(merged.listed, place.listed[shard], params, tail)) for shard in place.shards]

    def _bounds(self, merged: Merged, params: Params) -> tuple[int, int | None]:
        """(rows to skip, rows to give or None for all)."""
        sqlite = self.placing.layout.dialect.engine is Engine.SQLITE
        limit = None if merged.limit is None else _count(merged.limit, params, "LIMIT", below_zero=sqlite)
        skip = 0 if merged.offset is None else _count(merged.offset, params, "OFFSET", below_zero=sqlite)
        return max(skip, 0), None if limit is None or limit < 0 else limit

    # --- staged ---

    def _fill_scratch(self, staged: Staged, params: Params, tx: Transaction | None) -> Steps[None]:
        """Bring all parts together. What the shards are first asked for is asked before the scratch database is
        taken: a shard that hangs must not hold connections of the one where the scratch database is."""
        home = staged.home or (tx.shard if tx is not None else None) or self.placing.layout.shards[0]
        left = self.pull_rows
        taken = False
        yield Turn()
        for part in staged.parts:
            opened: Sequence[tuple[Open, Opened]] = ()
            if not taken and part.among is None:
                opened = yield from self._opened(self._elsewhere((yield from self._reads(part, params, home)), home))
            if not taken:
                yield from self._scratch(home)
                taken = True
            left -= yield from self._fill(part, params, home, left, opened)
        if not taken:
            yield from self._scratch(home)

    def _scratch(self, home: str) -> Steps[None]:
        yield Scratch(home)
        if self.placing.layout.dialect.engine is Engine.MYSQL:
            yield Send(SCRATCH, _LENIENT)

    def _leave_scratch(self, staged: Staged) -> Steps[None]:
        dialect = self.placing.layout.dialect
        if dialect.engine is Engine.MYSQL and staged.parts:
            names = ", ".join(dialect.quoted(part.table) for part in staged.parts)
            yield Send(SCRATCH, f"DROP TEMPORARY TABLE {names}")
            yield Send(SCRATCH, _STRICT)
        yield EndScratch(clean=True)

    def _fill(
        self, part: Part, params: Params, home: str, left: int, opened: Sequence[tuple[Open, Opened]]
    ) -> Steps[int]:
        """Make one scratch table; → how many rows it has. opened: what is being read for it already."""
        dialect = self.placing.layout.dialect
        table = dialect.quoted(part.table)
        reads = yield from self._reads(part, params, home)
        declared = ", ".join(f"{dialect.quoted(name)} {kind}" for name, kind in part.columns)
        count = 0
        own = next((read for read in reads if read.shard == home), None)
        if dialect.engine is Engine.SQLITE:
            yield Send(SCRATCH, f"CREATE TABLE {table} ({declared})")
        elif own is not None:
            # The rows of this very shard come with the table: afterwards it hides the one that they are in.
            made: Reply = yield Send(
                SCRATCH, f"CREATE TEMPORARY TABLE {table} AS {own.sql} LIMIT {left + 1}", own.params
            )
            count = made.rowcount
        elif all(kind for _, kind in part.columns):
            yield Send(SCRATCH, f"CREATE TEMPORARY TABLE {table} ({declared})")
        else:
            values = picked(part.text, params)
            yield Send(SCRATCH, f"CREATE TEMPORARY TABLE {table} AS {part.text.sql} LIMIT 0", values)
        self._refuse_more(part, count, left)
        insert = f"INSERT INTO {table} VALUES ({', '.join('?' for _ in part.columns)})"  # noqa: S608
        waiting = [] if opened else self._elsewhere(reads, home)
        while opened or waiting:
            if not opened:
                # A shard is read by one statement at a time, as a transaction has only one connection there.
                now = {read.shard: read for read in reversed(waiting)}
                waiting = [read for read in waiting if read is not now[read.shard]]
                opened = yield from self._opened(list(now.values()))
            count += yield from self._copy(part, opened, insert, left - count)
            opened = ()
        return count

    def _elsewhere(self, reads: Sequence[Open], home: str) -> list[Open]:
        """Those whose rows must be sent to the scratch database."""
        sqlite = self.placing.layout.dialect.engine is Engine.SQLITE
        return [read for read in reads if sqlite or read.shard != home]

    def _opened(self, reads: Sequence[Open]) -> Steps[list[tuple[Open, Opened]]]:
        if not reads:
            return []
        opened: list[Opened] = yield Gather(reads)
        return list(zip(reads, opened, strict=True))

    def _copy(self, part: Part, opened: Sequence[tuple[Open, Opened]], insert: str, left: int) -> Steps[int]:
        """Read from several shards at once and write into the scratch table as rows come; → how many."""
        count = 0
        names = tuple(name for name, _ in part.columns)
        for read, one in opened:
            if one.columns != names:
                raise StaleShape(part.table, read.shard)
        open_now = [one.number for _, one in opened]
        while open_now:
            batches = yield Gather([Fetch(number, BATCH) for number in open_now])
            for rows in batches:
                count += len(rows)
                self._refuse_more(part, count, left)
                if rows:
                    yield SendMany(SCRATCH, insert, rows)
            open_now = [number for number, rows in zip(open_now, batches, strict=True) if rows]
        yield Close([one.number for _, one in opened])
        return count

    def _refuse_more(self, part: Part, count: int, left: int) -> None:
        if count <= left:
            return
        what = "partial results" if part.table.startswith("tf_") else f"rows of {part.table}"
        raise CrossShardError(
            f"more than {self.pull_rows} {what} would have to be brought together from several shards",
            hint="add conditions that leave fewer rows, best on the shard key; or raise database.pull_rows",
        )

    def _reads(self, part: Part, params: Params, home: str) -> Steps[list[Open]]:
        """What is sent to which shard for a part; to `home` in one piece."""
        values = picked(part.text, params)
        shards = self.placing.of_route(part.where, params)
        if part.among is None:
            return [Open(shard, part.text.sql, values) for shard in shards]
        among = part.among
        found: Reply = yield Send(SCRATCH, f"{among.text.sql} LIMIT {_AMONG + 1}", picked(among.text, params))
        keys = [row[0] for row in found.rows if row[0] is not None]
        if len(keys) > _AMONG:
            return [Open(shard, part.text.sql, values) for shard in shards]
        wanted: dict[str, list[Any]] = {shard: [] for shard in shards}
        for key in keys:
            owners = shards if among.key_type is None else self.placing.shards_of([key], among.key_type)
            for shard in owners:
                if shard in wanted:
                    wanted[shard].append(key)
        return [
            Open(shard, *self._listed(part.text.sql, among, values, owned[start : start + size]))
            for shard, owned in wanted.items()
            for size in (len(owned) or 1 if shard == home else _LISTED,)
            for start in range(0, len(owned), size)
        ]

    def _listed(self, sql: str, among: Among, values: Params, keys: Sequence[Any]) -> tuple[str, Params]:
        column = self.placing.layout.dialect.quoted(among.column)
        if isinstance(values, Mapping):
            names = [f"tf_among_{at}" for at in range(len(keys))]
            marks = ", ".join(f":{name}" for name in names)
            return f"{sql} AND {column} IN ({marks})", {**values, **dict(zip(names, keys, strict=True))}
        return f"{sql} AND {column} IN ({', '.join('?' for _ in keys)})", [*values, *keys]


def stream_one(shard: str, sql: str, params: Params, buckets: tuple[int, ...] | None = None) -> Steps[None]:
    """The answer of one shard in batches. buckets: as of `Open`."""
    opened: Opened = yield Open(shard, sql, params, buckets)
    yield Emit(opened.columns, (), opened.types)
    while rows := (yield Fetch(opened.number, BATCH)):
        yield Emit(opened.columns, rows, opened.types)
    yield Close([opened.number])


def _refuse_number(plan: Plan, params: Params) -> None:
    """One shard would say so itself; here some parameters go to one text and some to another."""
    if plan.positional is not None and (isinstance(params, Mapping) or len(params) != plan.positional):
        raise StatementError(
            f"the statement has {plan.positional} parameters, and {len(params)} were passed",
            hint="pass a sequence with one value for each",
        )


def _refuse_drift(plan: Plan, seen: Sequence[tuple[str, tuple[str, ...]]]) -> None:
    """`SELECT *` gives what a table has, which must be the same on all shards."""
    first, columns = seen[0]
    for shard, others in seen[1:]:
        if others != columns:
            odd = ", ".join(sorted(set(columns) ^ set(others))) or "their order"
            raise StatementError(
                f"{', '.join(plan.tables)}: {first} and {shard} do not have the same columns: {odd}",
                hint="make the schema the same on all shards; `tenfold check --live` names every difference",
            )


def _cut(listed: Listed, wanted: Sequence[int], params: Params, tail: str) -> tuple[str, Params]:
    """The text with some items of its list, and their parameters."""
    items = [listed.items[at] for at in wanted]
    sql = f"{listed.before.sql}{', '.join([item.sql for item in items])}{listed.after.sql}{tail}"
    if listed.before.slots is None or isinstance(params, Mapping):
        return sql, params
    slots = [*listed.before.slots]
    for item in items:
        slots += item.slots or ()
    slots += listed.after.slots or ()
    return sql, [params[slot] for slot in slots]


def _most(rows: int) -> int:
    return min(rows, _MOST_ROWS)


def _count(source: Source, params: Params, clause: str, *, below_zero: bool) -> int:
    found = value(source, params)
    if isinstance(found, float) and found.is_integer() and below_zero:  # SQLite takes 5.0 for 5
        found = int(found)
    if not isinstance(found, int) or (found < 0 and not below_zero):
        raise StatementError(f"{clause} takes a whole number", hint="pass an int that is not negative")
    return int(found)


def _shown(all_of: tuple[Any, ...], merged: Merged) -> tuple[Any, ...]:
    return all_of[: -merged.hidden] if merged.hidden else all_of
