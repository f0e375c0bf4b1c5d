"""Takes the lock of deploys, and shows by a heartbeat that its holder lives. Edge."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType

from tenfold.deploy.journal import Held, Holder, Journal, Replaced, replaced
from tenfold.errors import DeployError, TenfoldError

LONGEST_BEAT_S = 1.0
TAKES_BACK = (
    "once the catalog answers, the agent takes the deploy back; without it, `tenfold rollback --unfinished` does"
)
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_clock() -> float:
    """Seconds that go on while the machine sleeps."""
    return time.clock_gettime(_CLOCK)


def take(
    journal: Journal,
    who: str,
    lock_s: float,
    *,
    said: Callable[[str], None] = lambda _: None,
    clock: Callable[[], float] = boot_clock,
    pause: Callable[[float], None] = time.sleep,
) -> Held:
    """Take the lock; where its holder is silent, once it has been so for `lock_s`.

    Raises DeployError (retryable) as soon as another holder shows that it lives.
    """
    while True:
        seen = journal.holder()
        if not seen.token or seen.known_dead:
            if seen.token:
                said(f"{seen.who} has ended without giving the lock back: taking it over")
        else:
            _watch(journal, seen, max(lock_s, seen.lock_s), said, clock, pause)
        held = journal.take(seen, who, lock_s)
        if held is not None:
            return held


def is_silent(journal: Journal, seen: Holder) -> bool:
    """Whether a holder has shown no life since it was `seen`."""
    now = journal.holder()
    return (now.token, now.beat) == (seen.token, seen.beat)


def _watch(
    journal: Journal, seen: Holder, lock_s: float,
    said: Callable[[str], None], clock: Callable[[], float], pause: Callable[[float], None],
) -> None:  # fmt: skip
    since_s = clock()
    told = False
    while clock() - since_s < lock_s:
        pause(min(0.2, lock_s / 10))
        if not is_silent(journal, seen):
            raise busy(journal.holder(), seen)
        if not told and clock() - since_s > 2 * LONGEST_BEAT_S:
            told = True
            said(f"{seen.who} holds the lock and is silent; taking it over if that lasts {lock_s:g} s")


def busy(now: Holder, seen: Holder) -> DeployError:
    """What a second deployer is told."""
    if not now.token:
        return DeployError(
            f"{seen.who} has just ended a deploy",
            hint="look at `tenfold deploy --list`, then try again",
            retryable=True,
        )
    since = datetime.fromtimestamp(now.since_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return DeployError(
        f"{now.who} deploys, or rolls back, since {since}",
        hint="wait for its end, and try again; end that process (Ctrl-C) to have it taken back",
        retryable=True,
    )


class Heartbeat:
    """Raises the beat of the lock in a thread of its own, which a blocked event loop does not stop.

    lost  called once, in that thread, when the lock is another's
    """

    def __init__(
        self, journal: Journal, held: Held, lock_s: float, lost: Callable[[], None],
        clock: Callable[[], float] = boot_clock,
    ) -> None:  # fmt: skip
        """journal: one of its own, as its connection is used by the thread."""
        self._journal, self._held, self._lock_s, self._tell, self._clock = journal, held, lock_s, lost, clock
        self._every_s = min(LONGEST_BEAT_S, lock_s / 6)
        self._end = threading.Event()
        self._lost = False
        self._last_s = clock()
        self._thread = threading.Thread(target=self._run, name="deploy heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end.set()
        self._thread.join(10.0)
        self._journal.close()

    def check(self) -> None:
        """Raises Replaced where the lock is another's, or may be by now, as the catalog does not answer."""
        if self._lost or (self._clock() - self._last_s >= self._lock_s and not self._is_ours()):
            raise replaced()

    def _is_ours(self) -> bool:
        """Whether nobody has taken the lock over although we were silent: a long migration on SQLite keeps everybody
        from writing to the catalog, us and those who would take over alike."""
        began_s = self._clock()
        try:
            lives = self._journal.beat(self._held)
        except TenfoldError as error:
            raise Replaced(
                f"the catalog has not answered for {self._clock() - self._last_s:.0f} s, so that another process may"
                f" have taken this deploy over: it has stopped where it is ({error})",
                hint=TAKES_BACK,
            ) from None
        if lives:
            self._last_s = max(self._last_s, began_s)
        return lives

    def _run(self) -> None:
        while not self._end.wait(self._every_s):
            began_s = self._clock()
            try:
                lives = self._journal.beat(self._held)
            except TenfoldError:
                continue  # the catalog is away: `check` says for how long that may last
            if not lives:
                self._lost = True
                self._tell()
                return
            self._last_s = began_s
