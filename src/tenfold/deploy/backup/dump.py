"""A shard's snapshot as SQL, with a keyed checksum of each table; the server itself writes the literals. Edge."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from tenfold.deploy.backup.frames import Frame
from tenfold.deploy.backup.manifest import Table
from tenfold.deploy.backup.objects import Objects, Rows
from tenfold.errors import BackupError
from tenfold.sharding.catalog import RESTORING
from tenfold.sharding.dialects import MYSQL, Dialect
from tenfold.sharding.moves.codec import after, row_text, until
from tenfold.sharding.moves.record import REFERENCE
from tenfold.sharding.moves.rows import boundary, read_chunk
from tenfold.sharding.ports import Driver

FIRST, MOST = 200, 4_000
"""Rows of a chunk: the first of a table, and any. Larger ones are slower: the text is put together in memory."""
WISHED = 500_000
"""Bytes of a chunk, and so of an INSERT."""
FEW = 8
"""Rows that are read at a time where nobody has asked how long they are."""
SAVEPOINT = "tf_backup"
LARGEST = 8_000_000
"""Bytes in large columns of a chunk, of more than one row."""
_LARGE = {
    "mediumtext", "longtext", "mediumblob", "longblob", "text", "blob", "json", "geometry", "linestring", "polygon",
    "multipoint", "multilinestring", "multipolygon", "geometrycollection", "geomcollection",
}  # fmt: skip
_WORD = re.compile("[^a-z]")
_NEAR = 65_536
"""A text that is so much shorter than the longest, or less, may have been cut off."""
_HEAD = {
    True: b"SET NAMES utf8mb4;\nSET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES';\n"
    b"SET SESSION foreign_key_checks = 0, unique_checks = 0, time_zone = '+00:00'"
    b" /*M!100201 , check_constraint_checks = 0 */;\n",
    False: b"PRAGMA foreign_keys = OFF;\nPRAGMA ignore_check_constraints = ON;\n",
}


class Sum:
    """The checksum of one table. The key, drawn for each backup, keeps its manifest from telling what rows hold."""

    def __init__(self, key: bytes) -> None:
        self._sum, self.rows = hmac.new(key, digestmod=hashlib.sha256), 0

    def add(self, rows: int, text: bytes) -> None:
        """Rows as literals, with commas between; however they are cut into chunks."""
        if self.rows:
            self._sum.update(b",")
        self._sum.update(text)
        self.rows += rows

    def of_all(self, words: str) -> None:
        """A figure that stands for all rows, of a table without an order."""
        self._sum = hmac.new(b"", self._sum.digest() + words.encode(), hashlib.sha256)

    def table(self) -> Table:
        """What the manifest says."""
        return Table(self.rows, self._sum.hexdigest())


class Dump:
    """Reads one shard on one connection, on which a snapshot is open. progress: is told of rows."""

    def __init__(
        self, shard: str, driver: Driver, dialect: Dialect, key: bytes, progress: Callable[[int], None]
    ) -> None:  # fmt: skip
        self._shard, self._driver, self._key, self._progress = shard, driver, key, progress
        self._mysql, self._packet = dialect is MYSQL, 0

    def write(self, objects: Objects, write: Callable[[bytes], None]) -> dict[str, Table]:
        """Write the whole part; → the checksums."""
        write(_HEAD[self._mysql])
        write(Frame("key", self._shard, self._key.hex().encode()).text())
        for frame in objects.before:
            write(frame.text())
        sums = {}
        for rows in objects.tables:
            prefix = rows.insert.encode()
            made = Sum(self._key)
            for count, text in self._ahead(rows) if self._mysql else self.chunks(rows):
                write(Frame("rows", rows.name, prefix + text, count, len(prefix)).text())
                self._take(made, rows, count, text)
                self._progress(count)
            sums[rows.name] = self._finished(made, rows)
            self._let_go()
        for frame in (*objects.counts, *objects.after):
            write(frame.text())
        write(Frame("end", self._shard, b"end").text())
        return sums

    def sums(self, tables: Sequence[Rows]) -> dict[str, Table]:
        """The checksums alone."""
        found = {}
        for rows in tables:
            made = Sum(self._key)
            for count, text in self.chunks(rows):
                self._take(made, rows, count, text)
                self._progress(count)
            found[rows.name] = self._finished(made, rows)
        return found

    def chunks(self, rows: Rows) -> Iterator[tuple[int, bytes]]:
        """(rows, their literals with commas between), in an order that a copy has too."""
        if rows.table.dialect is not MYSQL:
            sql = f"SELECT {rows.text} FROM {rows.table.name}{_seen(rows)} ORDER BY {rows.order}"
            yield from self._streamed(sql)
        elif _chunked(rows):
            yield from self._ranges(rows)
        else:
            self._see_sizes(rows, rows.table.name + _seen(rows))
            yield from self._streamed(f"SELECT {row_text(rows.table)} FROM {rows.table.name}{_seen(rows)}")

    def _ahead(self, rows: Rows) -> Iterator[tuple[int, bytes]]:
        """Chunks, of which the next is read while this one is compressed."""
        chunks = self.chunks(rows)
        with ThreadPoolExecutor(1) as reader:
            ahead: Future[tuple[int, bytes] | None] = reader.submit(next, chunks, None)
            try:
                while (chunk := ahead.result()) is not None:
                    ahead = reader.submit(next, chunks, None)
                    yield chunk
            finally:
                ahead.exception()  # waited for: the connection is one thread's at a time

    def _streamed(self, sql: str) -> Iterator[tuple[int, bytes]]:
        cursor = self._driver.execute(sql, (), stream=True).cursor
        assert cursor is not None  # noqa: S101  # of a SELECT
        held: list[str] = []
        size, count = 0, 1
        # Few at a time: the next may be a thousand times as long as all before.
        while found := cursor.fetch(count):
            if any(row[0] is None for row in found):
                raise self._too_long()
            held += [row[0] for row in found]
            longest = max(len(row[0]) for row in found)
            size += sum(len(row[0]) for row in found)
            count = 1 if longest > WISHED // FEW else FEW
            if size >= WISHED or len(held) >= MOST:
                yield len(held), ",".join(held).encode()
                held, size = [], 0
        if held:
            yield len(held), ",".join(held).encode()
        cursor.close()

    def _ranges(self, rows: Rows) -> Iterator[tuple[int, bytes]]:
        table, size, most = rows.table, FIRST, MOST
        position: tuple[str, ...] = ()
        large = _size_of_large(rows)
        limit = self._limit()
        while True:
            last = next((found[0] for sql in boundary(table, position, size) if (found := self._ask(sql))), None)
            if last is None:
                return
            end = tuple(map(str, last))
            if large:
                between = f"{table.name} WHERE {after(table, position)} AND {until(table, end)}"
                if self._see_sizes(rows, between) > LARGEST and size > 1:
                    size = max(1, size // 8)
                    continue
            count, joined = self._ask(read_chunk(table, position, end, (REFERENCE,)) + _and_seen(rows))[0]
            text = str(joined or "").encode()
            if len(text) >= limit - _NEAR:
                # Cut off by the server, which only warns.
                if size == 1:
                    raise self._too_long()
                size = most = max(1, size // 8)
                continue
            if count:
                yield int(count), text
            position = end
            size = max(1, min(most, 2 * size, WISHED * size // max(len(text), 1)))

    def _ask(self, sql: str) -> Sequence[tuple[Any, ...]]:
        return self._driver.execute(sql, ()).rows

    def _limit(self) -> int:
        """How long a text the server puts together; set for this session."""
        if not self._packet:
            self._packet = int(str(self._ask("SELECT @@max_allowed_packet")[0][0]))
            self._ask(f"SET SESSION group_concat_max_len = {self._packet - 1024:d}")
        return self._packet - 1024

    def _see_sizes(self, rows: Rows, source: str) -> int:
        """Of a value too long for its literal the server makes NULL, and only warns: see to it before.

        → bytes of all of them
        """
        large = _size_of_large(rows)
        total = 0
        if large:
            longest, total = map(
                int, self._ask(f"SELECT COALESCE(MAX({large}), 0), COALESCE(SUM({large}), 0) FROM {source}")[0]
            )
            limit = self._limit()
            if 2 * longest + (1 << 18) > limit:
                raise BackupError(
                    f"{self._shard}: a row of {rows.name} has {longest:,} bytes, too long to be read as text",
                    hint=f"raise the server's max_allowed_packet to {4 * longest + (1 << 20):,} or more",
                )
        return total

    def _too_long(self) -> BackupError:
        return BackupError(
            f"{self._shard}: a row is too long to be read as text", hint="raise the server's max_allowed_packet"
        )

    def _take(self, made: Sum, rows: Rows, count: int, text: bytes) -> None:
        if _ordered(rows):
            made.add(count, text)
        else:
            made.rows += count

    def _finished(self, made: Sum, rows: Rows) -> Table:
        if not _ordered(rows):
            one = f"CAST(CONV(LEFT(MD5({row_text(rows.table)}),16),16,10) AS UNSIGNED)"
            made.of_all(str(self._ask(f"SELECT SUM({one}) FROM {rows.table.name}")[0][0]))
        return made.table()

    def _let_go(self) -> None:
        """Let go of what is held of the tables that were read: an ALTER that waits for it makes all others wait."""
        if self._mysql:
            self._ask(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}")


def _chunked(rows: Rows) -> bool:
    key = rows.table.shape.primary_key
    return bool(key) and "" not in key


def _ordered(rows: Rows) -> bool:
    return rows.table.dialect is not MYSQL or _chunked(rows)


def _seen(rows: Rows) -> str:
    """The mark of a restore is nobody's row."""
    return f" WHERE name <> '{RESTORING}'" if rows.name == "tf_shard" else ""


def _and_seen(rows: Rows) -> str:
    return f" AND name <> '{RESTORING}'" if rows.name == "tf_shard" else ""


def _size_of_large(rows: Rows) -> str:
    columns = [
        rows.table.quoted(name) for name in rows.table.stored
        if _WORD.split(rows.table.shape.columns[name].declared.lower(), maxsplit=1)[0] in _LARGE
    ]  # fmt: skip
    return " + ".join(f"COALESCE(OCTET_LENGTH({column}), 0)" for column in columns)
