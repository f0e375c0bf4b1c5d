"""The life of a supervised process as a table, and when it comes back after an ending. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
# So long in good health means that the next ending is a new story: it is not made to wait for the old ones.
FORGIVEN_AFTER_S = 60.0


class State(StrEnum):
    """Where a process is in its life."""

    WAITING = "waiting"  # not yet its turn
    STARTING = "starting"  # it runs, and has not yet answered well
    UP = "up"
    BACKING_OFF = "backing off"  # it ended by itself and comes back
    RESTARTING = "restarting"  # it was told to end and to come back
    STOPPING = "stopping"  # it was told to end
    STOPPED = "stopped"
    FAILED = "failed"  # it ended, or never got well, at its first start: `up` gives up


NEXT: dict[State, dict[str, State]] = {
    State.WAITING: {"spawned": State.STARTING, "stop": State.STOPPED},
    State.STARTING: {
        "well": State.UP,
        "ended": State.BACKING_OFF,
        "restart": State.RESTARTING,
        "stop": State.STOPPING,
    },
    State.UP: {"ended": State.BACKING_OFF, "restart": State.RESTARTING, "stop": State.STOPPING},
    # From here "stop" is still a stop of something: what the ended process left behind may run.
    State.BACKING_OFF: {"spawned": State.STARTING, "restart": State.RESTARTING, "stop": State.STOPPING},
    State.RESTARTING: {"spawned": State.STARTING, "stop": State.STOPPING},
    State.STOPPING: {"ended": State.STOPPED, "stop": State.STOPPING},
    State.STOPPED: {"stop": State.STOPPED},
    State.FAILED: {"stop": State.STOPPING},
}


@dataclass(frozen=True, slots=True)
class Life:
    """What the supervisor knows of one process.

    since_s   when it came into this state, on the supervisor's monotonic clock
    been_up   whether it was ever well: then it is restarted for ever, else its ending ends `up`
    restarts  how often it came back by itself; restarts that were asked for do not count
    delay_s   how long it waits in BACKING_OFF; 0 before the first ending
    """

    state: State = State.WAITING
    since_s: float = 0.0
    been_up: bool = False
    restarts: int = 0
    delay_s: float = 0.0

    @property
    def back_at_s(self) -> float:
        """When a process that backs off is started again."""
        return self.since_s + self.delay_s


def after(life: Life, event: str, now_s: float, *, essential: bool = True) -> Life:
    """The life after `event` ("spawned", "well", "ended", "restart" or "stop") at `now_s`.

    essential  whether the platform is nothing without it; what is not comes back even if it was never well
    Raises ValueError for an event that cannot happen in this state: a bug of the supervisor.
    """
    state = NEXT[life.state].get(event)
    if state is None:
        raise ValueError(f"a process that is {life.state} cannot be {event}")
    if event == "ended" and life.state is State.STARTING and essential and not life.been_up:
        state = State.FAILED
    if state is life.state:
        return life
    moved = replace(life, state=state, since_s=now_s)
    if state is State.BACKING_OFF:
        return replace(moved, delay_s=next_delay_s(life, now_s))
    if state is State.UP:
        return replace(moved, been_up=True)
    if state is State.STARTING:
        if life.state is State.RESTARTING:  # somebody has changed something: what was before is another story
            return replace(moved, delay_s=0.0)
        return replace(moved, restarts=life.restarts + (life.state is State.BACKING_OFF))
    return moved


def next_delay_s(life: Life, now_s: float) -> float:
    """How long a process that ends at `now_s` waits: 0.5 s, then doubled up to 30 s; 0.5 s again after a minute up."""
    forgiven = life.state is State.UP and now_s - life.since_s >= FORGIVEN_AFTER_S
    if forgiven or life.delay_s == 0:
        return FIRST_DELAY_S
    return min(LONGEST_DELAY_S, life.delay_s * 2)


def is_overdue(life: Life, now_s: float, start_timeout_s: float) -> bool:
    """Tell whether a process had its time to get well and did not."""
    return life.state is State.STARTING and now_s - life.since_s >= start_timeout_s
