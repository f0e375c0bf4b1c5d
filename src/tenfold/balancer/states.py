"""What is wanted of each backend, and which change of it is allowed. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from enum import StrEnum

from tenfold.errors import BalancerError


class Wanted(StrEnum):
    """What the operator wants of a backend."""

    READY = "ready"  # takes its share
    DRAIN = "drain"  # no new sessions; clients that are bound to it stay until they end
    DOWN = "down"  # nothing at all: its clients move to another


States = Mapping[str, Wanted]
"""By backend; one that is not named is ready."""

ALL_READY: States = {}


def of(states: States, backend: str) -> Wanted:
    """What is wanted of one backend."""
    return states.get(backend, Wanted.READY)


def changed(states: States, backends: Sequence[str], backend: str, wanted: Wanted) -> dict[str, Wanted]:
    """The states once `backend` is `wanted`, without those that are ready.

    backends  all that the file has, in its order
    Raises BalancerError for a backend that the file does not have, and when none would be left that takes new clients.
    """
    if backend not in backends:
        near = difflib.get_close_matches(backend, backends, n=1)
        raise BalancerError(
            f"there is no backend {backend!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
            hint="one of: " + " ".join(backends),
        )
    now = {**states, backend: wanted}
    if wanted is not Wanted.READY and all(of(now, name) is not Wanted.READY for name in backends):
        others = [name for name in backends if name != backend]
        raise BalancerError(
            f"{backend} is the only backend that takes new clients; without it every one would get 502",
            hint=f"tenfold balancer ready {others[0]}, then try again" if others else "add a backend to app.backends",
        )
    return {name: of(now, name) for name in backends if of(now, name) is not Wanted.READY}


def kept(states: Mapping[str, object], backends: Sequence[str]) -> dict[str, Wanted]:
    """What of recorded states still holds for `backends`: unknown names and words are dropped.

    Where no backend would be ready, all are: the file may have lost those that were, and a platform that
    answers is what its operator wants first.
    """
    words = set(Wanted)
    found = {name: Wanted(str(states[name])) for name in backends if str(states.get(name)) in words}
    found = {name: wanted for name, wanted in found.items() if wanted is not Wanted.READY}
    return found if len(found) < len(backends) else {}
