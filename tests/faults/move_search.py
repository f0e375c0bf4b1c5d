"""Every state that a model can be in, shortest way first. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from tests.faults.move_model import Model
from tests.faults.move_state import State


@dataclass(frozen=True, slots=True)
class Found:
    """What a search came to. broken: the property and how, None if all held; trace: the steps that lead there;
    complete: every state was seen."""

    states: int
    broken: str | None
    trace: tuple[str, ...]
    complete: bool


def search(model: Model, wanted: str = "", limit: int = 10**9, forward: bool = False) -> Found:
    """Breadth first until something breaks whose text begins with `wanted`.

    limit    at most so many states
    forward  look at the end whether from every state the move can come to rest ("P5")
    """
    first = model.begin()
    number = {first: 0}
    states = [first]
    parents = [0]
    after: list[tuple[int, ...]] = []
    for index, state in enumerate(states):  # grows while it is gone through
        successors = []
        for _, reached, broken in model.steps(state):
            known = number.get(reached)
            if known is None:
                known = number[reached] = len(states)
                states.append(reached)
                parents.append(index)
                broken = broken or model.broken(reached)
            if broken is not None and broken.startswith(wanted):
                return Found(len(states), broken, _trace(model, states, parents, index, reached), False)
            successors.append(known)
        if forward:
            after.append(tuple(successors))
        if len(states) > limit:
            return Found(len(states), None, (), False)
    if forward:
        stuck = _stuck(model, states, after)
        if stuck is not None:
            trace = _trace(model, states, parents, parents[stuck], states[stuck])
            return Found(len(states), "P5: from here no way leads to rest", trace, False)
    return Found(len(states), None, (), True)


def _stuck(model: Model, states: list[State], after: list[tuple[int, ...]]) -> int | None:
    """The first state from which rest cannot be reached."""
    before: list[list[int]] = [[] for _ in states]
    for index, successors in enumerate(after):
        for one in successors:
            before[one].append(index)
    waiting = [index for index, state in enumerate(states) if model.is_at_rest(state)]
    reaches = bytearray(len(states))
    for index in waiting:
        reaches[index] = 1
    while waiting:
        for index in before[waiting.pop()]:
            if not reaches[index]:
                reaches[index] = 1
                waiting.append(index)
    stuck = reaches.find(0)
    return None if stuck < 0 else stuck


def _trace(model: Model, states: list[State], parents: list[int], last: int, reached: State) -> tuple[str, ...]:
    """The way to `reached`, which comes after `last`: each step, and what it changed."""
    way = [reached]
    while last:
        way.append(states[last])
        last = parents[last]
    way.append(states[0])
    way.reverse()
    lines = []
    for before, state in pairwise(way):
        lines.append(next(what for what, one, _ in model.steps(before) if one == state))
        lines += [f"      {line}" for line in model.difference(before, state)]
    return tuple(lines)
