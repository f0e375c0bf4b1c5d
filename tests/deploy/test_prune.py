"""A deploy cleans up old backups as it does old releases. Edge."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pyrage
import pytest

from tenfold.deploy.backup.manifest import NAME, Manifest
from tenfold.deploy.fleet import Fleet
from tenfold.deploy.making import Making
from tenfold.deploy.order import Kind, Order
from tenfold.deploy.plan import planned
from tenfold.topology.load import load
from tenfold.topology.model import Topology
from tests.deploy.places import FILE

ORDER = Order(Kind.DEPLOY, "r2", "c2", "main", {f"backend_{n}": "r1" for n in range(3)})


@pytest.fixture
def topology(tmp_path: Path) -> Topology:
    """A platform that keeps its newest backup only."""
    recipient = pyrage.x25519.Identity.generate().to_public()
    keeps = "\n".join(f"keep_{what} = 0" for what in ("days", "weeks", "months"))
    (tmp_path / "tenfold.toml").write_text(f'{FILE}[backup]\nrecipient = "{recipient}"\n{keeps}\n')
    return load(tmp_path / "tenfold.toml")


def pruned(topology: Topology, kind: Kind = Kind.DEPLOY) -> tuple[bool, str] | None:
    """(whether there was nothing to do, what was told); None: it is not in the plan."""
    order = Order(kind, ORDER.release, ORDER.commit, ORDER.ref, ORDER.before)
    items = [item for phase in planned(topology, order) if phase.after for item in phase.items]
    item = next((one for one in items if one.name == "backups.prune"), None)
    if item is None:
        return None
    step = Making(Fleet(topology), order)(item)

    async def work() -> bool:
        done = await step.check()
        if not done:
            await step.apply()
        return done

    return asyncio.run(work()), getattr(step, "told", "")


def test_a_good_deploy_removes_the_backups_that_the_file_does_not_keep(topology: Topology) -> None:
    shelf = Path(topology.root) / "var/backups"
    for day in range(1, 4):
        name = f"2026010{day}T000000Z-aaaa"
        made = Manifest(name, "shop", None, "", "sqlite", 1, 1, "0", day * 86_400.0, 1.0, 0.0, True, "age1", {}, {})
        (shelf / name).mkdir(parents=True)
        (shelf / name / NAME).write_bytes(made.text())
    (shelf / "20260104T000000Z-bbbb").mkdir()
    (shelf / "20260104T000000Z-bbbb" / NAME).write_text("cut off")
    assert pruned(topology) == (
        False, "2 removed, 1 stay; damaged, and left alone: 20260104T000000Z-bbbb"
    )  # fmt: skip
    assert sorted(path.name[:8] for path in shelf.iterdir() if path.is_dir()) == ["20260103", "20260104"]


def test_where_no_backups_lie_none_are_looked_for_and_a_roll_back_removes_none(topology: Topology) -> None:
    assert pruned(topology) == (True, "")
    assert not (Path(topology.root) / "var/backups").exists()
    assert pruned(topology, Kind.ROLLBACK) is None
