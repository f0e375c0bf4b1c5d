"""What hypothesis makes up for the oracle: rows, and statements of every shape that is supported. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

Rows = dict[str, list[tuple[Any, ...]]]

# Few of each, so that statements meet rows, values are taken, and keys coincide.
KEYS = st.integers(1, 9)
EMAILS = st.sampled_from([f"{name}@x" for name in "abcdefgh"])
NAMES = st.sampled_from(["ann", "bob", "Zoë", "it's", "", None])
AMOUNTS = st.one_of(st.integers(-5, 5), st.sampled_from([None, 0.5, "x"]))
HANDLES = st.sampled_from(["ann", "Ann", "ann ", "42", "Zoë", "日本"])
CODES = st.sampled_from(["CHF", "EUR", "USD"])
# The ways in which an application may write one key.
SPELT = KEYS.flatmap(lambda key: st.sampled_from([key, str(key), f"0{key}", f" {key} ", float(key)]))


@dataclass(frozen=True)
class DepositId:
    """Stands for the id of the nth deposit there is, which only Tenfold knows."""

    nth: int


@dataclass(frozen=True)
class Ask:
    """One statement; `rows` for executemany; `draws`: the table whose ids Tenfold draws for it."""

    shape: str
    sql: str
    params: tuple[Any, ...] = ()
    rows: tuple[tuple[Any, ...], ...] | None = None
    draws: str | None = None


@st.composite
def rows(draw: st.DrawFn) -> Rows:
    """Rows of every table, without the ids of deposits."""
    keys = draw(st.lists(KEYS, unique=True, max_size=8))
    emails = draw(st.permutations([f"{name}@x" for name in "abcdefgh"]))

    def some(*parts: st.SearchStrategy[Any], unique: int = 0) -> list[tuple[Any, ...]]:
        by = (lambda row: row[:unique]) if unique else None
        return draw(st.lists(st.tuples(*parts), max_size=6, unique_by=by))

    return {
        "users": [(key, emails[place], draw(NAMES), draw(NAMES), key * 10) for place, key in enumerate(keys)],
        "user_meta": some(KEYS, st.sampled_from("xy"), AMOUNTS, unique=2),
        "deposits": some(KEYS, AMOUNTS, CODES, NAMES) + some(KEYS, AMOUNTS, CODES, NAMES),
        "notes": some(KEYS, NAMES),
        "people": some(HANDLES, NAMES, unique=1),
        "follows": some(HANDLES, HANDLES),
        "posts": some(st.integers(1, 99), KEYS, NAMES, unique=1),
        "currencies": some(CODES, NAMES, KEYS, unique=1),
    }


def asks(shape: str, sql: str, *params: st.SearchStrategy[Any], draws: str | None = None) -> st.SearchStrategy[Ask]:
    """A statement with its parameters made up."""
    return st.tuples(*params).map(lambda found: Ask(shape, sql, found, draws=draws))


def many(shape: str, sql: str, *params: st.SearchStrategy[Any]) -> st.SearchStrategy[Ask]:
    """An executemany with its rows made up."""
    listed = st.lists(st.tuples(*params), min_size=1, max_size=5)
    return listed.map(lambda found: Ask(shape, sql, rows=tuple(found)))


DEPOSIT_IDS = st.integers(0, 20).map(DepositId)
BY_KEY = st.one_of(
    asks("select by key", "SELECT * FROM deposits WHERE user_id = ? ORDER BY amount DESC, id LIMIT 3", SPELT),
    asks("select by key", "SELECT count(*), total(amount), max(note) FROM deposits WHERE user_id = ?", SPELT),
    asks("select by key", "SELECT currency, 1 FROM deposits WHERE user_id = ? GROUP BY 1 HAVING count(*) > 1", SPELT),
    asks("select by key", "SELECT DISTINCT currency FROM deposits WHERE ? = user_id AND amount > ?", SPELT, AMOUNTS),
    asks("select by key", "SELECT bio FROM people WHERE handle = ?", st.one_of(HANDLES, st.just(42))),
    asks("select by key", "SELECT body FROM notes WHERE user_id IN (?)", SPELT),
    asks("join by key", "SELECT * FROM users u JOIN deposits d ON d.user_id = u.id WHERE u.id = ?", SPELT),
    asks("join by key", "SELECT name, body FROM notes n LEFT JOIN users u ON u.id = user_id WHERE user_id = ?", SPELT),
    asks("join by key", "SELECT * FROM notes JOIN user_meta USING (user_id) WHERE user_meta.user_id = ?", SPELT),
    asks("join by key", "SELECT name, id FROM deposits d, currencies WHERE d.user_id = ? AND code = currency", SPELT),
    asks(
        "sub-query by key",
        "SELECT name, (SELECT count(*) FROM deposits d WHERE d.user_id = u.id) FROM users u WHERE u.id = ?",
        SPELT,
    ),
    asks(
        "sub-query by key",
        "SELECT * FROM users WHERE id = ? AND EXISTS (SELECT 1 FROM notes WHERE user_id = users.id AND body = ?)",
        SPELT,
        NAMES,
    ),
)  # fmt: skip
ELSEWHERE = st.one_of(
    asks("in list", "SELECT * FROM notes WHERE user_id IN (?, ?, 3)", SPELT, SPELT),
    asks("in list", "SELECT handle, bio FROM people WHERE handle IN (?, ?) AND bio IS NOT NULL", HANDLES, HANDLES),
    asks("by email", "SELECT * FROM users WHERE email = ?", EMAILS),
    asks("by email", "SELECT count(*), max(id) FROM users WHERE email = ? AND score > ?", EMAILS, AMOUNTS),
    asks("by id", "SELECT * FROM deposits WHERE id = ?", DEPOSIT_IDS),
    asks("by id", "SELECT amount FROM deposits WHERE id = ? AND user_id = ?", DEPOSIT_IDS, SPELT),
    asks("pinned", "SELECT author, count(*) FROM posts WHERE title <> ? GROUP BY author ORDER BY 2, 1 LIMIT 2", NAMES),
    asks("pinned", "SELECT p.id, c.code FROM posts p LEFT JOIN currencies c ON c.user_id = p.author AND id > ?", KEYS),
    asks("reference", "SELECT count(*), min(name) FROM currencies WHERE user_id < ?", KEYS),
    asks("no table", "SELECT ? + 1 AS n, upper('x')", AMOUNTS),
)
INSERTS = st.one_of(
    asks("insert", "INSERT INTO notes (user_id, body) VALUES (?, ?)", SPELT, NAMES),
    asks("insert", "INSERT INTO notes (body, user_id) VALUES (?, 4), (?, '04')", NAMES, NAMES),
    asks("insert", "INSERT INTO people VALUES (?, ?)", HANDLES, NAMES),
    asks("insert", "INSERT INTO users (id, email, score) VALUES (?, ?, 1)", KEYS, EMAILS),
    asks("insert", "INSERT INTO currencies VALUES (?, ?, ?)", CODES, NAMES, KEYS),
    asks("insert", "INSERT INTO posts (id, author) VALUES (?, ?)", KEYS, KEYS),
    asks("upsert", "INSERT OR IGNORE INTO user_meta VALUES (?, 'x', ?)", SPELT, AMOUNTS),
    asks("upsert", "REPLACE INTO user_meta (value, user_id, name) VALUES (?, ?, 'y')", AMOUNTS, SPELT),
    asks(
        "upsert",
        "INSERT INTO user_meta VALUES (?, ?, ?) ON CONFLICT (user_id, name) DO UPDATE SET value = excluded.value",
        SPELT,
        st.sampled_from("xy"),
        AMOUNTS,
    ),
    asks("insert draws id", "INSERT INTO deposits (user_id, amount) VALUES (?, ?)", SPELT, AMOUNTS, draws="deposits"),
    asks(
        "insert draws id",
        "INSERT INTO deposits (note, user_id, amount) VALUES (?, 2, (?)), ('(?)', 02, ?)",
        NAMES,
        AMOUNTS,
        AMOUNTS,
        draws="deposits",
    ),
    asks("insert draws id", "INSERT INTO users (email, name) VALUES (?, ?)", EMAILS, NAMES, draws="users"),
    many("executemany", "INSERT INTO notes VALUES (?, ?)", SPELT, NAMES),
    many("executemany", "INSERT OR IGNORE INTO user_meta VALUES (?, 'x', ?)", KEYS, AMOUNTS),
    many("executemany", "UPDATE deposits SET amount = ? WHERE user_id = ?", AMOUNTS, SPELT),
    many("executemany", "DELETE FROM deposits WHERE id = ? AND user_id = user_id", DEPOSIT_IDS),
)
CHANGES = st.one_of(
    asks("update by key", "UPDATE deposits SET amount = ?, note = note || '!' WHERE user_id = ?", AMOUNTS, SPELT),
    asks("update by key", "UPDATE users SET name = ? WHERE id = ? AND score > ? RETURNING id", NAMES, SPELT, AMOUNTS),
    asks("update by key", "UPDATE users SET email = ?, name = ? WHERE id = ?", EMAILS, NAMES, SPELT),
    asks("update by email", "UPDATE users SET email = ? WHERE email = ?", EMAILS, EMAILS),
    asks("update by email", "UPDATE users SET score = score + 1 WHERE email = ? RETURNING score", EMAILS),
    asks("update by id", "UPDATE deposits SET note = ? WHERE id = ?", NAMES, DEPOSIT_IDS),
    asks("update elsewhere", "UPDATE currencies SET name = ? WHERE code = ?", NAMES, CODES),
    asks("update elsewhere", "UPDATE posts SET title = (SELECT max(name) FROM currencies) WHERE author > ?", KEYS),
    asks("delete by key", "DELETE FROM notes WHERE user_id = ? AND body IS NOT ?", SPELT, NAMES),
    asks("delete by key", "DELETE FROM users WHERE id = ? RETURNING email", SPELT),
    asks("delete by email", "DELETE FROM users WHERE email = ?", EMAILS),
    asks("delete by id", "DELETE FROM deposits WHERE id = ? AND amount IS NOT NULL", DEPOSIT_IDS),
    asks("delete elsewhere", "DELETE FROM currencies WHERE user_id = ?", KEYS),
)  # fmt: skip
VALUES = st.sampled_from(["1", "2", "'02'", "3.0", "NULL", "'ann'", "-1", "user_id", "user_id + 1", "0", "''"])
COLUMNS = st.sampled_from(["user_id", "amount", "note", "currency", "id", "+user_id", "deposits.user_id"])
ATOMS = st.one_of(
    st.tuples(COLUMNS, st.sampled_from(["=", "<>", "<", ">=", "IS", "IS NOT", "=="]), VALUES).map(" ".join),
    st.tuples(COLUMNS, st.sampled_from(["IN", "NOT IN"]), st.lists(VALUES, max_size=3)).map(
        lambda found: f"{found[0]} {found[1]} ({', '.join(found[2])})"
    ),
    COLUMNS.map(lambda column: f"{column} BETWEEN 1 AND 3"),
    COLUMNS.map(lambda column: f"{column} ISNULL"),
    COLUMNS.map(lambda column: f"{column} LIKE 'a%'"),
    COLUMNS.map(lambda column: f"CASE WHEN {column} = 1 THEN user_id = 2 ELSE user_id END"),
)
CONDITIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" AND ", " OR ", " = ", " AND NOT "]), inner).map("".join),
        inner.map(lambda found: f"({found})"),
        inner.map(lambda found: f"NOT {found}"),
    ),
    max_leaves=4,
)
SCATTERS = CONDITIONS.map(lambda where: Ask("scatter", f"SELECT user_id, note, amount + 1 FROM deposits WHERE {where}"))
BOUND = st.one_of(CONDITIONS, CONDITIONS.map(lambda found: f"user_id = '02' AND ({found})"))
WRITES = st.one_of(
    BOUND.map(lambda where: Ask("write by any condition", f"UPDATE deposits SET note = '?' WHERE {where}")),
    BOUND.map(lambda where: Ask("write by any condition", f"DELETE FROM deposits WHERE {where} RETURNING id")),
)
# Kinds first, so that each has its share however many statements it lists.
STATEMENTS = st.sampled_from([BY_KEY, ELSEWHERE, INSERTS, CHANGES, SCATTERS, WRITES]).flatmap(lambda kind: kind)
