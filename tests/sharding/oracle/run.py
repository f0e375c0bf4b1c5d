"""Plays worlds: fills both sides, asks both, counts; a mismatch is reduced to the fewest rows. Edge."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from tenfold.errors import TenfoldError
from tests.sharding.oracle import schema
from tests.sharding.oracle.asking import check
from tests.sharding.oracle.asks import Ask, written
from tests.sharding.oracle.data import World, world_of
from tests.sharding.oracle.draw import Draw, Shape
from tests.sharding.oracle.shapes import shapes_of
from tests.sharding.oracle.sides import Pair
from tests.sharding.oracle.tally import Tally

# A deck holds every shape once; a world plays one of so many parts of it. So shapes are drawn uniformly.
PARTS = 3
# How many are asked a second time with other values: their plan is known by then.
AGAIN = 0.25
REDUCE_S = 5.0


@dataclass(frozen=True)
class Case:
    """What it takes to ask one statement again."""

    seed: str
    place: int
    ask: Ask
    world: World


def statements_of(seed: str, number: int, engine: str, world: World) -> list[Ask]:
    """The statements of a world: its part of a shuffled deck of all shapes. `seed` decides all but which shapes."""
    deck = shapes_of(engine)
    Random(f"{engine}:deck {number // PARTS}").shuffle(deck)
    found = []
    for shape in deck[number % PARTS :: PARTS]:
        start = f"{seed}:{engine}:{number}:{shape.name}"
        chance = Random(start)
        for values in range(2 if chance.random() < AGAIN else 1):
            ask = shape.make(Draw(Random(start), engine, world, Random(f"{start}:{values}")))
            routes = ["execute", "execute", "async", "dbapi", *(["stream"] if ask.reads else [])]
            found.append(replace(ask, shape=shape.name, route=chance.choice(routes)))
    return found


def ask_each(pair: Pair, world: World, seed: str, shapes: Sequence[Shape], tally: Tally) -> None:
    """Fill both sides and ask one statement of each of these shapes."""
    pair.fill(world)
    for place, shape in enumerate(shapes):
        start = f"{seed}:{pair.engine}:{place}"
        draw = Draw(Random(start), pair.engine, world, Random(f"{start}:0"))
        ask = replace(shape.make(draw), shape=shape.name, route=Random(start).choice(["execute", "stream", "async"]))
        tally.asked[shape.name] += 1
        wrong = check(pair, ask, tally)
        if wrong:
            tally.wrong[shape.name] += 1
            tally.mismatches.append(told(pair.engine, Case(seed, place, ask, {}), wrong))


def play(pair: Pair, seed: str, number: int, tally: Tally, only: str = "") -> int:
    """Play one world; → how many statements were asked. only: how the names of the shapes begin."""
    world = world_of(Random(f"{seed}:{pair.engine}:{number}"), pair.engine)
    pair.fill(world)
    asked = 0
    for place, ask in enumerate(statements_of(seed, number, pair.engine, world)):
        if not ask.shape.startswith(only):
            continue
        asked += 1
        tally.asked[ask.shape] += 1
        wrong = check(pair, ask, tally)
        if wrong:
            tally.wrong[ask.shape] += 1
            if tally.wrong[ask.shape] <= 2:
                case = Case(f"{seed} world {number}", place, ask, _rows_before(pair, seed, number, place))
                tally.mismatches.append(told(pair.engine, *reduced(pair, case, wrong)))
            pair.fill(world)  # whatever it left behind
    for table in schema.TABLES:
        if not pair.alike(table):
            tally.wrong["contents"] += 1
            tally.mismatches.append(f"seed {seed} world {number}: {table} differs at the end")
    return asked


# --- a mismatch, made small ---


def _rows_before(pair: Pair, seed: str, number: int, place: int) -> World:
    """What the tables held when a statement was asked: the plain database goes the same way again."""
    world = world_of(Random(f"{seed}:{pair.engine}:{number}"), pair.engine)
    pair.fill(world)
    for ask in statements_of(seed, number, pair.engine, world)[:place]:
        if not ask.reads:
            check(pair, ask)
    return {table: pair.one.contents(table) for table in schema.TABLES}


def reduced(pair: Pair, case: Case, wrong: str, limit_s: float = REDUCE_S) -> tuple[Case, str]:
    """The same mismatch with as few rows as can be found in a little time, and what is wrong then."""
    until = time.monotonic() + limit_s
    world = {table: list(rows) for table, rows in case.world.items()}

    def wrong_with(rows: World) -> str:
        try:
            pair.fill(rows)
        except TenfoldError:
            return ""
        return check(pair, case.ask)

    if not wrong_with(world):
        return case, wrong + "\n  (not again: it hangs on what was asked before)"
    for table, share in [*((table, 1) for table in schema.TABLES), *((table, 2) for table in schema.TABLES)]:
        size = -(-len(world[table]) // share)
        while size and time.monotonic() < until:
            for start in range(0, len(world[table]), size):
                fewer = {**world, table: world[table][:start] + world[table][start + size :]}
                found = wrong_with(fewer) if time.monotonic() < until else ""
                if found:
                    world, wrong = fewer, found
                    break
            else:
                size = size // 2 if share > 1 else 0
    return replace(case, world=world), wrong


def told(engine: str, case: Case, wrong: str) -> str:
    """A mismatch as a reader needs it: where it came from, what was asked, of which rows, what was wrong."""
    sql, params = ("", ()) if case.ask.script else case.ask.placed(engine, case.ask.style)
    lines = [f"--- {case.ask.shape!r} on {engine}, seed {case.seed}, statement {case.place}"]
    lines += [f"sql      {case.ask.text(engine)}", f"sent     {sql}  {params!r}"]
    for table, rows in case.world.items():
        if rows:
            shown = ", ".join(f"({', '.join(written(item, engine) for item in row)})" for row in rows[:12])
            lines.append(f"rows     INSERT INTO {table} VALUES {shown}{' …' if len(rows) > 12 else ''}")
    lines.append(f"wrong    {wrong}")
    return "\n".join(lines)
