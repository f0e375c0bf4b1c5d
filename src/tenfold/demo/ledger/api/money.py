"""JSON: deposits, withdrawals, transfers, the history. Edge.

A POST with an Idempotency-Key header may be sent again: it is done once, and answered with status 200 and
Idempotent-Replayed: true from then on.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tenfold.demo.ledger import forms
from tenfold.demo.ledger.amounts import Currency
from tenfold.demo.ledger.api import shapes
from tenfold.demo.ledger.api.paging import page_asked
from tenfold.demo.ledger.problems import Invalid
from tenfold.demo.ledger.records import Person
from tenfold.demo.ledger.web.body import json_values
from tenfold.demo.ledger.web.convertors import row_asked
from tenfold.demo.ledger.web.visitor import Visitor, Who, api, ledger_of


async def deposit(request: Request, visitor: Visitor) -> Response:
    """amount, note → 201."""
    person, currency = await _wallet(request, visitor)
    amount, note, key, _ = await _asked(request, currency)
    done = await ledger_of(request).money.deposit(person.id, amount, note, currency, key)
    return _answer(shapes.movement(done, await ledger_of(request).money.balance(person.id)), done.replayed)


async def withdraw(request: Request, visitor: Visitor) -> Response:
    """amount, note → 201; 422 when the wallet holds less."""
    person, currency = await _wallet(request, visitor)
    amount, note, key, _ = await _asked(request, currency)
    done = await ledger_of(request).money.withdraw(person.id, amount, note, currency, key)
    return _answer(shapes.movement(done, await ledger_of(request).money.balance(person.id)), done.replayed)


async def transfer(request: Request, visitor: Visitor) -> Response:
    """to (an e-mail address), amount, note → 201, with state "done" or "pending"."""
    ledger = ledger_of(request)
    person, currency = await _wallet(request, visitor)
    amount, note, key, to = await _asked(request, currency)
    receiver = await ledger.accounts.by_email(forms.clean_email(to))
    if receiver is None:
        raise Invalid(to="Nobody here has this e-mail address.")
    done = await ledger.transfers.send(person, receiver, amount, note, key)
    return _answer(shapes.transfer(done, await ledger.money.balance(person.id)), done.replayed)


async def sent(request: Request, visitor: Visitor) -> Response:
    """A transfer that the signed-in person sent."""
    ledger = ledger_of(request)
    person = visitor.member()
    found = await ledger.transfers.find(person.id, row_asked(request))
    return JSONResponse(shapes.transfer(found, await ledger.money.balance(person.id)))


async def history(request: Request, visitor: Visitor) -> Response:
    """?before= and ?limit= → a page of the wallet's entries, newest first."""
    before, limit = page_asked(request)
    entries = await ledger_of(request).money.history(visitor.member().id, before, limit + 1)
    return JSONResponse(
        {
            "transactions": [shapes.entry(entry) for entry in entries[:limit]],
            "next_before": shapes.next_before(entries, limit),
        }
    )


async def currencies(request: Request, visitor: Visitor) -> Response:
    """code, name, and how many decimal places people write."""
    held = (await ledger_of(request).currencies.all()).values()
    return JSONResponse({"currencies": [{"code": c.code, "name": c.name, "digits": c.digits} for c in held]})


async def _wallet(request: Request, visitor: Visitor) -> tuple[Person, Currency]:
    person = visitor.member()
    return person, await ledger_of(request).currencies.of(person.currency)


async def _asked(request: Request, currency: Currency) -> tuple[int, str, str | None, str]:
    """(amount, note, Idempotency-Key, to). Raises Invalid."""
    values = await json_values(request)
    given, note, to = values.get("amount"), values.get("note", ""), values.get("to", "")
    whole = isinstance(given, int) and not isinstance(given, bool)
    if not whole:
        raise Invalid(amount="Send a whole number of the currency's smallest unit.")
    if not isinstance(note, str) or not isinstance(to, str):
        raise Invalid(**{name: "Write text." for name, text in (("note", note), ("to", to)) if type(text) is not str})
    amount, note = forms.money(given, note, currency)
    return amount, note, forms.request_key(request.headers.get("idempotency-key")), to


def _answer(body: shapes.Json, replayed: bool) -> Response:
    if replayed:
        return JSONResponse(body, 200, {"Idempotent-Replayed": "true"})
    return JSONResponse(body, 201)


ROUTES = [
    Route("/deposits", api(deposit, Who.MEMBERS), methods=["POST"]),
    Route("/withdrawals", api(withdraw, Who.MEMBERS), methods=["POST"]),
    Route("/transfers", api(transfer, Who.MEMBERS), methods=["POST"]),
    Route("/transfers/{id:row}", api(sent, Who.MEMBERS), methods=["GET"]),
    Route("/transactions", api(history, Who.MEMBERS), methods=["GET"]),
    Route("/currencies", api(currencies), methods=["GET"]),
]
