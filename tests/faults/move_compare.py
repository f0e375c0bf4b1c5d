"""How a mover compares rows before the fence is up, in the model of a move: what remains in doubt. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.move_carry import Carrying
from tests.faults.move_state import Mover, State, Step


class Comparing(Carrying):
    """One row after the other, on one side and then on the other, while they are written to."""

    def at_survey(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        if number and not self._rules.survey_anew:
            words = "takes it that all was compared"
            yield self._go(words, state, number, mover._replace(doubts=0), self._after_survey())
        else:
            yield self._look(state, number, mover._replace(doubts=0), 0)

    def _after_survey(self) -> str:
        return "compared" if self._rules.capture_first or self._rules.survey_after_capture else "capture"

    def _look(self, state: State, number: int, mover: Mover, key: int) -> Step:
        mover = mover._replace(batch=((key, state.shards[mover.src].rows[key]),))
        return self._go(f"compares: reads row {key} on shard {mover.src}", state, number, mover, "look")

    def at_look(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        key, row = mover.batch[0]
        rows = state.shards[1 - mover.src].rows
        differs = row != rows[key] and self._rules.doubts_differing
        mover = mover._replace(doubts=mover.doubts & ~(1 << key) | differs << key, batch=())
        words = f"compares: row {key} {'differs' if row != rows[key] else 'is the same'}"
        if mover.then == "relieve" or key + 1 == len(rows):
            yield self._go(words, state, number, mover._replace(then=""), self._after_survey())
        else:
            yield self._look(state, number, mover, key + 1)
