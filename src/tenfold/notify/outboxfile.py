"""The outbox's file: opened or made, and set aside when it is damaged. Edge."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

APPLICATION_ID = 0x54464E31  # "TFN1": an outbox of Tenfold
VERSION = 1
BUSY_S = 10.0
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_COMPANIONS = ("", "-wal", "-shm")
_ASIDE, KEEP_ASIDE = ".corrupt-", 3
_SCHEMA = """
CREATE TABLE notice (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, at_s REAL NOT NULL, body TEXT NOT NULL,
    assigned INTEGER NOT NULL DEFAULT 0, ended_s REAL
);
CREATE TABLE delivery (
    id INTEGER PRIMARY KEY, notice INTEGER NOT NULL REFERENCES notice (id), channel TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting', attempts INTEGER NOT NULL DEFAULT 0, since_s REAL NOT NULL,
    due_s REAL NOT NULL, tried_s REAL, reason TEXT NOT NULL DEFAULT '', remaining TEXT NOT NULL DEFAULT '[]',
    UNIQUE (notice, channel)
);
CREATE INDEX delivery_by_state ON delivery (state, channel, notice);
CREATE TABLE channel (name TEXT PRIMARY KEY, due_s REAL NOT NULL, failures INTEGER NOT NULL);
CREATE TABLE memory (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
log = logging.getLogger(__name__)


def connect(path: Path) -> sqlite3.Connection:
    """A connection to the outbox, made where there is none; a damaged file is renamed, and said so in the log.

    Raises sqlite3.Error, OSError: also for a file that is whole but not ours, or of another release.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        return _opened(path)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        mend(path)
        return _opened(path)


def is_damage(error: Exception) -> bool:
    """Whether the error says that the file cannot be what was written, not that it cannot be reached now."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _CORRUPT


def mend(path: Path) -> None:
    """Set the file aside if it is damaged. Raises sqlite3.Error, OSError."""
    # One at a time: the second of two that met the damage must not set the new file aside.
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            with closing(_opened(path)) as db:
                whole = db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            whole = False
        if not whole:
            _set_aside(path)


def aside(path: Path) -> list[Path]:
    """The files that were set aside and are still there, the oldest first."""
    found = path.parent.glob(f"{path.name}{_ASIDE}*")
    return sorted(one for one in found if not one.name.endswith(_COMPANIONS[1:]))


def _opened(path: Path) -> sqlite3.Connection:
    # It says what goes on in the platform: for this account alone; SQLite gives its companions the same rights.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=rw", uri=True, timeout=BUSY_S, isolation_level=None)
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            _make(db)
        # FULL: what was taken is on the disk, also when the power goes.
        db.execute("PRAGMA synchronous = FULL")
    except BaseException:
        db.close()
        raise
    return db


def _make(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("BEGIN IMMEDIATE")
    try:
        # Looked at once more under the lock: two processes may make it at once.
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (tables,) = db.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
        if version == VERSION and application == APPLICATION_ID:
            return
        if tables or version:
            raise sqlite3.OperationalError("it is no outbox, or one of another release of Tenfold")
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _set_aside(path: Path) -> None:
    target = path.with_name(f"{path.name}{_ASIDE}{int(time.time())}")
    for companion in _COMPANIONS:
        old = path.with_name(path.name + companion)
        if old.exists():
            old.rename(target.with_name(target.name + companion))
    log.warning("the outbox was damaged; it is kept as %s, and a new one is begun", target.name)
    for old in aside(path)[:-KEEP_ASIDE]:  # a bad disk must not be filled with them
        for companion in _COMPANIONS:
            old.with_name(old.name + companion).unlink(missing_ok=True)
