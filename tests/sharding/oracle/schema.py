"""The tables that the oracle's statements are about, as each engine declares them, and where they live. Pure."""

from __future__ import annotations

SHARDS = ("shard_0", "shard_1", "shard_2")
_CI = "VARCHAR(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"
_PAD = "VARCHAR(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
_KEY = "VARCHAR(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"

# table → column → (as SQLite has it, as MariaDB has it). Names ignore case in both, cities only on neither:
# utf8mb4_bin tells cases apart, but not 'rome' from 'rome ' (PAD SPACE). `notes` has no primary key.
_TABLES: dict[str, dict[str, tuple[str, str]]] = {
    "users": {
        "id": ("INTEGER PRIMARY KEY", "BIGINT NOT NULL PRIMARY KEY"),
        "email": ("TEXT NOT NULL UNIQUE", f"{_KEY} NOT NULL UNIQUE"),
        "name": ("TEXT COLLATE NOCASE", _CI),
        "city": ("TEXT", _PAD),
        "score": ("INTEGER", "INT"),
        "rate": ("REAL", "DOUBLE"),
    },
    "deposits": {
        "id": ("INTEGER PRIMARY KEY", "BIGINT NOT NULL PRIMARY KEY"),
        "user_id": ("INTEGER NOT NULL", "BIGINT NOT NULL"),
        "amount": ("INTEGER CHECK (amount <> 666)", "INT CHECK (amount <> 666)"),
        "price": ("NUMERIC", "DECIMAL(12,2)"),
        "currency": ("TEXT", "CHAR(3) CHARACTER SET ascii COLLATE ascii_bin"),
        "note": ("TEXT COLLATE NOCASE", _CI),
        "made": ("TEXT", "DATETIME(6)"),
    },
    "notes": {
        "user_id": ("INTEGER NOT NULL", "BIGINT NOT NULL"),
        "body": ("TEXT COLLATE RTRIM", _CI),
        "stars": ("INTEGER", "SMALLINT UNSIGNED"),
    },
    "user_meta": {
        "user_id": ("INTEGER NOT NULL", "BIGINT NOT NULL"),
        "name": ("TEXT NOT NULL", f"{_KEY} NOT NULL"),
        "value": ("", "VARCHAR(60)"),
    },
    "banned": {"user_id": ("INTEGER NOT NULL PRIMARY KEY", "BIGINT NOT NULL PRIMARY KEY")},
    "kinds": {
        "user_id": ("INTEGER NOT NULL", "BIGINT NOT NULL"),
        "n": ("INTEGER NOT NULL", "INT NOT NULL"),
        "big": ("INTEGER", "BIGINT"),
        "exact": ("NUMERIC", "DECIMAL(20,6)"),
        "rough": ("REAL", "FLOAT"),
        "day": ("TEXT", "DATE"),
        "clock": ("TEXT", "TIME(3)"),
        "size": ("TEXT", "ENUM('small','medium','large')"),
        "tags": ("TEXT", "SET('b','a','c')"),
        "data": ("BLOB", "VARBINARY(40)"),
        "bits": ("INTEGER", "BIT(9)"),
        "born": ("INTEGER", "YEAR"),
        "fixed": ("BLOB", "BINARY(3)"),
        "wide": ("INTEGER", "BIGINT UNSIGNED"),
        "stamp": ("TEXT", "TIMESTAMP(3) NULL DEFAULT NULL"),
        "doc": ("TEXT", "JSON"),
    },
    "people": {"handle": ("TEXT PRIMARY KEY", f"{_KEY} PRIMARY KEY"), "bio": ("TEXT", _CI)},
    "follows": {"handle": ("TEXT NOT NULL", f"{_KEY} NOT NULL"), "other": ("TEXT", _KEY)},
    "fans": {"who": ("TEXT NOT NULL", f"{_KEY} NOT NULL"), "note": ("TEXT", _CI)},
    "clubs": {"oid": ("INTEGER PRIMARY KEY", "BIGINT NOT NULL PRIMARY KEY"), "title": ("TEXT", _PAD)},
    "members": {"club": ("INTEGER NOT NULL", "BIGINT NOT NULL"), "who": ("TEXT", _KEY)},
    "tokens": {"token": ("UUID PRIMARY KEY", "UUID PRIMARY KEY"), "n": ("INTEGER", "INT")},
    "token_uses": {"token": ("UUID NOT NULL", "UUID NOT NULL"), "m": ("INTEGER", "INT")},
    "raws": {"k": ("BLOB PRIMARY KEY", "VARBINARY(20) PRIMARY KEY"), "n": ("INTEGER", "INT")},
    "raw_uses": {"k": ("BLOB NOT NULL", "VARBINARY(20) NOT NULL"), "m": ("INTEGER", "INT")},
    "wides": {
        "id": ("INTEGER PRIMARY KEY", "BIGINT UNSIGNED NOT NULL PRIMARY KEY"),
        "n": ("INTEGER", "INT"),
        "flag": ("INTEGER NOT NULL DEFAULT 7", "INT NOT NULL DEFAULT 7"),
        "twice": ("INTEGER GENERATED ALWAYS AS (n * 2)", "BIGINT GENERATED ALWAYS AS (n * 2)"),
    },
    "wide_uses": {"wide": ("INTEGER NOT NULL", "BIGINT UNSIGNED NOT NULL"), "m": ("INTEGER", "INT")},
    "posts": {
        "id": ("INTEGER PRIMARY KEY", "BIGINT NOT NULL PRIMARY KEY"),
        "author": ("INTEGER", "BIGINT"),
        "title": ("TEXT COLLATE NOCASE", _CI),
    },
    "options": {"name": ("TEXT PRIMARY KEY", f"{_KEY} PRIMARY KEY"), "value": ("INTEGER", "INT")},
    "currencies": {
        "code": ("TEXT PRIMARY KEY", "CHAR(3) CHARACTER SET ascii COLLATE ascii_bin PRIMARY KEY"),
        "name": ("TEXT", _CI),
        "user_id": ("INTEGER", "BIGINT"),
    },
    "places": {
        "id": ("INTEGER PRIMARY KEY", "INT NOT NULL PRIMARY KEY"),
        "parent": ("INTEGER", "INT"),
        "name": ("TEXT", _PAD),
    },
}
_KEYS = {
    "user_meta": "PRIMARY KEY (user_id, name)",
    "kinds": "PRIMARY KEY (user_id, n)",
    "token_uses": "FOREIGN KEY (token) REFERENCES tokens (token) ON DELETE CASCADE",
}
TABLES = tuple(_TABLES)
DRAWS = ("users", "deposits")
# Those that an INSERT may name: `twice` is computed.
COLUMNS = {table: tuple(name for name in columns if name != "twice") for table, columns in _TABLES.items()}
PINNED = {"posts": "shard_2", "options": "shard_1"}
REFERENCE = ("currencies", "places")
# table → its shard key
KEY = {
    "users": "id", "deposits": "user_id", "notes": "user_id", "user_meta": "user_id", "banned": "user_id",
    "kinds": "user_id", "people": "handle", "follows": "handle", "fans": "who", "clubs": "oid", "members": "club",
    "tokens": "token", "token_uses": "token", "raws": "k", "raw_uses": "k", "wides": "id", "wide_uses": "wide",
}  # fmt: skip
_GROUPS = {"user_id": "user", "handle": "person", "club": "club", "token": "token", "k": "raw", "wide": "wide"}
GROUP = {"users": "user_id", "people": "handle", "fans": "handle", "clubs": "club", "wides": "wide"}


