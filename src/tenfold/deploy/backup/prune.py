"""Removes backups that retention does not keep. Edge."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tenfold.deploy.backup.create import trail
from tenfold.deploy.backup.retention import kept
from tenfold.deploy.backup.shelf import SKEW_S, Shelf, held
from tenfold.topology.model import Topology


@dataclass(slots=True)
class Pruned:
    """kept: id → why; removed; busy: not removed, because somebody reads them; damaged: neither counted nor removed."""

    kept: dict[str, list[str]] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    freed_bytes: int = 0


def prune(topology: Topology, *, dry_run: bool = False, now: Callable[[], float] = time.time) -> Pruned:
    """Keep what [backup] says, the newest and the last verified; remove the rest. dry_run: only tell.

    What a wrong clock dated in the future stays, and stands for no other.
    """
    shelf, rules = Shelf(topology), topology.backup
    with shelf.alone():
        backups = shelf.backups()
        late_s = now() + SKEW_S
        past = [one for one in held(backups) if one.made_s <= late_s]
        found = Pruned(kept(past, rules.keep_days, rules.keep_weeks, rules.keep_months))
        found.kept |= {one.id: ["in the future"] for one in held(backups) if one.made_s > late_s}
        found.damaged = [one.id for one in backups if one.manifest is None]
        for one in backups:
            if one.manifest is None or one.id in found.kept:
                continue
            if not dry_run and not shelf.remove(one):
                found.busy.append(one.id)
                continue
            found.removed.append(one.id)
            found.freed_bytes += one.manifest.size
        if not dry_run:
            shelf.sweep()
    if found.removed and not dry_run:
        trail(topology).write("backup prune", removed=found.removed, freed_bytes=found.freed_bytes)
    return found
