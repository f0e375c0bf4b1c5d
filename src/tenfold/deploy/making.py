"""Makes the step of each item of a plan: for whoever goes forward, and for whoever takes back. Edge."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tenfold.deploy import backends, whole
from tenfold.deploy.backup.shelf import last_verified_age_s
from tenfold.deploy.fleet import Fleet
from tenfold.deploy.migrations import File
from tenfold.deploy.order import Order
from tenfold.deploy.plan import Act, Item
from tenfold.deploy.preflight import Inspection, Preflight
from tenfold.deploy.release import STEPS, release_step
from tenfold.deploy.source import Source
from tenfold.deploy.steps import Step

Make = Callable[[Item, Fleet, Order], Step]
_BACKEND: dict[Act, Make] = {
    Act.DRAIN: backends.Drain,
    Act.DOWN: backends.Down,
    Act.SWITCH: backends.Switch,
    Act.HEALTH: backends.Health,
}
_WHOLE: dict[Act, Make] = {
    Act.TABLES: whole.Tables,
    Act.CACHE: whole.Cache,
    Act.PRUNE: whole.Prune,
}
_STARTED: dict[Act, type[backends.Restart] | type[backends.Ready] | type[whole.Verify]] = {
    Act.RESTART: backends.Restart,
    Act.READY: backends.Ready,
    Act.VERIFY: whole.Verify,
}


@dataclass(slots=True)
class Making:
    """Makes steps. files: of migrations, by name; only who goes forward has them."""

    fleet: Fleet
    order: Order
    files: Mapping[str, File] = field(default_factory=dict)
    source: Source | None = None
    _baselines: dict[int, backends.Baseline] = field(default_factory=dict)
    _started: backends.Started = field(default_factory=dict)
    _inspection: Inspection | None = None

    def _backup_age(self) -> float | None:
        return last_verified_age_s(self.fleet.topology, time.time())

    def __call__(self, item: Item) -> Step:
        """The step of one item."""
        if item.act in _STARTED:
            started = _STARTED[item.act](item, self.fleet, self.order)
            started.started = self._started
            return started
        if item.act in _BACKEND:
            return _BACKEND[item.act](item, self.fleet, self.order)
        if item.act in _WHOLE:
            return _WHOLE[item.act](item, self.fleet, self.order)
        if item.act in (Act.MIGRATE, Act.CONTRACT):
            migrate = whole.Migrate(item, self.fleet, self.order)
            migrate.files = self.files
            return migrate
        if item.act is Act.PREFLIGHT:
            if self._inspection is None:
                self._inspection = Inspection(self.fleet, self.order, self.source, self._backup_age)
            return Preflight(item, self.order, self._inspection)
        if item.act in STEPS:
            return release_step(item, self.fleet, self.order, self.source)
        if item.act is Act.BASELINE:
            baseline = backends.Baseline(item, self.fleet, self.order)
            self._baselines[item.backend or 0] = baseline
            return baseline
        if item.act is Act.TIMING:
            timing = backends.Timing(item, self.fleet, self.order)
            before = self._baselines.get(item.backend or 0)
            timing.before_s = before.p95_s if before else None
            return timing
        raise AssertionError(f"no step for {item.act}")
