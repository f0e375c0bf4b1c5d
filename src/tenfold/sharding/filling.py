"""The rows of an INSERT made ready: ids drawn, buckets found, values to reserve. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tenfold.errors import CrossShardError, ShardKeyError
from tenfold.sharding.idlease import Ids
from tenfold.sharding.keys import KeyType, bucket_of, canonical
from tenfold.sharding.layout import GroupTable, refuse_cut
from tenfold.sharding.placing import Placing
from tenfold.sharding.plan import Inserting, InsertRow
from tenfold.sharding.ports import Params, Steps
from tenfold.sharding.reserve import Claim, Transaction, claim_of
from tenfold.sharding.rowcuts import ID_PARAMETER
from tenfold.sharding.statement import Param, value
from tenfold.sharding.upserts import check_fits


@dataclass(frozen=True, slots=True)
class Filled:
    """One execution of an INSERT: its parameters with ids, and for each of its rows bucket, id and claims."""

    params: Params
    buckets: Sequence[int]
    ids: Sequence[int | None]
    claims: Sequence[Sequence[Claim]]


@dataclass(frozen=True, slots=True)
class Filler:
    """Makes rows ready."""

    placing: Placing
    ids: Ids

    def fill(self, inserting: Inserting, params: Params, tx: Transaction | None) -> Steps[Filled]:
        """Draw the ids of one execution and see where its rows go."""
        table = inserting.table
        buckets: list[int] = []
        ids: list[int | None] = []
        drawn: list[int] = []
        claims: list[list[Claim]] = []
        for row in inserting.rows:
            row_id = value(row.id, params) if row.id else None
            bucket = self._bucket(inserting, row, params)
            if table.id_column and row_id is None:
                row_id = yield from self.ids.draw(None if table.id_is_key else bucket, tx)
                drawn.append(row_id)
                if row.id is not None:
                    params = _with(params, row.id, row_id)
            if bucket is None:
                bucket = bucket_of(row_id, table.key_type)
            elif row_id is not None and not table.id_is_key:
                row_id = self._checked_id(table, row_id, bucket)
            buckets.append(bucket)
            ids.append(row_id)
            claims.append(_claims(table, row, params, bucket))
        others = {bucket_of(value(item, params), table.key_type) for item in inserting.others}
        if others and len(others | set(buckets)) > 1:
            raise CrossShardError(
                f"the rows of {table.name} and its sub-queries have different shard keys, "
                "which may live on different shards",
                hint="read what the sub-queries give first, then insert it with executemany",
            )
        return Filled(_filled(inserting, params, drawn), buckets, ids, claims)

    def _bucket(self, inserting: Inserting, row: InsertRow, params: Params) -> int | None:
        table = inserting.table
        if row.key is None:
            return None
        key = value(row.key, params)
        if key is None and table.id_is_key:
            return None
        if key is None:
            raise ShardKeyError(f"the shard key {table.name}.{table.key} is NULL", hint="give every row its shard key")
        check_fits(inserting.verb, self.placing.layout.dialect, table.shape.columns[table.key], key)
        refuse_cut(table, table.key, key)
        return bucket_of(key, table.key_type)

    def _checked_id(self, table: GroupTable, row_id: object, bucket: int) -> int:
        """The id as its column holds it. One from elsewhere must not look like one of Tenfold's that lives on
        another shard; one that carries no bucket might be taken on another shard, and nobody would notice."""
        found = canonical(row_id, KeyType.INTEGER)
        carried = self.placing.bucket_in(table, found)
        if isinstance(found, int) and (self.placing.alone if carried is None else carried == bucket):
            return found
        raise self.foreign_id(table, repr(found))

    def foreign_id(self, table: GroupTable, shown: str) -> CrossShardError:
        """An id that Tenfold did not draw."""
        return CrossShardError(
            f"the id {shown} of {table.name} is not one that Tenfold drew for this shard key",
            hint=f'leave {table.id_column} out, or draw it with db.new_id("{table.name}", key)',
        )


def _claims(table: GroupTable, row: InsertRow, params: Params, bucket: int) -> list[Claim]:
    held = {column: value(source, params) for column, source in row.claims.items()}
    for column, item in held.items():
        refuse_cut(table, column, item)
    return [
        claim_of(table.name, column, item, table.reserved[column], bucket)
        for column, item in held.items()
        if item is not None
    ]


def _with(params: Params, source: object, row_id: int) -> Params:
    """The parameters with a NULL id replaced by the one drawn."""
    slot = source.slot if isinstance(source, Param) else None
    if isinstance(params, Mapping):
        return {**params, str(slot): row_id}
    return [row_id if position == slot else item for position, item in enumerate(params)]


def _filled(inserting: Inserting, params: Params, ids: Sequence[int]) -> Params:
    table = inserting.table
    if table.id_column is None or any(row.id is not None for row in inserting.rows):
        return params
    if isinstance(params, Mapping) or not inserting.id_slots:
        return {**dict(params), **{f"{ID_PARAMETER}{row}": row_id for row, row_id in enumerate(ids)}}
    filled = list(params)
    for slot, row_id in zip(inserting.id_slots, ids, strict=True):
        filled.insert(slot, row_id)
    return filled
