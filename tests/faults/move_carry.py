"""How a mover carries rows to the target, in the model of a move: the copy, then what was marked. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.move_acts import Acts
from tests.faults.move_state import Mover, State, Step, is_present, put


class Carrying(Acts):
    """Two loops: a row of the copy is read and written; marked rows are read and written, and their marks deleted."""

    def at_copy(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        """Reads the next row on the source, by the position on the target."""
        position = state.shards[1 - mover.src].copied
        following = self._after_copy()
        if position == len(state.shards[mover.src].rows):
            yield self._go("finds the copy complete", state, number, mover, following)
            return
        row = state.shards[mover.src].rows[position]
        pc = "chunk" if self._rules.position_with_rows else "position"
        mover = mover._replace(batch=((position, row),))
        yield self._go(f"copy: reads row {position} on shard {mover.src}", state, number, mover, pc)

    def _after_copy(self) -> str:
        if self._rules.capture_first:
            return "follow"
        return "survey" if self._scenario.ahead and not self._rules.survey_after_capture else "capture"

    def at_position(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        target = state.shards[1 - mover.src]
        after = target._replace(copied=target.copied + 1)
        yield from self._on_shard("commits the position", state, number, mover, "chunk", 1 - mover.src, after)

    def at_chunk(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        """Writes the row and the position. Of a row that was not there nothing is written."""
        position, row = mover.batch[0]
        target = state.shards[1 - mover.src]
        if is_present(row) or not is_present(target.rows[position]):
            target = target._replace(rows=put(target.rows, position, row))
        target = target._replace(copied=position + 1)
        pc = "copy" if position + 1 < len(target.rows) else self._after_copy()
        words = f"copy: writes row {position}"
        yield from self._on_shard(words, state, number, mover._replace(batch=()), pc, 1 - mover.src, target)

    def _read_marks(self, state: State, number: int, mover: Mover) -> Step:
        """Versions first, then rows; the wrong way round without the rule."""
        source = state.shards[mover.src]
        if self._rules.row_after_version:
            batch = tuple((mark, 0) for mark in source.marks)
        else:
            batch = tuple((mark and -1, row) for mark, row in zip(source.marks, source.rows, strict=True))
        if self._scenario.ahead and self._rules.notes_marks:
            met = sum(1 << key for key, mark in enumerate(source.marks) if mark)
            mover = mover._replace(doubts=mover.doubts | met)
        what = "marks" if self._rules.row_after_version else "marked rows"
        return self._go(f"reads {what} on shard {mover.src}", state, number, mover._replace(batch=batch), "batch")

    def at_batch(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        source = state.shards[mover.src]
        now = zip(mover.batch, source.marks, source.rows, strict=True)
        if self._rules.row_after_version:
            batch = tuple((mark, row if mark else 0) for (mark, _), _, row in now)
        else:
            batch = tuple((mark and version, row if mark else 0) for (mark, row), version, _ in now)
        what = "marked rows" if self._rules.row_after_version else "versions of marks"
        yield self._go(f"reads {what} on shard {mover.src}", state, number, mover._replace(batch=batch), "apply")

    def at_apply(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        target = state.shards[1 - mover.src]
        rows = tuple(new if mark else old for (mark, new), old in zip(mover.batch, target.rows, strict=True))
        after = target._replace(rows=rows)
        yield from self._on_shard("applies what it read", state, number, mover, "forget", 1 - mover.src, after)

    def at_forget(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        source = state.shards[mover.src]
        marks = tuple(
            0 if read and (now == read or not self._rules.conditional_forget) else now
            for (read, _), now in zip(mover.batch, source.marks, strict=True)
        )
        mover, after = mover._replace(batch=(), then=""), source._replace(marks=marks)
        then = state.movers[number].then
        yield from self._on_shard("deletes the marks", state, number, mover, then, mover.src, after)
