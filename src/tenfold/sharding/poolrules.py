"""When a pool hands a connection out, checks, renews or refuses it. Pure.

The pool of threads and that of tasks ask the same `Shelf`; time and chance come in as arguments. A shelf
is guarded by its pool: one caller at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tenfold.errors import NodeDown, NodeError, PlatformError, PoolTimeout
from tenfold.topology.model import Database, Engine

D = TypeVar("D")

CHECK_AFTER_S = 10.0
"""A connection that was idle for longer is asked whether it still answers before it is handed out."""
BACK_OFF_S = 0.1
"""How long nobody tries to connect after the first failure; doubled with each further one."""
BACK_OFF_MAX_S = 5.0


@dataclass(frozen=True, slots=True)
class Rules:
    """What a pool goes by.

    size           places: connections to the shard that may be in use, or be opened, at one moment
    wait_s         how long a borrower waits for a place
    idle_s, age_s  a connection is closed once unused for the one, or older than about the other
    check_after_s  see CHECK_AFTER_S
    back_off_s     see BACK_OFF_S; 0: every borrower tries, as befits a file
    """

    shard: str
    size: int
    wait_s: float
    idle_s: float = 300.0
    age_s: float = 1800.0
    check_after_s: float = CHECK_AFTER_S
    back_off_s: float = BACK_OFF_S


def rules_of(shard: str, database: Database) -> Rules:
    """The rules of a shard's pool, as the file has them."""
    return Rules(
        shard,
        database.pool_size,
        database.pool_wait_s,
        database.pool_idle_s,
        database.pool_age_s,
        back_off_s=BACK_OFF_S if database.engine is Engine.MYSQL else 0.0,
    )


def side_rules(shard: str, database: Database) -> Rules:
    """Those of the connections by which a router asks about its statements, while rows move."""
    return Rules(
        shard, min(2, database.pool_size), database.pool_wait_s, 30.0, database.pool_age_s,
        back_off_s=BACK_OFF_S if database.engine is Engine.MYSQL else 0.0,
    )  # fmt: skip


