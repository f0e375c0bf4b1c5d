"""What differs between the engines in the SQL that Tenfold itself writes. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tenfold.topology.model import Engine


@dataclass(frozen=True, slots=True)
class Dialect:
    """engine          its value is the parser's name for the dialect too; MYSQL is MariaDB as well
    quote_mark      around identifiers
    current_read    ends a SELECT inside a transaction that must see, and lock, what is committed now
    shared_read     the same where others may read on, and only may not change it"""

    engine: Engine
    quote_mark: str
    current_read: str
    shared_read: str

    def quoted(self, name: str) -> str:
        """An identifier as this engine takes it."""
        mark = self.quote_mark
        return mark + name.replace(mark, mark * 2) + mark


SQLITE = Dialect(Engine.SQLITE, '"', "", "")
# REPEATABLE READ shows a plain SELECT the past; only a locking one sees the present.
MYSQL = Dialect(Engine.MYSQL, "`", " FOR UPDATE", " LOCK IN SHARE MODE")


def dialect_of(engine: str) -> Dialect:
    """The dialect of `database.engine`."""
    return {"sqlite": SQLITE, "mysql": MYSQL}[engine]
