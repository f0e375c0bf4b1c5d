"""An initialisation stopped after any of its steps is finished by the next one, as if nothing had been. Edge."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tenfold.errors import CatalogError, TenfoldError
from tenfold.sharding.adopt import adopt
from tenfold.sharding.engine.router import one_off_runner
from tenfold.sharding.ports import Steps
from tests.faults.conftest import LONG
from tests.sharding.engine.sites import SCHEMA, Site

T = TypeVar("T")
TABLES = ("tf_shard", "tf_bucket", "tf_reservation", "tf_verdict", "tf_catalog", "tf_member", "tf_table", "tf_object")


class Killed(BaseException):
    """Stands for the end of the process: nothing above may handle it."""


def stopped(steps: Steps[T], after: int) -> Steps[T]:
    """The first effects of `steps`, then the end."""
    try:
        effect = next(steps)
        for _ in range(after):
            try:
                answer = yield effect
            except TenfoldError as error:
                effect = steps.throw(error)
            else:
                effect = steps.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise Killed


def state(site: Site) -> dict[str, Any]:
    """All that Tenfold keeps, without what differs by time and chance."""
    found: dict[str, Any] = {}
    for shard in site.shards:
        held = {name for (name,) in site.look(shard, "SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table in (name for name in TABLES if name in held):
            columns = [row[1] for row in site.look(shard, f"PRAGMA table_info({table})")]
            kept = ", ".join(name for name in columns if name not in ("created_s", "at_s"))
            found[f"{shard}.{table}"] = sorted(site.look(shard, f"SELECT {kept} FROM {table}"))
    cluster = dict(found["shard_0.tf_shard"])["cluster"]
    return {
        name: [tuple("C" if item == cluster else item for item in row) for row in rows] for name, rows in found.items()
    }


def lived_in(root: Path) -> Site:
    site = Site(root)
    for statement in SCHEMA[:2]:
        site.look("shard_0", statement)
    rows = ", ".join(f"({number}, 'u{number}@example.org', 'name')" for number in range(1, 21))
    site.look("shard_0", f"INSERT INTO users VALUES {rows}")
    return site


@pytest.mark.timeout(3600 if LONG else 60)
def test_an_initialisation_killed_after_any_step_is_finished_by_the_next(memory: Path) -> None:
    undisturbed = lived_in(memory / "undisturbed")
    undisturbed.initialise()
    expected, steps, done = state(undisturbed), 0, False
    while not done:
        site = lived_in(memory / f"killed_{steps}")
        with one_off_runner(site.topology(), mode="rwc") as runner, suppress(Killed):
            runner.run(stopped(adopt(site.topology()), steps))
            done = True
        if not done:
            with pytest.raises(CatalogError):  # half a platform is none
                site.connect()
        site.initialise()
        assert state(site) == expected, f"stopped after {steps} effects"
        with site.connect() as db:
            assert db.execute("SELECT id FROM users WHERE email = 'u7@example.org'").scalar() == 7
        steps += 1 if LONG else 7
    assert steps > 70
