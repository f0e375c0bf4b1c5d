"""Copies the rows of a leg, and notes their shard keys. Goes on where it was. Edge."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

from tenfold.errors import ConstraintError, MoveError, StatementError
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.keys import BUCKETS
from tenfold.sharding.moves import rows
from tenfold.sharding.moves.record import Leg
from tenfold.sharding.moves.tables import Moved, positions_table
from tenfold.sharding.moves.throttle import Throttle
from tenfold.sharding.moves.work import Work
from tenfold.sharding.ports import Driver

FIRST_ROWS, MOST_ROWS = 500, 20_000
LONGEST = {True: 1_000_000, False: 400_000}
"""Bytes of a statement, by whether it is for MySQL: SQLite takes a million, and a chunk may be larger than the last."""
KEYS = 5_000
READING, KEYING = "reading", "keying"
"""The purposes of the connections that read ahead, and that note keys beside the copy."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows after one position up to `end`; of none `end` is empty, and the table has ended. asked: for so many."""

    end: tuple[str, ...]
    count: int = 0
    text: str = ""
    asked: int = 0


class Copier:
    """Copies one table of a leg. done, total: rows, for the bar."""

    def __init__(self, work: Work, leg: Leg, table: Moved, throttle: Throttle, progress: Callable[[int], None]) -> None:
        self.work, self.leg, self.table = work, leg, table
        self._throttle, self._progress = throttle, progress
        self._size, self._most = FIRST_ROWS, MOST_ROWS
        self._positions = positions_table(work.move.id)

    def run(self) -> None:
        """To the table's end. The position commits with the rows that it stands for."""
        position, copied, ended = self._position()
        self._progress(copied)
        if ended:
            return
        with ThreadPoolExecutor(1) as reader:
            ahead: Future[Chunk] = reader.submit(self._read, position)
            while True:
                chunk = ahead.result()
                if not chunk.end:
                    break
                ahead = reader.submit(self._read, chunk.end)
                self.work.progress.step("copy.rows")
                try:
                    self._copy(position, chunk)
                except _TooLong as error:
                    ahead.result()
                    self._shorten(chunk, error)
                    ahead = reader.submit(self._read, position)
                    continue
                position = chunk.end
                self._progress(chunk.count)
                self._throttle.wait(chunk.count, (self.leg.source, self.leg.target))
        self.work.progress.step("copy.end")
        self._write(lambda driver: self._place(driver, position, 0, 1))

    def _position(self) -> tuple[tuple[str, ...], int, bool]:
        where, values = "WHERE source = ? AND number = ?", (self.leg.source, self.table.number)
        found = self.work.shards.rows(
            self.leg.target, f"SELECT position, copied, ended FROM {self._positions} {where}", values
        )
        if found:
            return tuple(json.loads(found[0][0])), found[0][1], bool(found[0][2])
        self._write(
            lambda driver: driver.execute(
                f"INSERT INTO {self._positions} (source, number, position, copied, ended) VALUES (?, ?, '[]', 0, 0)",
                values,
            )
        )
        return (), 0, False

    def _read(self, position: Sequence[str]) -> Chunk:
        """The next rows, on the reader's thread and its connection."""
        driver = self.work.shards.at(self.leg.source, READING)
        asked = self._size
        for sql in rows.boundary(self.table, position, asked):
            found = driver.execute(sql, ()).rows
            if found:
                end = tuple(map(str, found[0]))
                count, text = driver.execute(rows.read_chunk(self.table, position, end, self.leg.buckets), ()).rows[0]
                chunk = Chunk(end, int(count), text or "", asked)
                self._adapt(chunk)
                return chunk
        return Chunk(())

    def _adapt(self, chunk: Chunk) -> None:
        """Chunks as large as a statement may be; rows of other buckets are read over and count as nothing."""
        wished = LONGEST[self.table.dialect is MYSQL] * self._size // max(len(chunk.text), 1)
        self._size = max(1, min(wished, 2 * self._size, self._most))

    def _copy(self, position: Sequence[str], chunk: Chunk) -> None:
        """Write a chunk. Raises _TooLong for one that was too long to be read, or sent, as one text."""
        try:
            self._write(lambda driver: self._insert(driver, chunk))
        except ConstraintError:
            self._singly(position, chunk)
        except StatementError as error:
            raise _TooLong(str(error)) from error

    def _shorten(self, chunk: Chunk, error: _TooLong) -> None:
        if chunk.asked == 1:
            raise MoveError(
                f"the row {','.join(chunk.end)} of {self.table.shape.name} cannot go from {self.leg.source} to "
                f"{self.leg.target}: {error}",
                hint="if it is too long, raise max_allowed_packet on both servers; then `tenfold shard resume`",
            ) from error
        # Not only this chunk: the next are likely to be as long.
        self._size = self._most = max(1, chunk.asked // 2)

    def _insert(self, driver: Driver, chunk: Chunk) -> None:
        if chunk.count and not chunk.text:
            raise _TooLong(f"{self.leg.source} makes no text that is longer than its max_allowed_packet")
        if chunk.count:
            written = driver.execute(rows.insert_rows(self.table, chunk.text), ()).rowcount
            if written != chunk.count:
                raise _TooLong(f"{written} of {chunk.count} rows arrived")
        self._place(driver, chunk.end, chunk.count, 0)

    def _singly(self, position: Sequence[str], chunk: Chunk) -> None:
        """Row by row; one whose place another row holds is left out and marked, to be followed up later."""
        sql = rows.read_singly(self.table, position, chunk.end, self.leg.buckets)
        found = self.work.shards.rows(self.leg.source, sql)
        if any(row is None for *_, row in found):
            raise _TooLong(f"{self.leg.source} makes no text that is longer than its max_allowed_packet")

        def write(driver: Driver) -> None:
            left_out = []
            for key, bucket, row in found:
                try:
                    driver.execute(rows.insert_rows(self.table, row), ())
                except ConstraintError:
                    left_out.append((key, int(bucket)))
            if left_out:
                self.work.say("left out", table=self.table.shape.name, rows=len(left_out))
                with self.work.shards.transaction(self.leg.source) as source:
                    source.execute(rows.mark(self.work.move.id, self.table, left_out), ())
            self._place(driver, chunk.end, len(found), 0)

        self._write(write)

    def _place(self, driver: Driver, position: Sequence[str], more: int, ended: int) -> None:
        driver.execute(
            f"UPDATE {self._positions} SET position = ?, copied = copied + ?, ended = ?"
            " WHERE source = ? AND number = ?",
            (json.dumps(position), more, ended, self.leg.source, self.table.number),
        )

    def _write(self, act: Callable[[Driver], object]) -> None:
        def write() -> None:
            with self.work.shards.transaction(self.leg.target) as driver:
                act(driver)

        self.work.again(write)


class _TooLong(Exception):
    """The server made a text of fewer rows than there were, or it took no statement of that length."""


def copy_table(work: Work, leg: Leg, table: Moved, throttle: Throttle, progress: Callable[[int], None]) -> None:
    """A table's rows and, beside them, its shard keys."""
    stop = Event()
    work.progress.step("copy.keys")
    with ThreadPoolExecutor(1) as aside:
        keys = aside.submit(_copy_keys, work, leg, table, stop.is_set)
        try:
            Copier(work, leg, table, throttle, progress).run()
            keys.result()
        finally:
            stop.set()


def _copy_keys(work: Work, leg: Leg, table: Moved, ended: Callable[[], bool]) -> None:
    """Note the shard keys of the leg's buckets on both ends; those of rows written later, the triggers add."""
    position, size = "", KEYS
    source = work.shards.at(leg.source, KEYING) if table.key else None
    while source is not None and not ended():
        for sql in rows.key_boundary(table, position, size):
            found = source.execute(sql, ()).rows
            if found:
                break
        else:
            return
        end = str(found[0][0])
        count, text = source.execute(rows.read_keys(table, position, end, leg.buckets), ()).rows[0]
        try:
            if count:
                write_keys(work, (leg.source, leg.target), table, text, KEYING)
        except StatementError:
            # Keys may be long: a text of so many was too long to be made whole, or to be sent.
            if size == 1:
                raise
            size //= 2
            continue
        position = end


def write_keys(work: Work, shards: Sequence[str], table: Moved, text: str, purpose: str = "") -> None:
    """Note shard keys, "(bucket,key),…", on shards. purpose: of the connections."""
    for shard in shards:

        def write(shard: str = shard) -> None:
            with work.shards.transaction(shard, purpose) as driver:
                driver.execute(rows.insert_keys(work.move.id, table, text), ())

        work.again(write)


def about_rows(work: Work, leg: Leg) -> int:
    """About how many rows a leg has, by the engine's own estimate and the share of its buckets."""
    owned = sum(work.catalog.map.shard_of(bucket) == leg.source for bucket in range(BUCKETS)) or 1
    total = 0
    for table in work.tables(leg):
        share = 1.0 if table.pinned is not None else min(1.0, len(table.of(leg.buckets)) / owned)
        total += int(share * _rows(work, leg.source, table.shape.name))
    return total


def _rows(work: Work, shard: str, table: str) -> int:
    if work.shards.dialect is not MYSQL:
        found = work.shards.rows(shard, f"SELECT COUNT(*) FROM {work.shards.dialect.quoted(table)}")
    else:
        sql = "SELECT table_rows FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?"
        found = work.shards.rows(shard, sql, (table,))
    return int(found[0][0] or 0) if found else 0
