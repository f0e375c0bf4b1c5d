"""Runs steps on threads or under asyncio, and sees that nothing is in use after them. Edge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tenfold.sharding.engine import async_database, database
from tenfold.sharding.poolrules import Counters
from tenfold.sharding.ports import Observer, Steps

Pools = Callable[[], Mapping[str, Counters]]
Run = Callable[[Callable[[], Steps[Any]]], Any]


def in_use(pools: Mapping[str, Counters]) -> int:
    """How many connections are lent."""
    return sum(counted.in_use for counted in pools.values())


def run_by(
    way: str,
    file: Path,
    steps: Callable[[], Steps[Any]],
    observer: Observer | None = None,
    opened: Callable[[Pools], None] = lambda pools: None,
) -> Any:
    """Run steps on a handle of their own. way: "threads" or "tasks"; opened: is given the handle's counters."""
    if way == "threads":
        with database.connect(file, observer=observer) as db:
            opened(db.pools)
            try:
                return db.runner.run(steps())
            finally:
                assert in_use(db.pools()) == 0

    async def main() -> Any:
        async with await async_database.connect_async(file, observer=observer) as db:
            opened(db.pools)
            try:
                return await db.runner.run(steps())
            finally:
                await asyncio.gather(*(pool.ended() for pool in db._pools.values()))
                assert in_use(db.pools()) == 0

    return asyncio.run(main())