def rules_of_turns(database: Database) -> Rules:
    """How many statements bring rows together at once: half of a pool is left to others."""
    return Rules("the scratch database", max(1, database.pool_size // 2), database.pool_wait_s)


def timed_out(rules: Rules) -> PoolTimeout:
    """What a borrower gets that has waited for nothing."""
    return PoolTimeout(
        f"all {rules.size} connections to {rules.shard} were busy for {rules.wait_s:g} s",
        hint="try again, shorten transactions, or raise database.pool_size",
    )


def closed() -> PlatformError:
    """What a statement gets whose handle was closed, before it or while it ran."""
    return PlatformError("the database handle is closed", hint="connect again")


@dataclass(frozen=True, slots=True)
class Counters:
    """A pool at one moment, and what has happened in it since the process began.

    in_use, idle, waiting  connections lent (or being opened), connections kept, borrowers in the queue
    opened, closed         connections; closed by reason: age, idle, check (did not answer when asked), down,
                           cut (given up in mid-statement), end (the handle was closed)
    borrowed               times that a connection was asked for
    waited, waited_s       how many of those had to wait for a place, and how long in all
    timed_out              how many waited for nothing
    failed                 attempts to connect that failed
    refused                borrowers sent away at once because the shard was down
    """

    size: int
    in_use: int
    idle: int
    waiting: int
    opened: int
    closed: dict[str, int]
    borrowed: int
    waited: int
    waited_s: float
    timed_out: int
    failed: int
    refused: int


@dataclass(slots=True, eq=False)
class Link(Generic[D]):
    """A connection with what its pool knows of it.

    renew_s     when it is too old
    fresh_s     until then it may be handed out unasked
    idle_s      since when nobody uses it
    proven      how many failures of the shard it has outlived, as far as is known
    spoiled     it is to be closed, not kept: a borrower has left something on it
    cut         a call on it was interrupted midway: nothing may be asked on it any more, what came would be old
    """

    driver: D
    renew_s: float
    fresh_s: float
    idle_s: float
    proven: int
    spoiled: bool = False
    cut: bool = False


@dataclass(slots=True)
class _Trouble:
    """The shard could not be reached: `tries` times so far, the next one after `next_s`."""

    error: NodeError
    tries: int
    next_s: float
    probing: bool = False

    def refusal(self, now_s: float) -> NodeError:
        when = "right now" if self.probing else f"in {max(0.0, self.next_s - now_s):.1f} s"
        hint = f"the shard is tried again {when}"
        if self.error.hint:
            hint = f"{self.error.hint}; {hint}"
        return type(self.error)(str(self.error), hint=hint, retryable=self.error.retryable)


@dataclass(slots=True)
class Shelf(Generic[D]):
    """The connections of one pool, and what was counted.

    idle    kept connections, the one that was used last at the end
    out     lent ones
    used    places taken: by what is out, what is being opened, and what is still ending
    paused  no place is given to anybody
    """

    rules: Rules
    idle: list[Link[D]] = field(default_factory=list)
    out: set[Link[D]] = field(default_factory=set)
    used: int = 0
    paused: bool = False
    closed: bool = False
    downs: int = 0
    opened: int = 0
    borrowed: int = 0
    waited: int = 0
    waited_s: float = 0.0
    timed_out: int = 0
    failed: int = 0
    refused: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    _trouble: _Trouble | None = None
    _unasked_s: float = 0.0

    def __post_init__(self) -> None:
        self._unasked_s = min(self.rules.check_after_s, self.rules.idle_s)

    def has_place(self) -> bool:
        """Whether one more may borrow now."""
        return self.used < self.rules.size and not self.paused

    def take(self) -> Link[D] | None:
        """The kept connection that was used last, for someone who has a place; None: one must be opened."""
        if not self.idle:
            return None
        link = self.idle.pop()
        self.out.add(link)
        return link

    def is_fresh(self, link: Link[D], now_s: float) -> bool:
        """Whether it may be used unasked: not idle for long, and the shard has not failed since it last answered."""
        return link.proven == self.downs and now_s < link.fresh_s

    def too_old(self, link: Link[D], now_s: float) -> str | None:
        """Why it is to be closed rather than used again; None: it is not."""
        if link.spoiled or link.cut:
            return "cut"
        if self.closed:
            return "end"
        if now_s >= link.renew_s:
            return "age"
        return "idle" if now_s - link.idle_s >= self.rules.idle_s else None

    def answered(self, link: Link[D]) -> None:
        """A check has passed."""
        link.proven = self.downs

    def returned(self, link: Link[D], now_s: float) -> str | None:
        """A connection comes back whole; → why it is to be closed, or None. It is not put among the idle yet."""
        self.out.discard(link)
        link.idle_s = now_s
        link.fresh_s = now_s + self._unasked_s
        return self.too_old(link, now_s)

    def lost(self, link: Link[D], *, down: bool) -> None:
        """A connection is to be closed. down: because the shard vanished, so that others may have gone with it."""
        self.out.discard(link)
        if down:
            self.downs += 1

    def ended(self, why: str) -> None:
        """Count a connection that was closed."""
        self.ends[why] = self.ends.get(why, 0) + 1

    def unused(self, now_s: float) -> list[Link[D]]:
        """Take out what was idle for too long or has grown too old, to be closed."""
        gone = [link for link in self.idle if self.too_old(link, now_s)]
        if gone:
            self.idle[:] = [link for link in self.idle if link not in gone]
        return gone

    def may_open(self, now_s: float) -> None:
        """Someone is about to connect. While the shard is down one does at a time, and only now and then.

        Raises NodeError at once for all others.
        """
        if self.closed:
            raise closed()
        trouble = self._trouble
        if trouble is None:
            return
        if trouble.probing or now_s < trouble.next_s:
            self.refused += 1
            raise trouble.refusal(now_s)
        trouble.probing = True

    def made(self, driver: D, now_s: float, chance: float) -> Link[D]:
        """A connection was opened. chance in [0, 1) spreads the renewals, so that not all come at once."""
        self._trouble = None
        self.opened += 1
        age_s = self.rules.age_s * (1.0 - 0.2 * chance)
        link = Link(driver, now_s + age_s, now_s + self._unasked_s, now_s, self.downs)
        self.out.add(link)
        return link

    def not_made(self, error: BaseException, now_s: float, chance: float) -> None:
        """Connecting failed, or was given up."""
        trouble = self._trouble
        if isinstance(error, NodeError):
            self.failed += 1
            self.downs += isinstance(error, NodeDown)
            tries = trouble.tries + 1 if trouble is not None else 1
            wait_s = min(BACK_OFF_MAX_S, self.rules.back_off_s * 2 ** min(tries - 1, 10)) * (0.5 + 0.5 * chance)
            if wait_s and (trouble is None or trouble.probing):
                self._trouble = _Trouble(error, tries, now_s + wait_s)
        elif trouble is not None:
            trouble.probing = False

    def counters(self, waiting: int) -> Counters:
        """What a user may see of it."""
        return Counters(
            self.rules.size, self.used, len(self.idle), waiting, self.opened, dict(self.ends), self.borrowed,
            self.waited, self.waited_s, self.timed_out, self.failed, self.refused,
        )  # fmt: skip
