"""What the JSON API answers with. Pure.

Ids are text, because JavaScript loses integers above 2**53 and Tenfold's have 63 bits. Amounts are whole
numbers of the currency's smallest unit, and stay below 2**53. Times are ISO 8601, UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from tenfold.demo.ledger.records import Comment, Entry, Movement, Page, Person, Post, Transfer

Json = dict[str, Any]
Listed = TypeVar("Listed", Entry, Post, Comment)


def person(of: Person) -> Json:
    """Without the balance, which changes by the second."""
    return {"id": str(of.id), "email": of.email, "name": of.name, "currency": of.currency}


def signed_in(of: Person, token: str, csrf: str) -> Json:
    """token: for Authorization: Bearer; csrf: for X-CSRF-Token beside the cookie."""
    return {"user": person(of), "token": token, "csrf": csrf}


def profile(of: Person, balance: int, meta: Mapping[str, str], csrf: str) -> Json:
    """All that the signed-in person may see of themselves."""
    return {"user": {**person(of), "balance": balance, "meta": dict(meta)}, "csrf": csrf}


def movement(of: Movement, balance: int) -> Json:
    """A deposit or withdrawal, and what the wallet holds now."""
    return {
        of.kind: {"id": str(of.id), "amount": of.amount, "note": of.note, "created_at": moment(of.created_at)},
        "balance": balance,
    }


def transfer(of: Transfer, balance: int) -> Json:
    """state is "done", or "pending" while the receiver has not been credited."""
    shown = {
        "id": str(of.id),
        "amount": of.amount,
        "receiver": {"id": str(of.receiver_id), "name": of.receiver},
        "note": of.note,
        "state": "done" if of.done else "pending",
        "created_at": moment(of.created_at),
    }
    return {"transfer": shown, "balance": balance}


def entry(of: Entry) -> Json:
    """A line of the history; amount is negative when money left the wallet."""
    return {
        "id": str(of.id),
        "amount": of.amount,
        "kind": of.kind,
        "ref": str(of.ref),
        "party": of.party,
        "note": of.note,
        "created_at": moment(of.created_at),
    }


def post(of: Post) -> Json:
    """A post."""
    return {
        "id": str(of.id),
        "title": of.title,
        "body": of.body,
        "author": of.author,
        "created_at": moment(of.created_at),
    }


def page(of: Page) -> Json:
    """A page."""
    return {
        "id": str(of.id),
        "slug": of.slug,
        "title": of.title,
        "body": of.body,
        "updated_at": moment(of.updated_at),
    }


def comment(of: Comment) -> Json:
    """A comment."""
    return {"id": str(of.id), "author": of.author, "body": of.body, "created_at": moment(of.created_at)}


def next_before(listed: Sequence[Listed], limit: int) -> str | None:
    """What to send as `before` for the rows after these; None when there are none.

    listed  one more than `limit`, if there are so many
    """
    return str(listed[limit - 1].id) if len(listed) > limit else None


def moment(at_ms: int) -> str:
    """ISO 8601 with milliseconds."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
