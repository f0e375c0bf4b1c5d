"""What the oracle asks besides its worlds: many rows, many readers at once, schemas that change. Edge."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random

from tests.sharding.oracle import core_shapes
from tests.sharding.oracle.asking import judged
from tests.sharding.oracle.asks import Ask
from tests.sharding.oracle.data import large_world, world_of
from tests.sharding.oracle.draw import CORE
from tests.sharding.oracle.run import ask_each, statements_of
from tests.sharding.oracle.shapes import BY_NAME, shapes_of
from tests.sharding.oracle.sides import Pair, Said, answered, classed
from tests.sharding.oracle.tally import Tally

# Their work grows with the rows, not with the square of them.
LARGE = [
    *(shape.name for shape in core_shapes.SHAPES if shape.part in list(CORE)[1:3]),
    "join on the key", "left join on the key", "join with a reference table", "UNION ALL", "UNION", "sub-query in FROM",
    "EXISTS of the same key", "IN a sub-query of the same key", "join by text keys",
    "join by text, key to other column",
    "window within the key", "window over all rows", "INTERSECT", "EXCEPT", "ordered by an expression",
    "texts put together in an order", "CTE used twice", "UNION grouped from outside",
    "distinct text that ignores case",
    "update by any condition", "update with a sub-query of the key", "insert of what is read, on all shards",
    "delete with a reference table", "many rows of parameters, changed",
]  # fmt: skip


def ask_large(pair: Pair, seed: int) -> None:
    """Tables of thousands of rows."""
    tally = Tally()
    world = large_world(Random(f"{seed} large"), pair.engine)
    ask_each(pair, world, f"{seed} large", [BY_NAME[name] for name in LARGE], tally)
    assert not tally.mismatches, "\n".join(tally.mismatches)
    assert not tally.core_refused() and sum(tally.refused.values()) == 0, list(tally.why)


def ask_made_up(pair: Pair, seed: int, worlds: int) -> None:
    """SELECTs that are made up at random; most of them make no sense, so there must be many."""
    tally = Tally()
    made_up = [shape for shape in shapes_of(pair.engine) if shape.name.startswith("made up")] * 8
    for number in range(worlds):
        start = f"{seed} made up {number}"
        ask_each(pair, world_of(Random(start), pair.engine), start, made_up, tally)
    assert not tally.mismatches, "\n".join(tally.mismatches)
    asked = sum(tally.asked.values())
    assert asked - sum(tally.refused.values()) - sum(tally.failed.values()) > asked / 4


def ask_at_once(pair: Pair, seed: int, worlds: int, *, threads: int = 4) -> None:
    """Reads by several threads, and by several tasks: no one gets rows of another's."""
    for number in range(worlds):
        world = world_of(Random(f"{seed} at once {number}"), pair.engine)
        pair.fill(world)
        asked = [ask for ask in statements_of(f"{seed} at once", number, pair.engine, world) if ask.reads]
        with ThreadPoolExecutor(threads) as pool:
            for ask, said in zip(asked, pool.map(pair.ask_many, [_plain(ask) for ask in asked]), strict=True):
                _expect(pair, ask, said)
        for ask, said in zip(asked, pair.loop.run(_tasks(pair, asked)), strict=True):
            _expect(pair, ask, said)


def _plain(ask: Ask) -> Ask:
    # The other handles are for one thread.
    return ask if ask.route == "stream" else Ask(ask.sql, ask.values, ask.style)


async def _tasks(pair: Pair, asked: Sequence[Ask]) -> list[Said]:
    async def one(ask: Ask) -> Said:
        try:
            return answered(await pair.later.execute(*ask.placed(pair.engine, ask.style)))
        except Exception as error:
            return classed(error)

    return await asyncio.gather(*(one(ask) for ask in asked))


def _expect(pair: Pair, ask: Ask, said: Said) -> None:
    wrong = judged(pair, ask, said)
    assert not wrong, f"{ask.text(pair.engine)}\n{wrong}"


def ask_after_changes_of_the_schema(pair: Pair) -> None:
    """What was planned for the old tables is not used for the new ones."""
    world = world_of(Random("schema 3"), pair.engine)
    pair.fill(world)
    reads = [
        Ask("SELECT * FROM notes"),
        Ask("SELECT n.*, p.id FROM notes n JOIN posts p ON p.author = n.user_id"),
        Ask("SELECT * FROM notes n JOIN users u ON u.score = n.stars"),
        Ask("SELECT stars, COUNT(*) FROM notes GROUP BY stars"),
        Ask("SELECT body, stars FROM notes ORDER BY body, stars"),
    ]
    changes = (
        "ALTER TABLE notes ADD COLUMN extra INTEGER",
        "UPDATE notes SET extra = stars + 1",
        "INSERT INTO notes VALUES (3, 'new', 1, 7)",
        "ALTER TABLE notes DROP COLUMN extra",
    )
    for change in ("", *changes):
        if change:
            pair.many.execute(change)
            pair.one.run(change)
        for ask in reads:
            for route in ("execute", "stream", "async", "dbapi"):
                _expect(pair, ask, pair.ask_many(Ask(ask.sql, route=route)))
