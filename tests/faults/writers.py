"""Processes that write through tenfold.connect until they are killed. Edge."""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from contextlib import suppress
from pathlib import Path

import tenfold
from tenfold.errors import ConstraintError, NodeError, RoutingError, TenfoldError

FORK = multiprocessing.get_context("fork")  # the modules are loaded already: a new writer is there at once
ADDRESSES = [f"{name}@example.org" for name in ("ada", "bob", "cyd", "dan", "eve")]


def write_for_ever(file: Path, seed: int) -> None:
    """Sign up, rename and delete users with few addresses, alone and in transactions, until the end."""
    drawn = random.Random(seed)
    own: list[int] = []
    db = tenfold.connect(file)
    while True:
        with suppress(ConstraintError, NodeError):
            _one(db, drawn, own)


def _one(db: tenfold.Database, drawn: random.Random, own: list[int]) -> None:
    what, address = drawn.random(), drawn.choice(ADDRESSES)
    if what < 0.35 or not own:
        own.append(db.execute("INSERT INTO users (email) VALUES (?)", (address,)).lastrowid or 0)
    elif what < 0.5:
        _in_transaction(db, drawn, own, address)
    elif what < 0.75:
        db.execute("UPDATE users SET email = ? WHERE id = ?", (address, drawn.choice(own)))
    elif what < 0.85:
        with suppress(RoutingError):
            db.execute("DELETE FROM users WHERE email = ?", (address,))
    else:
        db.execute("DELETE FROM users WHERE id = ?", (own.pop(drawn.randrange(len(own))),))


def _in_transaction(db: tenfold.Database, drawn: random.Random, own: list[int], address: str) -> None:
    user = db.new_id("users")
    with suppress(ZeroDivisionError), db.transaction() as tx:
        tx.execute("INSERT INTO deposits (user_id, amount) VALUES (?, 1)", (user,))
        with suppress(ConstraintError):
            tx.execute("INSERT INTO users (id, email) VALUES (?, ?)", (user, address))
        if drawn.random() < 0.5:
            raise ZeroDivisionError
    own.append(user)


def sign_up_at_once(file: Path, email: str, threads: int, at_s: float, said: Path) -> None:
    """All threads sign the same address up when the monotonic clock says `at_s`; `said` gets a line with the id
    of each that could. Clock and file, since a process killed with the lock of an event or a queue stops the rest."""
    db = tenfold.connect(file)

    def sign_up() -> None:
        time.sleep(max(0.0, at_s - time.monotonic()))
        for _ in range(20):
            try:
                row_id = db.execute("INSERT INTO users (email) VALUES (?)", (email,)).lastrowid
                with said.open("a") as file:
                    file.write(f"{row_id}\n")
                return
            except TenfoldError as error:
                if not error.retryable:
                    return

    running = [threading.Thread(target=sign_up, daemon=True) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    db.close()
