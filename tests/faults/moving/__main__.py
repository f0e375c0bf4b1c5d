"""Repeats one run: python -m tests.faults.moving SEED [sqlite|mariadb] [lease_s]. Edge."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.faults.moving.plan import Plan, plan, without_move
from tests.faults.moving.run import Run, prepared
from tests.faults.moving.shards import SERVER
from tests.mariadb import Server, fresh_databases, pattern, server


def main() -> int:
    """Run it, say what went on and what is wrong, keep the directory if something is."""
    seed, engine = sys.argv[1], (sys.argv[2:] or ["sqlite"])[0]
    lease_s = float((sys.argv[3:] or ["0.3"])[0])
    chosen = without_move(1, engine) if seed == "none" else plan(int(seed), engine, lease_s)
    with ExitStack() as stack:
        servers: list[Server] = []
        if engine == "mariadb":
            data = pattern(Path(tempfile.gettempdir()) / "tenfold-moving")
            servers = [stack.enter_context(server(data, SERVER)) for _ in range(3)]
        return _repeat(chosen, servers)


def _repeat(chosen: Plan, servers: list[Server]) -> int:
    print(chosen)
    root = Path(tempfile.mkdtemp(prefix="tenfold-test-", dir="/dev/shm")) / "site"
    with fresh_databases(servers, 3 if servers else 0) as databases:
        began_s = time.monotonic()
        run = Run(chosen, prepared(root, chosen, databases), servers)
        made_s = time.monotonic()
        wrong = run.verdict()
    print("\n".join(run.told))
    print(f"made in {made_s - began_s:.1f} s, run in {time.monotonic() - made_s:.1f} s; logs in {root}")
    print("\n".join(wrong) or "nothing is wrong")
    if not wrong:
        shutil.rmtree(root.parent)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
