"""The tables and triggers by which a shard marks what changes and refuses what is not its own. Pure.

A mark says that a row of a bucket may have changed: (primary key, bucket) and a version that grows with each change.
It commits with the change. Marks are made where the fence row of the bucket says `captured`; refused is a write of
a bucket whose fence is not `open`. The fence is read with a lock that is held to the end of the transaction, so who
raises it waits for writers in flight. Sessions of movers are neither refused nor marked.
"""

from __future__ import annotations

from collections.abc import Iterator

from tenfold.sharding.dialects import MYSQL, Dialect
from tenfold.sharding.moves.sqlitecapture import sqlite_trigger
from tenfold.sharding.moves.tables import EVENTS, Moved, column_type, dirty_table, keys_table, trigger_name

SLOWED = "captured > 1"
"""How a fence row slows writers of its bucket down: by captured - 1 milliseconds a row."""


def mark_tables(move: int, table: Moved) -> Iterator[tuple[str, str]]:
    """(name, CREATE TABLE IF NOT EXISTS) of the marks of a table and, unless it is pinned, of its shard keys."""
    columns = [f"{table.quoted(name)} {column_type(table, name)} NOT NULL" for name in table.shape.primary_key]
    name = dirty_table(move, table)
    head = f"CREATE TABLE IF NOT EXISTS {name} ({', '.join(columns)}, tf_bucket INTEGER NOT NULL, tf_version BIGINT"
    key = f"PRIMARY KEY ({', '.join(table.primary_key)}, tf_bucket)"
    if table.dialect is MYSQL:
        yield name, f"{head} NOT NULL, {key}, INDEX tf_by_bucket (tf_bucket)) ENGINE = InnoDB"
    else:
        yield name, f"{head} NOT NULL, {key}) WITHOUT ROWID"
    if table.key:
        name = keys_table(move, table)
        head = f"CREATE TABLE IF NOT EXISTS {name} (tf_bucket INTEGER NOT NULL, tf_key {column_type(table, table.key)}"
        end = "ENGINE = InnoDB" if table.dialect is MYSQL else "WITHOUT ROWID"
        yield name, f"{head} NOT NULL, PRIMARY KEY (tf_bucket, tf_key)) {end}"


def mark_indexes(move: int, table: Moved) -> Iterator[str]:
    """What MySQL's CREATE TABLE says itself."""
    if table.dialect is not MYSQL:
        name = dirty_table(move, table)
        yield f"CREATE INDEX IF NOT EXISTS {name}_bucket ON {name} (tf_bucket)"


def triggers(move: int, table: Moved, token: int) -> Iterator[tuple[str, str, str]]:
    """(event, name, CREATE TRIGGER) of all six, those that mark before those that refuse."""
    for event in sorted(EVENTS):
        name = trigger_name(token, table.number, event)
        text = _mysql_trigger if table.dialect is MYSQL else sqlite_trigger
        yield event, name, text(move, table, name, event)


def drop_trigger(name: str, dialect: Dialect) -> str:
    """DROP TRIGGER for one of ours."""
    return f"DROP TRIGGER IF EXISTS {dialect.quoted(name)}"


_MOMENTS = {"b": "BEFORE", "a": "AFTER"}
_WRITES = {"i": "INSERT", "u": "UPDATE", "d": "DELETE"}


def _mysql_trigger(move: int, table: Moved, name: str, event: str) -> str:
    body = "".join(_mysql_body(move, table, event))
    return f"""CREATE TRIGGER {name} {_MOMENTS[event[0]]} {_WRITES[event[1]]} ON {table.name} FOR EACH ROW
BEGIN
  DECLARE tf_b, tf_c INTEGER;
  DECLARE tf_s VARCHAR(10);
  DECLARE tf_m VARCHAR(60);
  IF @tf_mover IS NULL THEN{body}
  END IF;
END"""


def _mysql_body(move: int, table: Moved, event: str) -> Iterator[str]:
    same_key = f"OLD.{table.quoted(table.key)} <=> NEW.{table.quoted(table.key)}" if table.key else "1 = 1"
    same = " AND ".join([same_key, *(f"OLD.{column} <=> NEW.{column}" for column in table.primary_key)])
    if event == "bu":
        yield _mysql_refusal(table, "OLD.")
        yield f"\n    IF NOT ({same_key}) THEN{_mysql_refusal(table, 'NEW.')}\n    END IF;"
    elif event == "au":
        yield _mysql_mark(move, table, "NEW.")
        yield f"\n    IF NOT ({same}) THEN{_mysql_key(move, table)}{_mysql_mark(move, table, 'OLD.')}\n    END IF;"
    elif event[0] == "b":
        yield _mysql_refusal(table, "NEW." if event == "bi" else "OLD.")
    else:
        yield _mysql_mark(move, table, "NEW." if event == "ai" else "OLD.")
        yield _mysql_key(move, table) if event == "ai" else ""


def _mysql_refusal(table: Moved, row: str) -> str:
    # The sleep is back-pressure: see `SLOWED`.
    return f"""
    SET tf_b = {table.bucket(row)}, tf_s = NULL, tf_c = 0;
    SELECT state, captured INTO tf_s, tf_c FROM tf_fence WHERE tf_fence.bucket = tf_b LOCK IN SHARE MODE;
    IF tf_b IS NOT NULL AND COALESCE(tf_s, 'absent') <> 'open' THEN
      SET tf_m = CONCAT('tf_fence ', tf_b, ' ', COALESCE(tf_s, 'absent'));
      SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = tf_m;
    END IF;
    IF tf_c > 1 THEN DO SLEEP((tf_c - 1) / 1000); END IF;"""


def _mysql_mark(move: int, table: Moved, row: str) -> str:
    columns = ", ".join(table.primary_key)
    values = ", ".join(row + column for column in table.primary_key)
    # The lock makes it a current read: inside REPEATABLE READ a plain one may show the fence before the move.
    return f"""
    SET tf_b = {table.bucket(row)};
    INSERT INTO {dirty_table(move, table)} ({columns}, tf_bucket, tf_version)
      SELECT {values}, tf_b, 1 FROM tf_fence WHERE tf_fence.bucket = tf_b AND tf_fence.captured > 0 LOCK IN SHARE MODE
      ON DUPLICATE KEY UPDATE tf_version = tf_version + 1;"""


def _mysql_key(move: int, table: Moved) -> str:
    if not table.key:
        return ""
    keys, held = keys_table(move, table), f"NEW.{table.quoted(table.key)}"
    # Looked for without a lock first: nearly always it is there, and writers of one user do not wait for each other.
    return f"""
    IF tf_b IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {keys} WHERE tf_bucket = tf_b AND tf_key = {held}) THEN
      INSERT IGNORE INTO {keys} (tf_bucket, tf_key)
        SELECT tf_b, {held} FROM tf_fence WHERE tf_fence.bucket = tf_b AND tf_fence.captured > 0 LOCK IN SHARE MODE;
    END IF;"""
