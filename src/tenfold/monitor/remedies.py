"""Whether an instance that has been ill for long is restarted, and when a person is called instead. Pure.

Restarting is the only remedy. It is bounded on every side, for one that acts on a mistake does more harm than none:
nothing is done about what is not known (`UNKNOWN`), nor while more is ill than one instance and a quarter of the pool,
for then the cause is likely elsewhere; one instance at a time; so often in an hour and no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

LARGEST_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Policy:
    """All in seconds, but for `budget`.

    hold_s    how long an instance must have been ill, without a break
    settle_s  after a restart: nothing is judged
    verify_s  how long it must then be well, so that the restart counts as a cure
    open_s    after a restart: so late there is no cure any more
    budget    restarts of one instance within `window_s`
    pause_s   between the first two restarts; doubled after each that did not help, up to `longest_pause_s`
    jitter    part of a pause that chance adds
    """

    hold_s: float = 20.0
    settle_s: float = 15.0
    verify_s: float = 10.0
    open_s: float = 120.0
    budget: int = 3
    window_s: float = 3600.0
    pause_s: float = 30.0
    longest_pause_s: float = 600.0
    jitter: float = 0.5


class Condition(StrEnum):
    """How an instance is, as far as a remedy is concerned."""

    WELL = "well"
    ILL = "ill"  # its process runs, and its health check is answered badly or not at all
    AWAY = "away"  # it is meant to be: taken out, or its supervisor is busy with it
    UNKNOWN = "unknown"  # nobody has looked, or who looks has stopped


@dataclass(frozen=True, slots=True)
class Seen:
    """One instance at one moment. `reach`: whether it can be restarted from here."""

    name: str
    condition: Condition
    reason: str = ""
    reach: bool = True


@dataclass(frozen=True, slots=True)
class Case:
    """What is remembered of an instance. Times are those of one monotonic clock.

    ill_since_s   without a break; None while it is not ill
    well_since_s  likewise
    restarted_s   the restarts of the window, the oldest first
    open          whether the last of them has yet to be judged
    not_before_s  when the next one may be
    called        whether a person was called and it has not been well since
    """

    ill_since_s: float | None = None
    well_since_s: float | None = None
    restarted_s: tuple[float, ...] = ()
    open: bool = False
    not_before_s: float = 0.0
    called: bool = False


class Act(StrEnum):
    """What is decided."""

    RESTART = "restart"
    CURED = "cured"  # the restart has helped
    FAILED = "failed"  # it has not
    CALL = "call"  # a person is needed: the budget is spent
    LEAVE = "leave"  # nothing, and why
    WELL = "well"  # it is well again after a person was called


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision about one instance; `why` is a clause for the trail."""

    act: Act
    name: str
    why: str


Cases = Mapping[str, Case]


def step(
    cases: Cases, pool: Sequence[Seen], now_s: float, chance: float, policy: Policy, cause: str | None = None
) -> tuple[dict[str, Case], list[Decision]]:
    """The cases after one look at the pool, and what is to be done now; at most one restart.

    chance  from 0 to 1, for the jitter
    cause   what else is ill and likely the reason, as "shard_0 is down": then nothing is restarted
    """
    now = {seen.name: _looked(cases.get(seen.name, Case()), seen.condition, now_s, policy) for seen in pool}
    told: list[Decision] = []
    for seen in pool:
        case, decision = _judged(now[seen.name], seen, now_s, policy)
        now[seen.name] = case
        told += [decision] if decision else []
    for seen in _due(pool, now, now_s, policy):
        case = now[seen.name]
        if case.called:
            continue
        if len(case.restarted_s) >= policy.budget:
            now[seen.name] = replace(case, called=True)
            why = f"{len(case.restarted_s)} restarts within {policy.window_s:g} s have not helped ({seen.reason})"
            told.append(Decision(Act.CALL, seen.name, why))
        elif against := _against(seen, pool, now, cause):
            told.append(Decision(Act.LEAVE, seen.name, against))
        else:
            pause_s = min(policy.longest_pause_s, policy.pause_s * 2.0 ** len(case.restarted_s))
            now[seen.name] = replace(
                case,
                restarted_s=(*case.restarted_s, now_s),
                open=True,
                not_before_s=now_s + pause_s * (1 + policy.jitter * chance),
                # Illness is counted anew: what was before the restart says nothing about after.
                ill_since_s=None,
                well_since_s=None,
            )
            told.append(Decision(Act.RESTART, seen.name, seen.reason))
    return now, told


def _looked(case: Case, condition: Condition, now_s: float, policy: Policy) -> Case:
    recent = tuple(at_s for at_s in case.restarted_s if now_s - at_s < policy.window_s)
    ill, well = condition is Condition.ILL, condition is Condition.WELL
    if case.open and recent and now_s - recent[-1] < policy.settle_s:
        ill = well = False
    return replace(
        case,
        restarted_s=recent,
        open=case.open and bool(recent),
        ill_since_s=(now_s if case.ill_since_s is None else case.ill_since_s) if ill else None,
        well_since_s=(now_s if case.well_since_s is None else case.well_since_s) if well else None,
    )


def _judged(case: Case, seen: Seen, now_s: float, policy: Policy) -> tuple[Case, Decision | None]:
    """Whether the last restart has helped, once that can be told."""
    lasting = case.well_since_s is not None and now_s - case.well_since_s >= policy.verify_s
    if case.open:
        if lasting:
            return replace(case, open=False), Decision(Act.CURED, seen.name, "it answers well again")
        held = case.ill_since_s is not None and now_s - case.ill_since_s >= policy.hold_s
        if held or now_s - case.restarted_s[-1] >= policy.open_s:
            return replace(case, open=False), Decision(Act.FAILED, seen.name, seen.reason or seen.condition)
    elif case.called and lasting:
        return replace(case, called=False), Decision(Act.WELL, seen.name, "it answers well again")
    return case, None


def _due(pool: Iterable[Seen], cases: Cases, now_s: float, policy: Policy) -> Iterable[Seen]:
    """The first that has been ill for long enough and may be acted upon; none while another is being remedied."""
    if any(case.open for case in cases.values()):
        return
    for seen in pool:
        case = cases[seen.name]
        since_s = case.ill_since_s
        if seen.condition is not Condition.ILL or since_s is None or not seen.reach or case.called:
            continue
        if now_s - since_s >= policy.hold_s and now_s >= case.not_before_s:
            yield seen
            return


def _against(seen: Seen, pool: Sequence[Seen], cases: Cases, cause: str | None) -> str | None:
    """Why it is better not to restart it now."""
    if cause:
        return f"{cause}, which is the likelier cause"
    ill = [other for other in pool if other.condition is Condition.ILL]
    if len(ill) > 1 and len(ill) > LARGEST_SHARE * len(pool):
        return f"{len(ill)} of {len(pool)} are ill, so the cause is likely elsewhere"
    if len(pool) > 1 and not any(other.condition is Condition.WELL for other in pool):
        return "no other is known to be well"
    return None
