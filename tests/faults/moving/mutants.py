"""Routers with a rule taken out, to see that the runs would notice. Edge."""

from __future__ import annotations

from tenfold.sharding.lease import Lease
from tenfold.sharding.ports import Steps
from tenfold.sharding.vetting import Vetting
from tenfold.sharding.view import Catalog


def none() -> None:
    """A router as it is."""


def _believed(*_: object, **__: object) -> Steps[None]:
    return
    yield


def never_asks_fences() -> None:
    """Reads, zero-row writes and commits are believed."""
    Vetting._vet = _believed  # type: ignore[method-assign]


def believes_reads() -> None:
    """What was read is believed, wherever it was."""
    Vetting._check_reads = _believed  # type: ignore[method-assign]


def trusts_for_ever() -> None:
    """A lease never runs out."""
    Lease.holds = lambda *_: True  # type: ignore[method-assign]


def hides_nothing() -> None:
    """Scatters see copies and remains."""
    Catalog.hidden_on = Catalog.foreign_to = lambda *_: frozenset()  # type: ignore[method-assign]


RULES = (never_asks_fences, believes_reads, trusts_for_ever, hides_nothing)
"""Not among them: zero-row writes that are believed. A router meets a trigger first, which leads it on, so that one
whose first write to a bucket comes after the clean-up is rare; tests/sharding/engine/test_moving_buckets.py does it."""
