"""What the ledger keeps, as the app passes it around. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Topic = Literal["post", "page"]
"""What a comment is about."""


@dataclass(frozen=True, slots=True)
class Person:
    """A user, without balance (always asked afresh) and without password."""

    id: int
    email: str
    name: str
    currency: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A movement on a wallet. amount is negative when money left; ref is the id of the deposit, withdrawal or
    transfer behind it; party is the other side; created_at in milliseconds since 1970, UTC."""

    id: int
    amount: int
    kind: str
    ref: int
    party: str
    note: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Movement:
    """A deposit or a withdrawal; replayed when it was done by an earlier request with the same key."""

    id: int
    kind: Literal["deposit", "withdrawal"]
    amount: int
    note: str
    created_at: int
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Transfer:
    """Money sent to another user. done: whether it has arrived; if not, it will within seconds."""

    id: int
    sender_id: int
    sender: str
    receiver_id: int
    receiver: str
    amount: int
    note: str
    created_at: int
    done: bool
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Post:
    """News of the site."""

    id: int
    title: str
    body: str
    author: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Page:
    """A standing page of the site, found by its slug."""

    id: int
    slug: str
    title: str
    body: str
    updated_at: int


@dataclass(frozen=True, slots=True)
class Comment:
    """What someone wrote under a post or page."""

    id: int
    author: str
    body: str
    created_at: int
