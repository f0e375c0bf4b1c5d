"""A part of a backup brought into an empty database, and what was brought compared with the manifest. Edge."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from tenfold.deploy.backup.dump import Dump
from tenfold.deploy.backup.envelope import Identities, opened
from tenfold.deploy.backup.frames import Damaged, Frame, frames
from tenfold.deploy.backup.manifest import SQL_SUFFIX, ShardPart
from tenfold.deploy.backup.objects import read_objects
from tenfold.deploy.backup.shelf import Kept
from tenfold.errors import BackupError, StatementError
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.engine.sqlitefunctions import define_functions
from tenfold.sharding.moves.connections import Shards
from tenfold.sharding.ports import Driver

_TOGETHER = 16
"""INSERTs in one transaction on a server."""
OTHER = "restore from another backup: `tenfold backup list`"


class Taker(Protocol):
    """Takes the statements of a part, in order."""

    def take(self, frame: Frame) -> None:
        """One of them."""

    def end(self) -> None:
        """That was all; → once it is on the disk."""


class MysqlTaker:
    """A database on a server, on a connection as a mover's. events: what is to be run once all is restored."""

    def __init__(self, driver: Driver, *, looks: bool) -> None:
        """looks: it is restored to be looked at, and no event will ever run."""
        self._driver, self._open, self._looks = driver, 0, looks
        self.events: list[str] = []
        driver.execute("SET SESSION unique_checks = 0", ())
        self._mode = str(driver.execute("SELECT @@sql_mode", ()).rows[0][0])

    def take(self, frame: Frame) -> None:
        """Rows in transactions of some statements; all else ends them."""
        if frame.kind == "rows":
            if not self._open:
                self._driver.begin()
            self._driver.execute(frame.sql.decode(), ())
            self._open += 1
            if self._open >= _TOGETHER:
                self._commit()
            return
        self._commit()
        sql = frame.sql.decode()
        if frame.kind == "enable":
            self.events.append(sql)
            return
        if frame.kind == "table" and frame.name == "tf_shard":
            sql = sql.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1)  # the mark of the restore is in it
        try:
            self._driver.execute(sql, ())
        except StatementError as error:
            if frame.kind == "zone" and self._looks:
                return  # a scratch server need not know all zones
            hint = "mariadb-tzinfo-to-sql loads zones" if frame.kind == "zone" else "see what that server lacks"
            raise BackupError(f"{frame.name} cannot be restored: {error}", hint=hint) from None

    def _commit(self) -> None:
        if self._open:
            self._driver.commit()
            self._open = 0

    def end(self) -> None:
        """All is committed."""
        self._commit()
        self._driver.execute(f"SET SESSION sql_mode = '{self._mode}', unique_checks = 1", ())


class SqliteTaker:
    """A new file. Whoever keeps it syncs it once it is whole."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode=rwc",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=0,  # each would keep half a megabyte of rows, or a row of any length
        )
        path.chmod(0o600)
        define_functions(self._connection)
        self._connection.set_authorizer(_no_other_file)
        for pragma in (
            "journal_mode = OFF",
            "synchronous = OFF",
            "foreign_keys = OFF",
            "trusted_schema = ON",
            "ignore_check_constraints = ON",
        ):
            self._connection.execute(f"PRAGMA {pragma}")
        self._begun = False

    def take(self, frame: Frame) -> None:
        """All rows in one transaction, which nobody sees before its end."""
        try:
            if frame.kind == "pragma":
                self._end()
            elif not self._begun:
                self._connection.execute("BEGIN")
                self._begun = True
            self._connection.execute(frame.sql.decode())
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise BackupError(f"{frame.name} cannot be restored: {error}", hint="see the disk") from None

    def _end(self) -> None:
        if self._begun:
            self._connection.execute("COMMIT")
            self._begun = False

    def end(self) -> None:
        """As the routers want it: with a write-ahead log."""
        try:
            self._end()
            self._connection.execute("PRAGMA journal_mode = WAL")
        finally:
            self.close()

    def close(self) -> None:
        """Whatever state it is in."""
        self._connection.close()


def _no_other_file(action: int, *_: object) -> int:
    """A part writes to its own file alone, whoever wrote it."""
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK


def replay(kept: Kept, shard: str, identity: Identities, taker: Taker | None, progress: Callable[[int], None]) -> bytes:
    """Read a shard's part to its end, counting rows, and have `taker` take it.

    → the key of the checksums. taker None: only read. Raises BackupError for anything that is not as it was written.
    """
    path = kept.path / (shard + SQL_SUFFIX)
    part = _part(kept, shard)
    rows: Counter[str] = Counter()
    key = b""
    with opened(path, identity) as stream:
        for frame in frames(stream):
            if frame.kind == "key":
                key = bytes.fromhex(frame.sql.decode())
            elif frame.kind == "rows":
                rows[frame.name] += frame.rows
                progress(frame.rows)
            if frame.kind not in ("key", "end") and taker is not None:
                taker.take(frame)
    if taker is not None:
        taker.end()
    for name, table in part.tables.items():
        if rows[name] != table.rows:
            raise Damaged(f"{path}: {name} has {rows[name]:,} rows, not {table.rows:,}", hint=OTHER)
    return key


def _part(kept: Kept, shard: str) -> ShardPart:
    assert kept.manifest is not None  # noqa: S101  # `Shelf.find` has seen to it
    return kept.manifest.shards[shard]


def compare(shards: Shards, shard: str, part: ShardPart, key: bytes, progress: Callable[[int], None]) -> None:
    """Read a restored database and compare each table's rows and checksum with the manifest. Raises BackupError."""
    objects = read_objects(shards, shard)
    driver = shards.at(shard, "compare")
    found = Dump(shard, driver, shards.dialect, key, progress).sums(objects.tables)
    if shards.dialect is not MYSQL:
        shards.rows(shard, "PRAGMA ignore_check_constraints = ON")  # rows may be older than a constraint
        said = shards.rows(shard, "PRAGMA integrity_check")
        if [tuple(row) for row in said] != [("ok",)]:
            raise Damaged(f"{shard} is not whole once restored: {said[0][0]}", hint=OTHER)
    _compare_schema(shard, part, objects.signed(key), _version(shards, shard))
    for name in sorted(part.tables.keys() | found.keys()):
        was, now = part.tables.get(name), found.get(name)
        if was != now:
            what = (
                f"it has {now.rows if now else 0:,} rows, not {was.rows if was else 0:,}"
                if was is None or now is None or was.rows != now.rows
                else "its rows are not those that were read"
            )
            raise Damaged(f"{shard}: {name} is not restored as it was: {what}", hint=OTHER)


def _version(shards: Shards, shard: str) -> str:
    return str(shards.rows(shard, "SELECT VERSION()")[0][0]) if shards.dialect is MYSQL else ""


def _release(server: str) -> tuple[str, bool]:
    return server.partition("-")[0], "mariadb" in server.lower()


def _compare_schema(shard: str, part: ShardPart, now: dict[str, str], server: str) -> None:
    """Another release of a server prints the same table in other words: then names alone are compared."""
    texts = not server or _release(part.server) == _release(server)
    for name in sorted(part.schema.keys() | now.keys() if part.schema else ()):
        if name not in now or name not in part.schema:
            why = "it is missing" if name in part.schema else "it was not there"
            raise Damaged(f"{shard}: the {name} is not restored as it was: {why}", hint=OTHER)
        if texts and now[name] != part.schema[name]:
            raise Damaged(f"{shard}: the {name} is not restored as it was", hint=OTHER)
