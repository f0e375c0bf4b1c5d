"""`python -m tenfold.demo.ledger.setup`: makes the tables and, the first time, the people. Repeatable. Edge."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import tenfold
from tenfold.demo.ledger.seed.load import seed
from tenfold.demo.ledger.seed.residents import PASSWORD, email_of
from tenfold.errors import TenfoldError

SCHEMA = Path(__file__).resolve().parent / "schema"
DEFAULT_USERS = 10_000
MAX_USERS = 99_999  # what fits the five digits of the addresses


# The collation without padding that compares bytes, as each server has it.
_MARIADB, _MYSQL = "CHARACTER SET ascii COLLATE ascii_nopad_bin", "CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin"


def statements(engine: str, version: str = "MariaDB") -> Iterator[str]:
    """The DDL of schema/ENGINE.sql, one statement at a time, without comments. version: as the server says."""
    lines = (SCHEMA / f"{engine}.sql").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("--"))
    if "mariadb" not in version.lower():
        text = text.replace(_MARIADB, _MYSQL)
    yield from (statement.strip() for statement in text.split(";\n") if statement.strip())


def engine_of(file: Path, environment: str | None) -> str:
    """sqlite or mysql, as the platform file says."""
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    overlay = content.get("environments", {}).get(environment, {})
    for part in (overlay, content):
        if engine := part.get("database", {}).get("engine"):
            return str(engine)
    return "sqlite"


def main() -> int:
    """Set the ledger up; 0 when it is ready, 1 with a reason on stderr when not."""
    users = os.environ.get("LEDGER_SEED_USERS", str(DEFAULT_USERS))
    if not (users.isascii() and users.isdigit() and int(users) <= MAX_USERS):
        print(f"error: LEDGER_SEED_USERS is {users!r}; write a number from 0 to {MAX_USERS}", file=sys.stderr)  # noqa: T201
        return 1
    try:
        with tenfold.connect() as db:
            file = Path(os.environ.get("TENFOLD_FILE", "tenfold.toml"))
            engine = engine_of(file, os.environ.get("TENFOLD_ENV"))
            version = str(db.execute("SELECT VERSION()").scalar()) if engine == "mysql" else ""
            for statement in statements(engine, version):
                db.execute(statement)
            seed(db, int(users))
    except TenfoldError as error:
        print(f"error: {error}\nTry: {error.hint}" if error.hint else f"error: {error}", file=sys.stderr)  # noqa: T201
        return 75 if error.retryable else 1
    if int(users):
        print(f"note: log in as {email_of(1)}, password: {PASSWORD}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
