"""The life of a move, as a table. Pure.

Up to FOLLOWING the target holds copies that nobody reads: "cancel" deletes them. With the first bucket
that is cut over, the target takes writes which the source never sees: from then on the way back is
"undo", which carries them home. CLEANING deletes what lies where it does not belong any more, whichever
way the move ended, and can be run any number of times.
"""

from __future__ import annotations

from enum import StrEnum

from tenfold.errors import MoveError


class Phase(StrEnum):
    """What a move is doing, as the catalog records it."""

    ANNOUNCED = "announced"
    CAPTURING = "capturing"
    COPYING = "copying"
    FOLLOWING = "following"
    CUTTING = "cutting"
    SERVING = "serving"
    RETURNING = "returning"
    CLEANING = "cleaning"
    DONE = "done"


P = Phase
NEXT: dict[Phase, dict[str, Phase]] = {
    P.ANNOUNCED: {"leased": P.CAPTURING, "cancel": P.CLEANING},
    P.CAPTURING: {"captured": P.COPYING, "cancel": P.CLEANING},
    P.COPYING: {"copied": P.FOLLOWING, "cancel": P.CLEANING},
    P.FOLLOWING: {"followed": P.CUTTING, "cancel": P.CLEANING},
    # Bucket by bucket; one may be served by the target while the next is still the source's.
    P.CUTTING: {"cut_over": P.SERVING, "undo": P.RETURNING},
    P.SERVING: {"undo": P.RETURNING, "finish": P.CLEANING},
    P.RETURNING: {"returned": P.CLEANING},
    P.CLEANING: {"cleaned": P.DONE},
    P.DONE: {},
}


def after(phase: Phase, event: str) -> Phase:
    """The phase that `event` leads to. Raises MoveError where it is not one for this phase."""
    try:
        return NEXT[phase][event]
    except KeyError:
        commands = ["resume"] * bool(NEXT[phase]) + [name for name in NEXT[phase] if name in COMMANDS]
        allowed = ", ".join(f"`{name}`" for name in commands) or "nothing: it has ended"
        raise MoveError(f"a move that is {phase} cannot {event}", hint=f"what it can is {allowed}") from None


COMMANDS = frozenset({"cancel", "undo", "finish"})
"""Events that a person asks for; the others are the mover's own."""
