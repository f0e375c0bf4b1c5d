"""One run, drawn from its seed: what moves, who writes and reads, and what is killed, cut or paused when. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import lru_cache

from tenfold.sharding.buckets import first_fill
from tenfold.sharding.keys import BUCKETS, KeyType, bucket_of

SHARDS = ("shard_0", "shard_1", "shard_2")
STEPS = (
    "begin", "token.draw", "token.shards", "announced.leases", "phase.leased", "capture.tables", "capture.fences",
    "capture.trigger", "phase.captured", "copy.keys", "copy.rows", "copy.end", "phase.copied", "follow.rows",
    "follow.marks", "phase.followed", "cutover.fence", "cutover.drain", "cutover.compare", "cutover.bump",
    "cutover.moved", "cutover.open", "map.copy", "phase.cut_over", "phase.undo",
    "returning.leases", "return.fences", "phase.returned",
    "phase.finish", "phase.cancel", "clean.leases", "clean.connections", "clean.trigger", "clean.rows",
    "clean.fences", "clean.tables", "phase.cleaned",
)  # fmt: skip
"""Steps of a mover; a test compares them with the sources."""
INTERFACES = ("threads", "tasks", "dbapi")
CANCEL = ("phase.leased", "capture.tables", "capture.trigger", "copy.rows", "phase.copied", "follow.rows",
          "phase.followed")  # fmt: skip
UNTIL_THE_END_S = 1000.0
"""Mended a moment after the move has ended."""
CUTOVER = ("cutover.fence", "cutover.bump", "cutover.moved", "cutover.open")


@dataclass(frozen=True, slots=True)
class Moment:
    """When something happens: the `nth` time that a mover comes to step `name` ("": any step); or after `after_s`."""

    name: str | None = None
    nth: int = 1
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong, to whom, for how long.

    kind  stop, cut (off the catalog) or kill a router; hang or crash a shard; lock or hide the file of one
    """

    when: Moment
    kind: str
    target: int
    for_s: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """The fate of one mover process: killed, or held or stopped for a while, as the next one takes over."""

    when: Moment
    fate: str
    for_s: float


@dataclass(frozen=True)
class Plan:
    """A run.

    goal     finish; undo, once it serves; early: cancel or, in the cutover, undo, at step `turn`; none: nothing moves
    legs     source, target and buckets; a pinned table is BUCKETS itself, for it has no number yet
    writers  interface of each writing router, and how many threads or tasks it has
    """

    seed: int
    engine: str
    lease_s: float
    goal: str
    legs: tuple[tuple[str, str, tuple[int, ...]], ...] = ()
    turn: Moment = Moment()
    dwell_s: float = 0.0
    attempts: tuple[Attempt, ...] = ()
    faults: tuple[Fault, ...] = ()
    writers: tuple[tuple[str, int], ...] = (("threads", 1),)
    readers: int = 1
    busy: tuple[int, ...] = field(default=())

    @property
    def ahead(self) -> float:
        """Every other run compares its rows before their fence is up, however few they are; the rest behind it."""
        return 0.0 if self.seed % 2 else 2.0


def plan(seed: int, engine: str, lease_s: float = 0.3, *, quiet: bool = False) -> Plan:
    """The run of a seed. quiet: without any fault."""
    drawn = random.Random(f"{seed} {engine}")
    goal = drawn.choices(["finish", "undo", "early"], [5, 3, 3])[0]
    legs = _legs(drawn, engine)
    writers = tuple((drawn.choice(INTERFACES), drawn.choice([1, 1, 2])) for _ in range(drawn.choice([2, 2, 3])))
    turn = Moment(drawn.choice(CANCEL), 1)
    if drawn.random() < 0.5:
        turn = Moment(
            drawn.choice(["cutover.fence", "cutover.bump", "cutover.moved", "cutover.open"]), drawn.choice([1, 1, 2])
        )
    return Plan(
        seed, engine, lease_s, goal, legs, turn,
        dwell_s=drawn.uniform(0, 0.25),
        attempts=() if quiet else tuple(_attempt(drawn) for _ in range(drawn.choice([0, 1, 1, 2, 3]))),
        faults=() if quiet else _faults(drawn, engine, lease_s, len(writers)),
        writers=writers,
        readers=drawn.choice([1, 2]),
        busy=tuple(bucket for _, _, buckets in legs for bucket in buckets if bucket < BUCKETS),
    )  # fmt: skip


