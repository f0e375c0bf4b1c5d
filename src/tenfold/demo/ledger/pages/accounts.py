"""Pages to sign up, in and out, and for the profile. Edge."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tenfold.demo.ledger import forms
from tenfold.demo.ledger.problems import Problem
from tenfold.demo.ledger.records import Person
from tenfold.demo.ledger.web.body import form_values
from tenfold.demo.ledger.web.render import render
from tenfold.demo.ledger.web.visitor import Visitor, Who, ledger_of, page

# Only addresses of this site: "//elsewhere" would leave it.
_OWN_ADDRESS = re.compile(r"/(?!/)[A-Za-z0-9/_-]*")


async def sign_up(request: Request, visitor: Visitor) -> Response:
    """GET shows the form, POST creates the account and signs in."""
    ledger = ledger_of(request)
    currencies = await ledger.currencies.all()
    values: dict[str, str] = {"currency": next(iter(currencies), "")}
    problem: Problem | None = None
    if request.method == "POST":
        values = await form_values(request)
        try:
            person = await ledger.accounts.sign_up(forms.sign_up(values, currencies))
            return await _signed_in(request, visitor, person, "/wallet")
        except Problem as error:
            problem = error
    status = problem.status if problem else 200
    return await render(
        request, visitor, "sign_up.html", status=status, values=values, problem=problem, currencies=currencies.values()
    )


async def log_in(request: Request, visitor: Visitor) -> Response:
    """GET shows the form, POST signs in."""
    values: dict[str, str] = {"next": request.query_params.get("next", "")}
    problem: Problem | None = None
    if request.method == "POST":
        values = await form_values(request)
        try:
            person = await ledger_of(request).accounts.check(
                forms.clean_email(values.get("email", "")), values.get("password", "")
            )
            wanted = values.get("next", "")
            return await _signed_in(request, visitor, person, wanted if _OWN_ADDRESS.fullmatch(wanted) else "/wallet")
        except Problem as error:
            problem = error
    return await render(
        request, visitor, "log_in.html", status=problem.status if problem else 200, values=values, problem=problem
    )


async def log_out(request: Request, visitor: Visitor) -> Response:
    """POST ends the session, here and in the database."""
    await ledger_of(request).sessions.end(visitor.token)
    response = RedirectResponse("/", 303)
    visitor.sign_out(response)
    return response


async def profile(request: Request, visitor: Visitor) -> Response:
    """GET shows the form, POST changes the profile."""
    ledger = ledger_of(request)
    person = visitor.member()
    problem: Problem | None = None
    if request.method == "POST":
        values = await form_values(request)
        try:
            await ledger.accounts.change_profile(person.id, *forms.profile(values))
            return RedirectResponse("/profile?saved=1", 303)
        except Problem as error:
            problem = error
    else:
        values = {"name": person.name, **await ledger.accounts.meta(person.id)}
    return await render(
        request, visitor, "profile.html", status=problem.status if problem else 200,
        values=values, problem=problem, facts=forms.META, saved="saved" in request.query_params,
    )  # fmt: skip


async def _signed_in(request: Request, visitor: Visitor, person: Person, to: str) -> Response:
    ledger = ledger_of(request)
    if visitor.person:  # the session that this browser had is replaced, so nobody can use it any more
        await ledger.sessions.end(visitor.token)
    await ledger.request_keys.tidy(person.id)
    response = RedirectResponse(to, 303)
    visitor.sign_in(response, await ledger.sessions.open(person.id))
    return response


ROUTES = [
    Route("/signup", page(sign_up), methods=["GET", "POST"]),
    Route("/login", page(log_in), methods=["GET", "POST"]),
    Route("/logout", page(log_out, Who.MEMBERS), methods=["POST"]),
    Route("/profile", page(profile, Who.MEMBERS), methods=["GET", "POST"]),
]
