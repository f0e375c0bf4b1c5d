"""A dump as SQL that any client reads, in frames that need no understanding of SQL to be told apart. Pure.

Each statement stands behind a comment that says what it is and how many bytes it has. So `age -d | zcat | mariadb`
(or sqlite3) restores a part without Tenfold, and Tenfold itself never looks for a semicolon.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from tenfold.errors import BackupError

_MARK = b"-- tenfold "
LONGEST = 1 << 30
_HEADER = 1 << 16


class Damaged(BackupError):
    """A backup is not what it was when it was made."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One statement.

    kind   table, rows, after (indexes, counters), code (triggers, routines), view, key: nothing to run, the key of the
           checksums; end: nothing to run, all that was written was read
    name   of the table or object
    rows   how many an INSERT has
    start  length of "INSERT … VALUES " in front of the rows, which alone are in the checksum
    """

    kind: str
    name: str
    sql: bytes
    rows: int = 0
    start: int = 0

    def text(self) -> bytes:
        """As it stands in the file."""
        said = {"kind": self.kind, "name": self.name, "rows": self.rows, "start": self.start, "bytes": len(self.sql)}
        head = _MARK + json.dumps(said, separators=(",", ":")).encode() + b"\n"
        if self.kind in ("key", "end"):
            return head[: -len(b"\n")] + b"\n-- " + self.sql + b"\n"
        if self.kind == "code":  # holds semicolons; only clients of MySQL know DELIMITER
            return b"DELIMITER ;;\n" + head + self.sql + b";;\nDELIMITER ;\n"
        return head + self.sql + b";\n"


class Source(Protocol):
    """Bytes, read in order."""

    def read(self, size: int) -> bytes:
        """At most `size`; empty at the end."""

    def readline(self, limit: int) -> bytes:
        """A line with its end; empty at the end."""


def frames(source: Source) -> Iterator[Frame]:
    """The frames of a part. Raises Damaged for what was not written so, or is cut off."""
    last = ""
    while line := source.readline(_HEADER):
        if not line.startswith(_MARK):
            continue  # for other readers: DELIMITER, settings of their session
        if last == "end":
            raise Damaged("a part goes on after its end")
        try:
            said = json.loads(line[len(_MARK) :])
            kind, name, rows, start, size = (said[word] for word in ("kind", "name", "rows", "start", "bytes"))
            if not 0 <= size <= LONGEST:
                raise ValueError(size)
        except (ValueError, KeyError, TypeError):
            raise Damaged("a part holds a frame that cannot be read") from None
        if kind in ("key", "end"):
            source.read(len(b"-- "))
        sql = source.read(size)
        if len(sql) != size or source.readline(_HEADER) not in (b"\n", b";\n", b";;\n"):
            raise Damaged("a part is cut off")
        last = kind
        yield Frame(kind, name, sql, rows, start)
    if last != "end":
        raise Damaged("a part is cut off")
