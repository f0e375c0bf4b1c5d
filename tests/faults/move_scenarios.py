"""What meets a move in the model: small sizes for every run of the tests, large ones for `make faults`. Pure."""

from __future__ import annotations

from tests.faults.move_state import Client, Op, Scenario


def one(*verbs: str, polls: bool = True, slowly: bool = False, lapses: bool = True, leased: bool = True) -> Client:
    """A router that does one thing after the other to row 0."""
    return Client(tuple(Op(((verb, 0),)) for verb in verbs), polls, slowly, lapses, leased)


def transaction(*does: tuple[str, int], polls: bool = True) -> Client:
    """A router that does all of it in one transaction."""
    return Client((Op(does, in_transaction=True),), polls)


def at_once(verb: str = "write") -> Client:
    """A router that polls, plans, writes and is answered in one step."""
    return Client((Op(((verb, 0),)),), at_once=True)


def offline(verb: str) -> Client:
    """A router that has neither the catalog nor a lease."""
    return one(verb, polls=False, leased=False)


SNAPSHOT = transaction(("snapshot", 0), ("update", 0))
PAIR = transaction(("write", 0), ("write", 1))

SMALL = {
    "a reader, and a write that it must not miss": Scenario((one("read"), at_once()), finish=False),
    "a reader whose polls take their time": Scenario((one("read", slowly=True), at_once()), finish=False),
    "a reader, and a move that is undone": Scenario((one("read"), at_once()), undo=True, finish=False),
    "a reader without the catalog": Scenario((offline("read"), at_once()), undo=True),
    "a scatter": Scenario((one("scatter"),), undo=True),
    "a scatter, and a move that is cancelled": Scenario((one("scatter"),), cancel=True, finish=False),
    "a scatter, and a row born meanwhile": Scenario((one("scatter"), at_once()), rows=(False,), finish=False),
    "a scatter without the catalog": Scenario((offline("scatter"),), cancel=True),
    "a scatter and two movers": Scenario((one("scatter", lapses=False),), movers=2, cancel=True, finish=False),
    "an update of a row born meanwhile": Scenario((one("update"), at_once()), rows=(False,), undo=True, finish=False),
    "an update of it and of another bucket": Scenario((one("several"), at_once()), rows=(False,), finish=False),
    "an update of it in an older snapshot": Scenario((SNAPSHOT, at_once()), rows=(False,), finish=False),
    "a writer, up to the cutover": Scenario((one("write"),), finish=False),
    "a writer, up to the end": Scenario((one("write"),), cancel=True, undo=True),
    "a writer without the catalog": Scenario((offline("write"),), undo=True),
    "a writer without the catalog, and two movers": Scenario((offline("write"),), movers=2, cancel=True),
    "two writes while marks are carried over": Scenario(
        (at_once(), at_once("update")), follow=True, cancel=True, undo=True
    ),
    "a delete while marks are carried over": Scenario((at_once("delete"), one("read")), follow=True, finish=False),
    "a transaction of two rows": Scenario((PAIR,), rows=(True, True), cancel=True),
    "a transaction that reads and writes": Scenario(
        (transaction(("read", 0), ("write", 0)), at_once()), cancel=True, finish=False
    ),
    "two movers": Scenario((), movers=2, cancel=True, undo=True, late=True),
    "two movers and a write": Scenario((at_once(),), movers=2, cancel=True, undo=True, follow=True),
    "two moves by two movers": Scenario((at_once(),), movers=2, cancel=True, again=True),
    "a writer, compared ahead": Scenario((one("write"),), finish=False, follow=True, ahead=True),
    "two writes while marks are carried over, compared ahead": Scenario(
        (at_once(), at_once("update")), follow=True, undo=True, ahead=True
    ),
    "a delete, compared ahead": Scenario((at_once("delete"), at_once()), follow=True, finish=False, ahead=True),
    "two movers, compared ahead": Scenario((at_once(),), movers=2, cancel=True, finish=False, follow=True, ahead=True),
}
"""Where each rule that is taken out is missed, too."""

_LOST = {"polls": False}
LARGE = {
    "two movers that start at once": Scenario((at_once(),), movers=2, cancel=True, undo=True, again=True, late=True),
    "a writer": Scenario((one("write"),), movers=2, cancel=True, undo=True, follow=True),
    "a delete": Scenario((one("delete"),), movers=2, cancel=True, undo=True, follow=True),
    "a write and a read, the catalog lost": Scenario(
        (one("write", "read", polls=False), at_once()), movers=2, cancel=True, undo=True, follow=True
    ),
    "a scatter, the catalog lost": Scenario(
        (one("scatter", polls=False), at_once()), rows=(False,), movers=2, cancel=True, undo=True, follow=True
    ),
    "a transaction, the catalog lost": Scenario(
        (transaction(("read", 0), ("write", 0), polls=False), at_once()), movers=2, cancel=True, undo=True, follow=True
    ),
    "a transaction of two rows": Scenario((PAIR,), rows=(True, True), movers=2, cancel=True, undo=True, follow=True),
    "a reader of two moves, the catalog lost": Scenario(
        (one("read", polls=False), at_once()), movers=2, cancel=True, undo=True, follow=True, again=True
    ),
    "a reader": Scenario((one("read"), at_once()), movers=2, cancel=True),
    "a scatter": Scenario((one("scatter"), at_once()), rows=(False,), movers=2, cancel=True),
    "an update": Scenario((one("update"), at_once()), rows=(False,), movers=2, cancel=True),
    "an update of two buckets": Scenario((one("several"), at_once()), rows=(False,), movers=2, cancel=True),
    "an update in an older snapshot": Scenario((SNAPSHOT, at_once()), rows=(False,), undo=True, cancel=True),
    "a reader, the move undone": Scenario((one("read"), at_once()), movers=2, undo=True, finish=False),
    "a scatter, the move undone": Scenario(
        (one("scatter"), at_once()), rows=(False,), movers=2, undo=True, finish=False
    ),
    "an update, the move undone": Scenario(
        (one("update"), at_once()), rows=(False,), movers=2, undo=True, finish=False
    ),
    "a writer whose polls take their time": Scenario((one("write", slowly=True),), movers=2, cancel=True),
    "a reader whose polls take their time": Scenario((one("read", slowly=True), at_once()), undo=True, cancel=True),
    "a writer, a reader and a third": Scenario((one("write", lapses=False), one("read", lapses=False), at_once())),
    "a writer and a reader": Scenario((one("write"), one("read")), finish=False),
    "a writer, compared ahead": Scenario((one("write"),), movers=2, cancel=True, undo=True, follow=True, ahead=True),
}

CUT = {
    "a reader, undone by whoever takes over": Scenario((one("read"), at_once()), movers=2, undo=True, cancel=True),
    "a scatter, undone by whoever takes over": Scenario((one("scatter"), at_once()), movers=2, undo=True, cancel=True),
    "a slow reader and two movers": Scenario((one("read", slowly=True), at_once()), movers=2, undo=True),
    "a transaction of two rows, compared ahead": Scenario(
        (PAIR,), rows=(True, True), movers=2, cancel=True, undo=True, follow=True, ahead=True
    ),
    "three routers": Scenario((one("write"), one("read"), one("scatter"))),
}
"""Too many states to see them all: so many as there is time for."""
