"""What writers do to each other's addresses: small programs that meet on one value. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.faults.world import LEAVE, RENAME, SIGN_UP, SIGN_UP_TWO, Program, email_on, statements, transaction, user_on

# Users on the first and the second shard; addresses reserved on the first and the second.
A, A2, B, B2 = user_on("shard_0"), user_on("shard_0", 1), user_on("shard_1"), user_on("shard_1", 1)
X, Z, Y, W = email_on("shard_0"), email_on("shard_0", 1), email_on("shard_1"), email_on("shard_1", 1)


@dataclass(frozen=True)
class Case:
    """users: who is there before, by id; programs: what runs at once; switches: at most so many between writers
    in the short sample; works: whether some order lets something happen."""

    programs: tuple[Program, ...]
    users: dict[int, str] = field(default_factory=dict)
    switches: int = 2
    works: bool = True


CASES = {
    "two sign-ups on one shard": Case((statements((SIGN_UP, (A, X))), statements((SIGN_UP, (A2, X))))),
    "two sign-ups on two shards": Case((statements((SIGN_UP, (A, X))), statements((SIGN_UP, (B, X))))),
    "two signed up at once": Case(
        (statements((SIGN_UP_TWO, (A, X, A2, Y))), statements((SIGN_UP, (B, Y)), (SIGN_UP, (B2, X))))
    ),
    "two signed up at once within a transaction": Case(
        (transaction((SIGN_UP_TWO, (A, X, A2, Y)), (SIGN_UP_TWO, (A, Z, A2, X))), statements((SIGN_UP, (B, Y)))),
        switches=1,
    ),
    "two signed up at once on two shards": Case(
        (statements((SIGN_UP_TWO, (A, X, B, Y))), statements((SIGN_UP_TWO, (B2, X, A2, Z)))), switches=1
    ),
    "one leaves, another takes the address": Case((statements((LEAVE, (A,))), statements((SIGN_UP, (B, X)))), {A: X}),
    "one renamed twice at once": Case((statements((RENAME, (Y, A))), statements((RENAME, (Z, A)))), {A: X}, switches=1),
    "one renamed twice at once, address afar": Case(
        (statements((RENAME, (Y, B))), statements((RENAME, (Z, B)))), {B: X}, switches=1
    ),
    "two swap": Case((statements((RENAME, (Y, A))), statements((RENAME, (X, B)))), {A: X, B: Y}, works=False),
    "one passes its address on": Case((statements((RENAME, (Z, A))), statements((RENAME, (X, B)))), {A: X, B: Y}),
    "one renamed and deleted at once": Case((statements((LEAVE, (A,))), statements((RENAME, (Y, A)))), {A: X}),
    "one sets its address to nothing": Case(
        (statements((RENAME, (None, A))), statements((SIGN_UP, (B, X)), (LEAVE, (B,)))), {A: X}
    ),
    "a transaction that rolls back": Case(
        (transaction((SIGN_UP, (A, X)), (SIGN_UP, (A2, Z)), commits=False), statements((SIGN_UP, (B, X))))
    ),
    "a transaction that goes on after a refusal": Case(
        (transaction((SIGN_UP, (A2, Z)), (SIGN_UP, (A, X)), (RENAME, (Y, A))), statements((SIGN_UP, (B, X)))),
        {A: Z},
        switches=1,
    ),
    "a transaction that passes an address on within": Case(
        (transaction((LEAVE, (A,)), (SIGN_UP, (A2, X))), statements((SIGN_UP, (B, X)))), {A: X}
    ),
    "two transactions": Case(
        (
            transaction((RENAME, (W, A)), (SIGN_UP, (A2, Z))),
            transaction((RENAME, (Z, B)), (SIGN_UP, (B2, X)), commits=False),
        ),
        {A: X, B: Y},
        switches=1,
    ),
    "away and back while another renames": Case(
        (statements((RENAME, (Y, A))), statements((RENAME, (Z, A)), (RENAME, (X, A)))), {A: X}, switches=1
    ),
    "away and back while it is deleted": Case(
        (statements((LEAVE, (A,))), statements((RENAME, (Z, A)), (RENAME, (X, A)))), {A: X}
    ),
    "away, another's, and back": Case(
        (
            statements((RENAME, (Y, A))),
            statements((RENAME, (Z, A)), (SIGN_UP, (B, X)), (LEAVE, (B,)), (RENAME, (X, A))),
        ),
        {A: X},
        switches=1,
    ),
}
