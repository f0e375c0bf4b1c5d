"""JSON: accounts, sessions and the profile. Edge."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tenfold.demo.ledger import forms
from tenfold.demo.ledger.api import shapes
from tenfold.demo.ledger.problems import Invalid
from tenfold.demo.ledger.records import Person
from tenfold.demo.ledger.web.body import json_values, texts
from tenfold.demo.ledger.web.visitor import Visitor, Who, api, csrf_token, ledger_of


async def sign_up(request: Request, visitor: Visitor) -> Response:
    """email, name, password, currency → 201 and a session."""
    ledger = ledger_of(request)
    wanted = forms.sign_up(texts(await json_values(request)), await ledger.currencies.all())
    return await _signed_in(request, visitor, await ledger.accounts.sign_up(wanted), 201)


async def log_in(request: Request, visitor: Visitor) -> Response:
    """email, password → a session."""
    values = texts(await json_values(request))
    email = forms.clean_email(values.get("email", ""))
    person = await ledger_of(request).accounts.check(email, values.get("password", ""))
    return await _signed_in(request, visitor, person, 200)


async def log_out(request: Request, visitor: Visitor) -> Response:
    """Ends the session; 204."""
    await ledger_of(request).sessions.end(visitor.token)
    response = Response(status_code=204)
    visitor.sign_out(response)
    return response


async def me(request: Request, visitor: Visitor) -> Response:
    """The profile with the balance; PATCH changes name and meta, each if it is sent."""
    ledger = ledger_of(request)
    person = visitor.member()
    meta = await ledger.accounts.meta(person.id)
    if request.method == "PATCH":
        values = await json_values(request)
        given = values.get("meta", meta)
        if not isinstance(given, dict) or not given.keys() <= forms.META.keys():
            raise Invalid(meta=f"Send an object with some of {', '.join(forms.META)}.")
        name, meta = forms.profile(texts({**given, "name": values.get("name", person.name)}))
        await ledger.accounts.change_profile(person.id, name, meta)
        person = await ledger.accounts.person(person.id)
    return JSONResponse(shapes.profile(person, await ledger.money.balance(person.id), meta, visitor.csrf))


async def _signed_in(request: Request, visitor: Visitor, person: Person, status: int) -> Response:
    ledger = ledger_of(request)
    await ledger.request_keys.tidy(person.id)
    token = await ledger.sessions.open(person.id)
    response = JSONResponse(shapes.signed_in(person, token, csrf_token(token)), status)
    visitor.sign_in(response, token)
    return response


ROUTES = [
    Route("/users", api(sign_up), methods=["POST"]),
    Route("/login", api(log_in), methods=["POST"]),
    Route("/logout", api(log_out, Who.MEMBERS), methods=["POST"]),
    Route("/me", api(me, Who.MEMBERS), methods=["GET", "PATCH"]),
]