def create(table: str, engine: str, *, numbering: bool = False) -> str:
    """The CREATE TABLE of a table; engine: "sqlite" or "mysql". numbering: the database gives the ids, not Tenfold."""
    place = 0 if engine == "sqlite" else 1
    parts = [f"{name} {declared[place]}".strip() for name, declared in _TABLES[table].items()]
    if numbering and place and table in DRAWS:
        parts[0] += " AUTO_INCREMENT"
    parts += [_KEYS[table]] if table in _KEYS else []
    return f"CREATE TABLE {table} ({', '.join(parts)})" + (" ENGINE=InnoDB" if place else "")


def indexes(engine: str) -> list[str]:
    """The indexes that a group's tables need on MariaDB, by the shard key."""
    if engine == "sqlite":
        return []
    return [
        f"CREATE INDEX by_{KEY[table]} ON {table} ({KEY[table]})"
        for table in ("deposits", "notes", "follows", "raw_uses", "wide_uses")
    ]


def toml(engine: str, shards: dict[str, str]) -> str:
    """The file of the platform; shards: name → the rest of its inline table."""
    lines = ["[platform]", 'name = "oracle"', "[app]", 'command = "app --port {port}"', "[database]"]
    lines += [f'engine = "{engine}"', "[database.shards]"]
    lines += [f"{name} = {{ {rest} }}" for name, rest in shards.items()]
    for key, name in _GROUPS.items():
        held = ", ".join(f'{t} = "{k}"' for t, k in KEY.items() if GROUP.get(t, k) == key)
        lines += [f"[database.groups.{name}]", f'key = "{key}"', f"tables = {{ {held} }}"]
        lines += ['unique = { users = ["email"] }'] if name == "user" else []
    lines += ["[database.pinned]", *(f'{shard} = ["{table}"]' for table, shard in PINNED.items())]
    lines += ["[database.reference]", "tables = [" + ", ".join(f'"{table}"' for table in REFERENCE) + "]"]
    return "\n".join(lines) + "\n"
