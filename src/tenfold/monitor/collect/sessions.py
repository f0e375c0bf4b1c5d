"""Which clients a backend has served of late: who would lose their place if it stopped. Pure."""

from __future__ import annotations

from collections.abc import Iterable

# A client that is silent for longer than this has no session that anybody waits for.
LONGEST_S = 900.0
MOST_CLIENTS = 100_000


class Sessions:
    """The addresses that each backend served, by the time of their last request.

    Times are those of a monotonic clock: one that jumps would make sessions eternal, or end them all at once.
    Addresses stay in this memory; only their number is ever told.
    """

    def __init__(self, most: int = MOST_CLIENTS) -> None:
        self._most = most
        self._last_s: dict[str, dict[str, float]] = {}

    def seen(self, backend: str, clients: Iterable[str], now_s: float) -> None:
        """Note that `backend` served these clients."""
        known = self._last_s.setdefault(backend, {})
        for client in clients:
            # Taken out first, so that the order is that of the last request.
            known.pop(client, None)
            known[client] = now_s
        while known and (len(known) > self._most or known[next(iter(known))] < now_s - LONGEST_S):
            del known[next(iter(known))]

    def count(self, backend: str, now_s: float, window_s: float = 60.0) -> int:
        """How many clients the backend served in the last `window_s` seconds (at most LONGEST_S)."""
        found = 0
        for last_s in reversed(self._last_s.get(backend, {}).values()):
            if last_s < now_s - window_s:
                break
            found += 1
        return found
