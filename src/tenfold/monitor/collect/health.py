"""When something that is asked now and then counts as up or down. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

State = Literal["up", "down", "unknown"]

# One lost answer is no illness, two are; a doubt is cleared up quickly.
FALL = 2
# A recovery is believed after a second of good answers; so one who looks each second does not miss the illness.
RISE = 5
INTERVAL_S, DOUBT_INTERVAL_S = 1.0, 0.25


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of one thing.

    state      "unknown" until the first answer, good or bad
    since_s    Unix time of the change to `state`; None while unknown
    in_a_row   answers that speak against `state`, one after the other
    latency_s  of the last good answer; None while down
    reason     why it is down, or may soon be
    """

    state: State = "unknown"
    since_s: float | None = None
    in_a_row: int = 0
    latency_s: float | None = None
    size_bytes: int | None = None
    reason: str | None = None

    @property
    def in_doubt(self) -> bool:
        """Tell whether to ask again soon: the last answer spoke against the state, or there was none."""
        return self.in_a_row > 0 or self.state == "unknown"

    @property
    def next_s(self) -> float:
        """Seconds until it is asked again."""
        return DOUBT_INTERVAL_S if self.in_doubt else INTERVAL_S


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: how long it took, the size of the thing where it has one, or why it is none.

    certain  whether a bad one needs no second: the process is known to have ended
    """

    latency_s: float | None = None
    size_bytes: int | None = None
    error: str | None = None
    certain: bool = False

    @property
    def is_good(self) -> bool:
        return self.error is None


def after(health: Health, answer: Answer, now_s: float, rise: int = RISE, fall: int = FALL) -> Health:
    """What is known after one more answer at Unix time `now_s`."""
    good = answer.is_good
    latest = replace(
        health,
        latency_s=answer.latency_s if good else health.latency_s,
        size_bytes=answer.size_bytes if good else health.size_bytes,
        reason=answer.error,
    )
    state: State = "up" if good else "down"
    if health.state == state:
        return replace(latest, in_a_row=0)
    in_a_row = health.in_a_row + 1
    # The very first answer decides: nobody should look at "unknown" for longer than needed.
    if health.state != "unknown" and not answer.certain and in_a_row < (rise if good else fall):
        return replace(latest, in_a_row=in_a_row, reason=answer.error or health.reason)
    return replace(latest, state=state, since_s=now_s, in_a_row=0, latency_s=answer.latency_s if good else None)
