"""Which shards a plan touches, as far as its parameters are known. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tenfold.sharding.explain import source_said, value_said
from tenfold.sharding.keys import KeyType, bucket_of
from tenfold.sharding.placing import Placing
from tenfold.sharding.plan import AnyShard, ById, ByKey, ByKeys, ByUnique, Plan, Route
from tenfold.sharding.ports import Params, Steps
from tenfold.sharding.statement import Const, Source, value


@dataclass(frozen=True, slots=True)
class Touch:
    """One key of a statement. key: as `explain` writes it; bucket and shard None: not known before it runs;
    nowhere: it is NULL, which no row has."""

    key: str
    bucket: int | None = None
    shard: str | None = None
    nowhere: bool = False


@dataclass(slots=True)
class Touched:
    """What a plan touches.

    shards   in the file's order, as far as known
    keys     what decides them
    certain  whether these are all of them
    any      every shard has the answer, and one of them is asked
    whole    the plan is for several shards, and under these parameters one has it all: it gets the statement as it
             was written
    """

    shards: list[str] = field(default_factory=list)
    keys: list[Touch] = field(default_factory=list)
    certain: bool = True
    any: bool = False
    whole: bool = False


def touched(plan: Plan, params: Params | None, placing: Placing) -> Steps[Touched]:
    """Where the plan goes; `params` None: only what the text itself tells. A reserved value is looked up,
    nothing else is asked. Raises ShardKeyError for a key that its column cannot hold, CrossShardError for an id that
    leads nowhere, StatementError for a parameter that was not passed."""
    found = Touched(any=isinstance(plan.route, AnyShard))
    if plan.inserting:
        _inserted(plan, params, placing, found)
        return _finished(found, placing)
    known = _all_known(plan.route, params)
    if isinstance(plan.route, ByKey | ByKeys):
        found.keys += [_key(source, plan.route.key_type, params, placing) for source in plan.route.sources]
    if known:
        place = yield from placing.place(plan, params or (), None)
        found.shards += place.shards
        found.whole = len(place.shards) == 1 and bool(plan.merged or plan.staged)
        if isinstance(plan.route, ById | ByUnique):
            said = _named(plan.route, _said(plan.route.source, params))
            said += " (nobody holds it)" if isinstance(plan.route, ByUnique) and place.anywhere else ""
            shard = place.shards[0] if place.bucket is not None else None
            found.keys += [Touch(said, place.bucket, shard)] if shard else []
    elif isinstance(plan.route, ById | ByUnique):
        found.keys.append(Touch(_named(plan.route, source_said(plan.route.source))))
    if plan.staged and not found.whole:
        _staged(plan, params, placing, found)
    return _finished(found, placing)


def _inserted(plan: Plan, params: Params | None, placing: Placing, found: Touched) -> None:
    assert plan.inserting is not None  # noqa: S101
    kind, copying = plan.inserting.table.key_type, plan.inserting.copying
    keys = [row.key for row in plan.inserting.rows]
    if copying and copying.key is None:
        found.shards += placing.layout.shards
    elif copying:
        keys.append(copying.key)
    for source in (*keys, *plan.inserting.others):
        if source is None or (_is_known(source, params) and _value(source, params) is None):
            found.keys.append(Touch("the id that Tenfold draws"))
        else:
            found.keys.append(_key(source, kind, params, placing))


def _staged(plan: Plan, params: Params | None, placing: Placing, found: Touched) -> None:
    """The shards that the parts come from, and the one where the rest is done."""
    assert plan.staged is not None  # noqa: S101
    for part in plan.staged.parts:
        if isinstance(part.where, ByKey | ByKeys):
            found.keys += [_key(source, part.where.key_type, params, placing) for source in part.where.sources]
        if _all_known(part.where, params):
            found.shards += placing.of_route(part.where, params or ())
    found.shards += [plan.staged.home] if plan.staged.home else []


def _finished(found: Touched, placing: Placing) -> Touched:
    found.keys = list(dict.fromkeys(found.keys))
    found.certain = not found.any and all(touch.shard or touch.nowhere for touch in found.keys)
    found.shards += [touch.shard for touch in found.keys if touch.shard]
    found.shards = [shard for shard in placing.layout.shards if shard in found.shards]
    return found


def _sources(route: Route) -> Sequence[Source]:
    if isinstance(route, ByKey | ByKeys):
        return route.sources
    return (route.source,) if isinstance(route, ById | ByUnique) else ()


def _is_known(source: Source, params: Params | None) -> bool:
    return params is not None or isinstance(source, Const)


def _all_known(route: Route, params: Params | None) -> bool:
    return all(_is_known(source, params) for source in _sources(route))


def _value(source: Source, params: Params | None) -> object:
    return value(source, params or ())


def _key(source: Source, kind: KeyType, params: Params | None, placing: Placing) -> Touch:
    if not _is_known(source, params):
        return Touch(source_said(source))
    key = _value(source, params)
    if key is None:
        return Touch(_said(source, params), nowhere=True)
    bucket = bucket_of(key, kind)
    return Touch(_said(source, params), bucket, placing.shard_of(bucket))


def _said(source: Source, params: Params | None) -> str:
    said = source_said(source)
    return said if isinstance(source, Const) else f"{said} = {value_said(_value(source, params))}"


def _named(route: ById | ByUnique, said: str) -> str:
    if isinstance(route, ByUnique):
        return f"whoever holds {route.table.name}.{route.column}: {said}"
    return f"the bucket in the id {said}"


def sentences(found: Touched, shards: Sequence[str]) -> Iterator[str]:
    """For people: which shards, then which key is where. shards: all of the platform's."""
    unknown = [touch.key for touch in found.keys if not touch.shard and not touch.nowhere]
    if found.any:
        yield "goes to any shard: each has the answer"
    elif unknown:
        also = f", and to {', '.join(found.shards)}" if found.shards else ""
        yield f"goes to the shard of {', '.join(unknown)}{also}"
    elif found.shards:
        every = len(found.shards) == len(shards) > 1
        yield f"goes to {'all shards: ' if every else ''}{', '.join(found.shards)}"
    for touch in found.keys:
        if touch.bucket is not None:
            yield f"  {touch.key}: bucket {touch.bucket}, {touch.shard}"
        elif touch.nowhere:
            yield f"  {touch.key}: no row has it"
    if found.whole and len(shards) > 1:
        yield "one shard has all of it, and answers the statement as it is written"
