"""Where processes of a run come from: one that has the modules, and has never opened a shard. Edge."""

from __future__ import annotations

import multiprocessing

FROM_CLEAN = multiprocessing.get_context("forkserver")
"""Not a fork of the tests: SQLite's locks do not survive a fork, and the child's library believes that it has them."""
FROM_CLEAN.set_forkserver_preload(
    ["__main__", "numpy", "tenfold.dbapi", "tenfold.sharding.engine.async_database", "tenfold.sharding.moves.mover",
     "tests.faults.moving.router", "tests.faults.moving.mover"]
)  # fmt: skip
