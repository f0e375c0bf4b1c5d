"""Routers of the release that first had leases, from a copy of its code, beside the movers of today. Edge.

`tests/fixtures/router_of_schema_2.tar.xz` holds what a router consists of, as it was at the first commit whose fault
runs passed: `tenfold` without what moves rows, or serves. It is never made anew; a change of the catalog's tables that
such a router cannot bear needs another schema_version, and a copy of its own.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
FIXTURE = ROOT / "tests" / "fixtures" / "router_of_schema_2.tar.xz"


class FrozenRouter:
    """As much of a multiprocessing.Process as a run needs."""

    def __init__(self, root: Path, args: tuple[Any, ...]) -> None:
        code = root / "frozen"
        if not code.exists():
            with tarfile.open(FIXTURE) as archive:
                archive.extractall(code, filter="data")
        order = root / "frozen.args"
        order.write_bytes(pickle.dumps(args))
        path = os.pathsep.join([str(code), str(ROOT)])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.moving.frozen", str(order), str(code)],
            env={**os.environ, "PYTHONPATH": path}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        self.pid = self._process.pid

    @property
    def exitcode(self) -> int | None:
        return self._process.poll()

    def join(self, timeout_s: float) -> None:
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return

    def kill(self) -> None:
        self._process.kill()


def main() -> None:
    """Be a router with writers; the arguments are those of `router.writing`."""
    import tenfold
    from tests.faults.moving.router import writing

    assert Path(tenfold.__file__).is_relative_to(sys.argv[2]), "the code of today was imported"
    writing(*pickle.loads(Path(sys.argv[1]).read_bytes()))  # noqa: S301  # our own, of this very run


if __name__ == "__main__":
    main()
