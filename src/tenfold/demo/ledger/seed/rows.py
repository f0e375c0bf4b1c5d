"""Seeded residents as rows of the tables: ids come in as a function. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tenfold.demo.ledger.seed.residents import Event, Resident

NewId = Callable[[str, int], int]
"""(table, user id) → an id for a row of that user."""

# In the order in which they are written: users first, because by them the next run finds what a crash left.
INSERTS = {
    "users": "INSERT INTO users (id, email, name, password_hash, currency, balance, created_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)",
    "user_meta": "INSERT INTO user_meta (user_id, name, value) VALUES (?, ?, ?)",
    "deposits": "INSERT INTO deposits (id, user_id, amount, note, created_at) VALUES (?, ?, ?, ?, ?)",
    "withdrawals": "INSERT INTO withdrawals (id, user_id, amount, note, created_at) VALUES (?, ?, ?, ?, ?)",
    "outbox": "INSERT INTO outbox (id, user_id, receiver_id, amount, sender, receiver, note, created_at, done_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "credits": "INSERT INTO credits (user_id, transfer_id, amount, created_at) VALUES (?, ?, ?, ?)",
    "transactions": "INSERT INTO transactions (user_id, account, amount, kind, ref, party, note, created_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
}
Rows = dict[str, list[tuple[Any, ...]]]


def rows_of(people: Sequence[Resident], ids: dict[int, int], password_hash: str, new_id: NewId) -> Rows:
    """Table → rows for INSERTS. ids: number of each resident → user id."""
    rows: Rows = {table: [] for table in INSERTS}
    names = {person.number: person.name for person in people}
    transfers: dict[tuple[int, int], int] = {}
    for person in people:
        user_id = ids[person.number]
        rows["users"].append(
            (user_id, person.email, person.name, password_hash, person.currency, person.balance, person.joined_ms)
        )
        rows["user_meta"] += [(user_id, name, value) for name, value in person.meta.items()]
        for event in person.events:
            _event(rows, event, person, ids, names, transfers, new_id)
    return rows


def _event(
    rows: Rows,
    event: Event,
    person: Resident,
    ids: dict[int, int],
    names: dict[int, str],
    transfers: dict[tuple[int, int], int],
    new_id: NewId,
) -> None:
    user_id, at_ms, amount, note = ids[person.number], event.at_ms, event.amount, event.note
    entries = rows["transactions"]
    if event.kind in ("deposit", "withdrawal"):
        table = f"{event.kind}s"
        ref = new_id(table, user_id)
        rows[table].append((ref, user_id, amount, note, at_ms))
        entries.append((user_id, "wallet", event.signed, event.kind, ref, "", note, at_ms))
        entries.append((user_id, "bank", -event.signed, event.kind, ref, "", note, at_ms))
        return
    other, party = ids[event.other], names[event.other]
    if event.kind == "sent":
        ref = transfers[person.number, event.other] = new_id("outbox", user_id)
        rows["outbox"].append((ref, user_id, other, amount, person.name, party, note, at_ms, at_ms))
    else:
        ref = transfers[event.other, person.number]  # the sender comes first
        rows["credits"].append((user_id, ref, amount, at_ms))
    entries.append((user_id, "wallet", event.signed, "transfer", ref, party, note, at_ms))
