"""The store's file: opened, checked that it is ours and whole, set aside when it is not. Edge."""

from __future__ import annotations

import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

APPLICATION_ID = 0x54464D31  # "TFM1": a monitor's store of Tenfold
VERSION = 1
KEEP_ASIDE = 3
_ASIDE = ".corrupt-"
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_HEADER = b"SQLite format 3\0"
_COMPANIONS = ("", "-wal", "-shm")  # the log must leave with its file: with another it would be poison


class BrokenStore(Exception):
    """The file cannot be what was written; it has to be set aside."""


class ForeignStore(Exception):
    """The file is a whole database, but none of ours: it must not be touched."""


def open_store(path: Path, schema: str) -> sqlite3.Connection:
    """A connection to the store at `path`, made with `schema` (repeatable statements) where there is none.

    Raises  BrokenStore, ForeignStore, sqlite3.Error, OSError
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # What a platform does and when is for its owner only; SQLite gives its companions the rights of the file.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    with path.open("rb") as file:
        start = file.read(len(_HEADER))
    if start and start != _HEADER:
        raise BrokenStore("it does not begin as a database")
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode=rw", uri=True, timeout=1.0, isolation_level=None,
        check_same_thread=False,  # one lock around all of it, whichever thread comes
    )  # fmt: skip
    try:
        _prepare(connection, schema)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, schema: str) -> None:
    for setting in ("trusted_schema = OFF", "cell_size_check = ON"):
        connection.execute(f"PRAGMA {setting}")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
    if tables and application != APPLICATION_ID:
        raise ForeignStore("it is the database of something else")
    if tables and version != VERSION:
        raise ForeignStore(
            f"it was written by another release of Tenfold (version {version}, this one knows {VERSION})"
        )
    if not tables:
        # Before anything is in it. Said to a file that has it already it would still write, on a full disk too.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    # WAL and NORMAL: a killed process loses nothing that was committed, a power cut what was not yet checkpointed.
    for setting in ("journal_mode = WAL", "synchronous = NORMAL", f"journal_size_limit = {16 << 20}"):
        connection.execute(f"PRAGMA {setting}")
    if not tables:
        ours = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
        connection.executescript(f"BEGIN IMMEDIATE; {schema} {ours} COMMIT;")


def is_broken(error: Exception) -> bool:
    """Whether the error says that the file is damaged, not that it cannot be reached or written now."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    # A table or column that is gone cannot be the disk's or another process's passing trouble either.
    return isinstance(error, BrokenStore) or code in _CORRUPT or "no such " in str(error)


def set_aside(path: Path, now_s: float) -> Path:
    """Rename the file at `path` and what belongs to it, so that its new name says when (UTC); return that name.

    The last KEEP_ASIDE of them are kept: a bad disk must not be filled with them. Raises OSError.
    """
    stamp = datetime.fromtimestamp(now_s, UTC).strftime("%Y%m%dT%H%M%SZ")
    name = f"{path.name}{_ASIDE}{stamp}"
    same = [_order(old)[1] for old in aside(path) if old.name.startswith(name)]
    target = path.with_name(f"{name}-{max(same) + 1}" if same else name)
    for companion in _COMPANIONS:
        old = path.with_name(path.name + companion)
        if old.exists():
            old.rename(target.with_name(target.name + companion))
    for old in aside(path)[:-KEEP_ASIDE]:
        for companion in _COMPANIONS:
            old.with_name(old.name + companion).unlink(missing_ok=True)
    return target


def aside(path: Path) -> list[Path]:
    """The files that were set aside from `path` and are still there, the oldest first."""
    found = path.parent.glob(f"{path.name}{_ASIDE}*") if path.parent.is_dir() else ()
    return sorted((p for p in found if not p.name.endswith(_COMPANIONS[1:])), key=_order)


def _order(aside: Path) -> tuple[str, int]:
    """(when, number of those that were set aside within that second)."""
    when, _, number = aside.name.rpartition("Z")
    return when, int(number[1:]) if number[1:].isdecimal() else 1
