"""How long to wait after a failure before the next try. Pure."""

from __future__ import annotations

FIRST_S, LONGEST_S = 5.0, 300.0


def delay_s(failures: int, chance: float, asked_s: float | None = None) -> float:
    """Seconds to wait after so many failures in a row (from 1): doubled each time, at most LONGEST_S.

    chance   0..1: takes off up to half of it, so that those who failed together do not come back together
    asked_s  what the receiver asked for (Retry-After): waited for too, within LONGEST_S
    """
    # The exponent is bounded: 2.0**2000 is an error, not a long time.
    own_s = min(LONGEST_S, FIRST_S * 2.0 ** min(max(failures, 1) - 1, 30)) * (1 - chance / 2)
    return min(LONGEST_S, max(own_s, asked_s or 0.0))
