"""Pages about money: the wallet with its three forms, and the history. Edge."""

from __future__ import annotations

import secrets

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tenfold.demo.ledger import forms
from tenfold.demo.ledger.amounts import Currency, parse_amount
from tenfold.demo.ledger.problems import Invalid, Problem
from tenfold.demo.ledger.records import Person
from tenfold.demo.ledger.store.ledger import Ledger
from tenfold.demo.ledger.web.body import form_values
from tenfold.demo.ledger.web.render import render
from tenfold.demo.ledger.web.visitor import Visitor, Who, ledger_of, page

RECENT, PER_PAGE = 8, 25
NOTICES = {
    "deposit": "Your money is in the wallet.",
    "withdrawal": "Your money is on its way to your bank.",
    "transfer": "Your money has arrived.",
    "pending": "Your money is on its way and will arrive in a few seconds.",
}


async def wallet(request: Request, visitor: Visitor) -> Response:
    """The balance, the forms, and what moved last."""
    return await _wallet(request, visitor, {}, None)


async def move(request: Request, visitor: Visitor) -> Response:
    """POST of one of the three forms; a form sent twice carries the same key and is done once."""
    ledger = ledger_of(request)
    person = visitor.member()
    values = await form_values(request)
    try:
        notice = await _do(ledger, person, request.path_params["kind"], values)
    except Problem as problem:
        return await _wallet(request, visitor, values, problem)
    return RedirectResponse(f"/wallet?notice={notice}", 303)


async def back(request: Request, visitor: Visitor) -> Response:
    """Who loads the address of a form again gets the wallet."""
    return RedirectResponse("/wallet", 303)


async def history(request: Request, visitor: Visitor) -> Response:
    """All entries of the wallet, newest first, a page at a time."""
    ledger = ledger_of(request)
    person = visitor.member()
    before = forms.row_id(request.query_params.get("before"), "before")
    entries = await ledger.money.history(person.id, before, PER_PAGE + 1)
    return await render(
        request, visitor, "history.html",
        entries=entries[:PER_PAGE], older=entries[PER_PAGE - 1].id if len(entries) > PER_PAGE else None,
        first_page=before is None, currency=await ledger.currencies.of(person.currency),
        balance=await ledger.money.balance(person.id),
    )  # fmt: skip


async def _do(ledger: Ledger, person: Person, kind: str, values: dict[str, str]) -> str:
    currency: Currency = await ledger.currencies.of(person.currency)
    key = forms.request_key(values.get("request_key"))
    amount, note = forms.money(parse_amount(values.get("amount", ""), currency), values.get("note", ""), currency)
    if kind == "deposit":
        await ledger.money.deposit(person.id, amount, note, currency, key)
        return kind
    if kind == "withdrawal":
        await ledger.money.withdraw(person.id, amount, note, currency, key)
        return kind
    receiver = await ledger.accounts.by_email(forms.clean_email(values.get("to", "")))
    if receiver is None:
        raise Invalid(to="Nobody here has this e-mail address.")
    transfer = await ledger.transfers.send(person, receiver, amount, note, key)
    return "transfer" if transfer.done else "pending"


async def _wallet(request: Request, visitor: Visitor, values: dict[str, str], problem: Problem | None) -> Response:
    ledger = ledger_of(request)
    person = visitor.member()
    return await render(
        request, visitor, "wallet.html", status=problem.status if problem else 200,
        currency=await ledger.currencies.of(person.currency),
        balance=await ledger.money.balance(person.id),
        entries=await ledger.money.history(person.id, None, RECENT),
        values=values, problem=problem, failed=request.path_params.get("kind"),
        notice=NOTICES.get(request.query_params.get("notice", "")),
        request_key=secrets.token_urlsafe(16),
    )  # fmt: skip


ROUTES = [
    Route("/wallet", page(wallet, Who.MEMBERS), methods=["GET"]),
    Route("/wallet/{kind:kind}", page(move, Who.MEMBERS), methods=["POST"]),
    Route("/wallet/{kind:kind}", page(back, Who.MEMBERS), methods=["GET"]),
    Route("/history", page(history, Who.MEMBERS), methods=["GET"]),
]
