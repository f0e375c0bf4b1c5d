"""Where a statement goes, by what binds the tables that it names. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tenfold.errors import RoutingError, ShardKeyError
from tenfold.sharding.constraints import Use
from tenfold.sharding.plan import ById, ByKey, ByKeys, ByUnique, Scatter
from tenfold.sharding.statement import Const, Source


def bound_route(grouped: Sequence[Use]) -> ByKey | None:
    """The shard of the keys to which all uses of groups' tables are bound; None where one is not.

    Raises ShardKeyError for a key that is NULL.
    """
    first = grouped[0].table
    if first is None or not all(use.bound for use in grouped):
        return None
    sources = tuple(dict.fromkeys(item for use in grouped for item in use.bound))
    if Const(None) in sources:
        raise ShardKeyError("the shard key is NULL", hint="no row has it: NULL belongs to no shard")
    return ByKey(sources, first.key_type)


def column_route(use: Use, *, scatters: bool) -> ById | ByUnique | None:
    """One shard by a reserved value or by an id of Tenfold's. Only where no other table of a group is named.

    scatters  whether the statement may go to all shards where the id is not one of Tenfold's
    """
    table = use.table
    if table is None:
        return None
    for column, sources in use.equal.items():
        if column in table.reserved:
            return ByUnique(_not_null(sources[0], column), table, column)
    if table.id_column and not table.id_is_key and table.id_column in use.equal:
        return ById(_not_null(use.equal[table.id_column][0], table.id_column), table, scatters)
    return None


def _not_null(item: Source, column: str) -> Source:
    if item == Const(None):
        raise RoutingError(f"{column} = NULL is true for no row", hint=f"write {column} IS NULL")
    return item


def listed_route(use: Use) -> ByKeys | Scatter:
    """The shards of the keys among which the use's own must be, else all."""
    lists = use.member.get(use.table.key) if use.table else None
    return ByKeys(tuple(lists[0]), use.table.key_type) if use.table and lists else Scatter()
