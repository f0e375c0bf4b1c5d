"""Writes the rows of the first run; stopped at any moment, the next run completes them and doubles nothing. Edge.

People are written in batches, and the option `seeded_users` says how many are done. Only the batch after
these can be there in part: its people are looked up, removed with their rows, and written again.
Articles, and the option that says so, are one transaction on their shard.
"""

from __future__ import annotations

from random import Random

from argon2 import PasswordHasher

import tenfold
from tenfold.demo.ledger.seed.articles import PAGES, POSTS, REMARKS
from tenfold.demo.ledger.seed.progress import progress
from tenfold.demo.ledger.seed.residents import CURRENCIES, DAY_MS, FIRST_DAY_MS, PASSWORD, email_of, street
from tenfold.demo.ledger.seed.rows import INSERTS, rows_of
from tenfold.demo.ledger.store.options import ADMIN

BATCH = 500
"""People a batch: what is written again after a crash. Within a batch people send each other money."""

_DONE, _ARTICLES, _CURRENCIES = "seeded_users", "seeded_articles", "seeded_currencies"


def seed(db: tenfold.Database, users: int, batch: int = BATCH) -> None:
    """Fill in what is missing of currencies, `users` people, and articles."""
    _currencies(db)
    done = int(_option(db, _DONE) or 0)
    if done < users:
        _people(db, done, users, batch)
    if users and _option(db, _ARTICLES) is None:
        _articles(db)


def _people(db: tenfold.Database, done: int, users: int, batch: int) -> None:
    # One hash for all: hashing each would take 20 minutes, and they share the password anyway.
    password_hash = PasswordHasher().hash(PASSWORD)
    noted = done
    with progress("people", users, done) as advance:
        while done < users:
            upto = min(users, done // batch * batch + batch)
            _batch(db, range(done + 1, upto + 1), password_hash, may_exist=done == noted)
            _set_option(db, _DONE, str(upto))
            advance(upto - done)
            done = upto


def _batch(db: tenfold.Database, numbers: range, password_hash: str, *, may_exist: bool) -> None:
    if may_exist:
        _remove(db, numbers)
    people = street(numbers, [Random(number) for number in numbers])  # noqa: S311  # meant to be foreseeable
    ids = {number: db.new_id("users") for number in numbers}
    rows = rows_of(people, ids, password_hash, db.new_id)
    for table, statement in INSERTS.items():
        if rows[table]:
            db.executemany(statement, rows[table])


def _remove(db: tenfold.Database, numbers: range) -> None:
    """Remove those of these people that a run before wrote and did not note as done; the users go last."""
    found = [db.execute("SELECT id FROM users WHERE email = ?", (email_of(number),)).scalar() for number in numbers]
    ids = [(user_id,) for user_id in found if user_id is not None]
    for table in reversed(INSERTS):
        key = "id" if table == "users" else "user_id"
        if ids:
            db.executemany(f"DELETE FROM {table} WHERE {key} = ?", ids)  # noqa: S608  # the names are those of INSERTS


def _currencies(db: tenfold.Database) -> None:
    if _option(db, _CURRENCIES) is not None:
        return
    for code, (name, digits) in CURRENCIES.items():
        # A crash may have left a currency on some of the shards: it goes first, so that all end up alike.
        db.execute("DELETE FROM currencies WHERE code = ?", (code,))
        db.execute("INSERT INTO currencies (code, name, digits) VALUES (?, ?, ?)", (code, name, digits))
    _set_option(db, _CURRENCIES, "yes")


def _articles(db: tenfold.Database) -> None:
    """All articles are by the first resident, who becomes the administrator if there is none."""
    author = db.execute("SELECT id, name FROM users WHERE email = ?", (email_of(1),)).first()
    people = [
        row
        for number in range(2, 12)
        if (row := db.execute("SELECT id, name FROM users WHERE email = ?", (email_of(number),)).first())
    ]
    if author is None:
        return
    admin = _option(db, ADMIN)
    at_ms = FIRST_DAY_MS
    with db.transaction() as tx:
        for title, body in POSTS:
            at_ms += 20 * DAY_MS
            post_id = tx.execute(
                "INSERT INTO posts (title, body, author_id, author, created_at) VALUES (?, ?, ?, ?, ?)",
                (title, body, author["id"], author["name"], at_ms),
            ).lastrowid
            for turn, person in enumerate(people):
                if (turn + len(title)) % 3 == 0:
                    tx.execute(
                        "INSERT INTO comments (topic, topic_id, author_id, author, body, created_at)"
                        " VALUES ('post', ?, ?, ?, ?, ?)",
                        (post_id, person["id"], person["name"], REMARKS[turn % len(REMARKS)], at_ms + turn * 3_600_000),
                    )
        for slug, title, body in PAGES:
            tx.execute(
                "INSERT INTO pages (slug, title, body, updated_at) VALUES (?, ?, ?, ?)", (slug, title, body, at_ms)
            )
        if admin is None:
            tx.execute("INSERT INTO options (name, value) VALUES (?, ?)", (ADMIN, str(author["id"])))
        tx.execute("INSERT INTO options (name, value) VALUES (?, ?)", (_ARTICLES, "yes"))


def _option(db: tenfold.Database, name: str) -> str | None:
    held = db.execute("SELECT value FROM options WHERE name = ?", (name,)).scalar()
    return None if held is None else str(held)


def _set_option(db: tenfold.Database, name: str, value: str) -> None:
    with db.transaction() as tx:
        tx.execute("DELETE FROM options WHERE name = ?", (name,))
        tx.execute("INSERT INTO options (name, value) VALUES (?, ?)", (name, value))
