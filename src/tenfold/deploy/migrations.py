"""Files of migrations: their numbers and statements, and where each of these belongs. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import TokenType

from tenfold.deploy.lint import NOT_A_MIGRATION, Judged, expands
from tenfold.deploy.spread import trouble
from tenfold.errors import DeployError
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.layout import Grouped, Layout, Pinned, Referenced
from tenfold.sharding.shapes import OWN_PREFIX, Column

CONTRACT = ".contract.sql"
MOST_BYTES = 4 << 20
LONGEST_NAME = 120
_NAME = re.compile(r"([0-9]{1,9})[_-][A-Za-z0-9_.-]+\.sql")
_TABLES = re.compile(r"^\s*--\s*tables:\s*(.*)$", re.MULTILINE | re.IGNORECASE)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")

_CODE = re.compile(
    r"^\s*(?:--[^\n]*\n\s*|/\*.*?\*/\s*)*CREATE\b[^(]*?\b(?:TRIGGER|PROCEDURE|FUNCTION|EVENT|VIEW)\b", re.I | re.S
)
CODE = "triggers, views, procedures and events are not run by migrations: moves copy rows, not code"

Present = Mapping[str, Mapping[str, Column]]
"""Table → column, both lower-case, as the shards have them now."""


@dataclass(frozen=True, slots=True)
class Statement:
    """sql: as it stands in the file. shards: where it runs. ddl: whether MySQL commits it by itself."""

    sql: str
    shards: tuple[str, ...]
    ddl: bool


@dataclass(frozen=True, slots=True)
class File:
    """One file of migrations. contract: it takes away what the release before needs."""

    name: str
    text: str

    @property
    def number(self) -> int:
        """Its place in the order."""
        found = _NAME.fullmatch(self.name)
        assert found is not None  # noqa: S101  `ordered` has looked
        return int(found[1])

    @property
    def contract(self) -> bool:
        """Whether it runs only once nobody needs any more what it takes away."""
        return self.name.endswith(CONTRACT)

    @property
    def digest(self) -> str:
        """SHA-256 of the text, as the ledgers keep it."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def ordered(files: Mapping[str, bytes]) -> list[File]:
    """The files in their order. Raises DeployError with every mistake: names, numbers twice or left out, text."""
    found, wrong = list[File](), list[str]()
    for name in sorted(files):
        if not name.endswith(".sql"):
            continue
        if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
            wrong.append(f"{name}: is not called like 0001_what_it_does.sql")
        elif len(files[name]) > MOST_BYTES:
            wrong.append(f"{name}: is larger than {MOST_BYTES >> 20} MiB")
        else:
            try:
                found.append(File(name, files[name].decode("utf-8-sig").replace("\r\n", "\n")))
            except UnicodeDecodeError:
                wrong.append(f"{name}: is not UTF-8")
    found.sort(key=lambda file: file.number)
    for before, after in pairwise(found):
        if before.number == after.number:
            wrong.append(f"{after.name}: has the number of {before.name}")
        elif after.number != before.number + 1:
            wrong.append(f"{after.name}: number {before.number + 1} is missing before it")
    if wrong:
        raise DeployError(
            "migrations: " + "; ".join(wrong), hint="number the files without a gap, and commit them again"
        )
    return found


@dataclass(frozen=True, slots=True)
class Ground:
    """What statements are placed and judged by. pinned: table (lower-case) → the shard that has it now."""

    layout: Layout
    pinned: Mapping[str, str]
    present: Present

    def shards_of(self, table: str) -> tuple[str, ...] | None:
        """Where a table is, or belongs; None for one that the file does not declare."""
        placed = self.layout.tables.get(table.lower())
        if placed is None:
            return None
        if isinstance(placed, Pinned):
            return (self.pinned.get(table.lower(), placed.shard),)
        return self.layout.shards


def statements(file: File, ground: Ground) -> list[Statement]:
    """What a file does, and where. Raises DeployError with every mistake in it, each with its remedy."""
    dialect = ground.layout.dialect.engine.value
    named = _declared(file)
    found, wrong = list[Statement](), list[str]()
    try:
        pieces = list(_split(file.text, dialect))
    except SqlglotError:
        raise DeployError(f"{file.name}: cannot be read as SQL", hint="look for a quote that is not closed") from None
    for line, sql in pieces:
        try:
            found.append(_placed(sql, named, ground, dialect, contract=file.contract))
        except _Refused as refused:
            wrong.append(f"{file.name}:{line}: {refused}")
    if "/*!" in file.text or "/*M!" in file.text:
        wrong.append(f"{file.name}: what /*! … */ does depends on the server; write it plainly")
    elif not pieces:
        wrong.append(f"{file.name}: holds no statement")
    if wrong:
        raise DeployError("\n".join(wrong), hint="mend the file, and commit it again")
    return found


class _Refused(Exception):
    """One statement that may not run, and the remedy."""


def _declared(file: File) -> tuple[str, ...]:
    found = _TABLES.search(file.text)
    if not found:
        return ()
    names = tuple(name.strip() for name in found[1].split(",") if name.strip())
    if not names or not all(_IDENTIFIER.fullmatch(name) for name in names):
        raise DeployError(f"{file.name}: `-- tables:` names no tables", hint="-- tables: users, deposits")
    return names