def without_move(seed: int, engine: str) -> Plan:
    """A run in which nothing moves and nothing breaks."""
    return Plan(
        seed, engine, 0.3, "none", writers=(("threads", 2), ("tasks", 1), ("dbapi", 1)), busy=tuple(range(0, 4096, 256))
    )


def _legs(drawn: random.Random, engine: str) -> tuple[tuple[str, str, tuple[int, ...]], ...]:
    """Legs by what `init` gives three shards: a third of the buckets each, in runs; the pinned table on shard_2."""
    found: list[tuple[str, str, tuple[int, ...]]] = []
    kinds = (
        ("grow", "grow", "swap", "one", "pinned") if engine == "sqlite" else ("grow", "one", "one", "swap", "pinned")
    )
    kind, count = drawn.choice(kinds), drawn.choice([3, 6, 6, 16])
    if kind == "grow":
        found = [(source, "shard_2", _some(drawn, source, count)) for source in SHARDS[:2]]
    elif kind == "swap":
        found = [
            ("shard_0", "shard_1", _some(drawn, "shard_0", count)),
            ("shard_1", "shard_2", _some(drawn, "shard_1", count)),
        ]
    elif kind == "one":
        source, target = drawn.sample(SHARDS, 2)
        found = [(source, target, _some(drawn, source, count))]
    if kind == "pinned" or drawn.random() < 0.2:
        found.append(("shard_2", drawn.choice(SHARDS[:2]), (BUCKETS,)))
    return tuple(found)


def _some(drawn: random.Random, shard: str, count: int) -> tuple[int, ...]:
    return tuple(sorted(drawn.sample(owned_at_first(shard), count)))


@lru_cache(maxsize=3)
def owned_at_first(shard: str) -> tuple[int, ...]:
    """The buckets that a new platform of three shards gives to one."""
    owners = first_fill(dict.fromkeys(SHARDS, 1))
    return tuple(bucket for bucket in range(BUCKETS) if owners[bucket] == shard)


def _moment(drawn: random.Random) -> Moment:
    how = drawn.random()
    if how < 0.55:
        return Moment(drawn.choice(STEPS), drawn.choice([1, 1, 1, 2, 3]))
    if how < 0.8:
        return Moment("", drawn.randint(1, 90))
    return Moment(after_s=drawn.uniform(0.0, 2.5))


def _attempt(drawn: random.Random) -> Attempt:
    fate = drawn.choice(["kill", "kill", "kill", "hold", "stop"])
    return Attempt(_moment(drawn), fate, drawn.choice([0.05, 0.3, 0.8, 1.5]))


def _faults(drawn: random.Random, engine: str, lease_s: float, writers: int) -> tuple[Fault, ...]:
    return tuple(_fault(drawn, engine, lease_s, writers) for _ in range(drawn.choice([0, 1, 2, 3])))


def _fault(drawn: random.Random, engine: str, lease_s: float, writers: int) -> Fault:
    when = _moment(drawn)
    kinds = ["stop", "stop", "cut", "cut", "cut", "kill"]
    kinds += ["lock", "lock", "hide"] if engine == "sqlite" else ["hang", "hang", "crash"]
    kind = drawn.choice(kinds)
    if kind in ("stop", "cut"):
        router = drawn.choice([writers, drawn.randrange(writers)])  # the last one reads
        if drawn.random() < 0.5:  # from before it can know of the move until buckets are elsewhere, or to the end
            return Fault(Moment("begin"), kind, router, drawn.uniform(1.0, 3.5) if kind == "stop" else UNTIL_THE_END_S)
        return Fault(when, kind, router, lease_s * drawn.uniform(1.1, 2.0) + drawn.choice([0.0, 0.2, 0.6]))
    if kind == "kill":
        return Fault(when, kind, drawn.randrange(writers), 0.0)
    return Fault(when, kind, drawn.randrange(3), drawn.uniform(0.05, 0.9))


@lru_cache(maxsize=1)
def _users_by_bucket() -> dict[int, tuple[int, ...]]:
    found: dict[int, list[int]] = {}
    for user in range(1, 60_000):
        found.setdefault(bucket_of(user, KeyType.INTEGER), []).append(user)
    return {bucket: tuple(users) for bucket, users in found.items()}


def users_in(buckets: tuple[int, ...], count: int, drawn: random.Random) -> list[int]:
    """Distinct user ids, spread over some buckets."""
    by_bucket = _users_by_bucket()
    pool = [user for bucket in buckets for user in by_bucket.get(bucket, ())[:8]]
    return drawn.sample(pool, min(count, len(pool)))