def _split(text: str, dialect: str) -> Iterator[tuple[int, str]]:
    """(line, statement) of each, without its semicolon; comments before it belong to it."""
    start, first = 0, None
    for token in sqlglot.tokenize(text, read=dialect):
        if token.token_type == TokenType.SEMICOLON:
            if first is not None:
                yield text.count("\n", 0, first) + 1, text[start : token.start].strip()
            start, first = token.end + 1, None
        elif first is None:
            first = token.start
    if first is not None:
        yield text.count("\n", 0, first) + 1, text[start:].strip()


def _parsed(sql: str, dialect: str) -> exp.Expr | None:
    try:
        tree = sqlglot.parse_one(sql, dialect=dialect)
    except SqlglotError:
        return None
    return None if isinstance(tree, exp.Command) else tree


def _placed(sql: str, named: Sequence[str], ground: Ground, dialect: str, *, contract: bool) -> Statement:
    word = re.sub(r"(?s)^(?:\s|--[^\n]*\n|#[^\n]*\n|/\*.*?\*/)*", "", sql).split(None, 1)[0].upper()
    if word in NOT_A_MIGRATION:
        raise _Refused(f"{word} is no change of tables: {NOT_A_MIGRATION[word]}")
    if _CODE.search(sql):
        raise _Refused(CODE)
    tree = _parsed(sql, dialect)
    if tree is None and not named:
        raise _Refused("cannot be read; say which tables it is about in a line `-- tables: a, b`, or write it simpler")
    if tree is not None:
        judged = expands(tree, ground.present)
        if judged is Judged.NEVER:
            raise _Refused(
                "triggers, views, procedures and events are not run by migrations: moves copy rows, not code"
            )
        if judged is not Judged.EXPANDS and not contract:
            raise _Refused(
                f"{judged.value}: the release that still runs would fail; call the file …{CONTRACT}, which runs at the"
                " deploy after this one, once no release needs it"
            )
    elif not contract:
        raise _Refused(f"cannot be judged; write it simpler, or call the file …{CONTRACT}")
    tables = tuple(named) or _tables(tree)
    ddl = tree is None or not isinstance(tree, exp.Insert | exp.Update | exp.Delete)
    if tree is not None:
        _rows(tree, tables, ground)
        placed = ground.layout.tables.get(tables[0].lower()) if tables else None
        if why := trouble(tree, placed, mysql=ground.layout.dialect is MYSQL):
            raise _Refused(why)
    return Statement(sql, _shards(tables, ground, renames=contract), ddl)


def _tables(tree: exp.Expr | None) -> tuple[str, ...]:
    assert tree is not None  # noqa: S101
    defined = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    index = tree.this if isinstance(tree, exp.Drop) and tree.args.get("kind") == "INDEX" else None
    names = [
        table.name for table in tree.find_all(exp.Table) if table.name.lower() not in defined and table is not index
    ]
    if isinstance(tree, exp.Alter) and any(isinstance(act, exp.AlterRename) for act in tree.args.get("actions") or ()):
        names = names[:1]
    return tuple(dict.fromkeys(names))


def _shards(tables: Sequence[str], ground: Ground, *, renames: bool) -> tuple[str, ...]:
    if not tables:
        raise _Refused("names no table; say which it is about in a line `-- tables: a, b`")
    found: dict[str, tuple[str, ...]] = {}
    for table in tables:
        if table.lower().startswith(OWN_PREFIX):
            raise _Refused(f"{table} is Tenfold's own table; leave it to Tenfold")
        shards = ground.shards_of(table)
        if shards is None:
            raise _Refused(
                f"no one declared the table {table}; name it in tenfold.toml: under [database.groups.…] tables,"
                " [database.pinned] or [database.reference]"
            )
        if not isinstance(ground.layout.tables[table.lower()], Referenced) or len(tables) == 1:
            found[table] = shards
    places = set(found.values()) or {ground.layout.shards}
    if len(places) > 1:
        said = "; ".join(f"{table} is on {', '.join(shards)}" for table, shards in found.items())
        raise _Refused(f"its tables are not in one place ({said}); write a statement for each")
    return places.pop()


def _rows(tree: exp.Expr, tables: Sequence[str], ground: Ground) -> None:
    """Raises _Refused for rows that would be written where they do not belong, or differ from shard to shard."""
    if not isinstance(tree, exp.Insert | exp.Update | exp.Delete) or not tables:
        return
    target = ground.layout.tables.get(tables[0].lower())
    if isinstance(target, Grouped):
        if isinstance(tree, exp.Insert):
            raise _Refused(
                f"INSERT into {target.table} would write the row on every shard; insert through tenfold.connect()"
            )
        if isinstance(tree, exp.Update):
            written = {
                column.name.lower()
                for one in tree.expressions
                if isinstance(one, exp.EQ)
                for column in [one.this]
                if isinstance(column, exp.Column)
            }
            if target.key.lower() in written:
                raise _Refused(f"{target.key} is the shard key of {target.table}: its rows would be on the wrong shard")
    if isinstance(target, Referenced):
        others = [name for name in tables[1:] if not isinstance(ground.layout.tables.get(name.lower()), Referenced)]
        if others:
            raise _Refused(f"{target.table} would differ from shard to shard, as {', '.join(others)} does")
        if _chance(tree):
            raise _Refused(f"{target.table} would differ from shard to shard; write the value instead of the function")


_BY_CHANCE = {"now", "uuid", "rand", "random", "randomblob", "sysdate", "last_insert_id", "connection_id"}


def _chance(tree: exp.Expr) -> bool:
    if tree.find(exp.CurrentTimestamp, exp.CurrentDate, exp.CurrentTime, exp.Rand, exp.Uuid):
        return True
    return any(call.name.lower() in _BY_CHANCE for call in tree.find_all(exp.Anonymous))
