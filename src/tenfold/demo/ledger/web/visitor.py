"""Who asks: found by cookie or bearer token; every request that changes something must prove it was meant. Edge.

A browser sends cookies along even when another site made it ask. So a form carries a token that only our own
pages know: derived from the secret of the session, or, before there is one, of a cookie made for forms.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from tenfold.demo.ledger.problems import Missing, NotSignedIn, Refused
from tenfold.demo.ledger.records import Person
from tenfold.demo.ledger.store.ledger import Ledger
from tenfold.demo.ledger.store.sessions import LIFETIME_S
from tenfold.demo.ledger.web.body import form_values

SESSION_COOKIE, FORM_COOKIE = "ledger_session", "ledger_form"
CSRF_FIELD, CSRF_HEADER = "csrf", "x-csrf-token"
_CHANGES_NOTHING = {"GET", "HEAD", "OPTIONS"}


class Who(Enum):
    """Who may use a route."""

    ANYONE = 0
    MEMBERS = 1
    ADMIN = 2


@dataclass(slots=True)
class Visitor:
    """person: None when nobody is signed in; token: of the session, "" without one; by_bearer: the token came in a
    header, which no browser sends by itself; form_secret: of the cookie for forms."""

    person: Person | None = None
    token: str = ""
    by_bearer: bool = False
    is_admin: bool = False
    form_secret: str = ""
    secure: bool = False
    _new_form_cookie: bool = field(default=False, init=False)

    @property
    def csrf(self) -> str:
        """The token for this visitor's forms; asking for it may give the visitor the cookie that it rests on."""
        if not self.person and not self.form_secret:
            self.form_secret = secrets.token_urlsafe(32)
            self._new_form_cookie = True
        return csrf_token(self.token if self.person else self.form_secret)

    def meant(self, token: str | None) -> bool:
        """Whether the token is the one that our pages gave this visitor."""
        basis = self.token if self.person else self.form_secret
        return bool(basis) and hmac.compare_digest(csrf_token(basis).encode(), (token or "").encode())

    def member(self) -> Person:
        """The person; raises NotSignedIn."""
        if self.person is None:
            raise NotSignedIn("Please sign in first.")
        return self.person

    def sign_in(self, response: Response, token: str) -> None:
        """Give the browser the session; the cookie for forms has done its work."""
        self._set(response, SESSION_COOKIE, token, LIFETIME_S)
        response.delete_cookie(FORM_COOKIE, httponly=True, samesite="lax", secure=self.secure)
        self._new_form_cookie = False

    def sign_out(self, response: Response) -> None:
        """Take the session from the browser."""
        response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="lax", secure=self.secure)

    def finish(self, response: Response) -> None:
        """What every answer to this visitor needs."""
        if self._new_form_cookie:
            self._set(response, FORM_COOKIE, self.form_secret, None)
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("Vary", "Cookie")

    def _set(self, response: Response, name: str, value: str, max_age: int | None) -> None:
        response.set_cookie(name, value, max_age=max_age, httponly=True, samesite="lax", secure=self.secure)


Handler = Callable[[Request, Visitor], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


def ledger_of(request: Request) -> Ledger:
    """The ledger of this process."""
    ledger = request.app.state.ledger
    assert isinstance(ledger, Ledger)  # noqa: S101  # put there when the process started
    return ledger


def csrf_token(basis: str) -> str:
    """Tells nothing of the secret that it is made from."""
    return hashlib.sha256(b"csrf:" + basis.encode()).hexdigest()


async def recognise(request: Request) -> Visitor:
    """Find out who asks. A bearer token, when there is one, counts alone."""
    ledger = ledger_of(request)
    kind, _, bearer = request.headers.get("authorization", "").partition(" ")
    by_bearer = kind.lower() == "bearer"
    token = bearer.strip() if by_bearer else request.cookies.get(SESSION_COOKIE, "")
    visitor = Visitor(
        token=token,
        by_bearer=by_bearer,
        form_secret=request.cookies.get(FORM_COOKIE, ""),
        secure=request.url.scheme == "https",
    )
    request.state.visitor = visitor
    user_id = await ledger.sessions.find(token)
    if user_id is not None:
        try:
            visitor.person = await ledger.accounts.person(user_id)
        except Missing:
            return visitor
        visitor.is_admin = await ledger.options.is_admin(user_id)
    return visitor


def page(handler: Handler, who: Who = Who.ANYONE) -> Endpoint:
    """An HTML route: who may not is sent to sign in, and each form that is posted must be ours."""

    async def endpoint(request: Request) -> Response:
        visitor = await recognise(request)
        if who is not Who.ANYONE and visitor.person is None and request.method in _CHANGES_NOTHING:
            return RedirectResponse(f"/login?next={quote(request.url.path)}", 303)
        _admit(visitor, who)
        if request.method not in _CHANGES_NOTHING:
            form = await form_values(request)
            if not visitor.meant(form.get(CSRF_FIELD)):
                raise Refused("This form has expired, or was not ours. Please go back, reload the page, and try again.")
        response = await handler(request, visitor)
        visitor.finish(response)
        return response

    return endpoint


def api(handler: Handler, who: Who = Who.ANYONE) -> Endpoint:
    """A JSON route. Signed in by cookie, one must send the token as X-CSRF-Token with all that changes something.

    Routes for anyone (sign-up, log-in) read JSON only, which another site cannot send without asking first.
    """

    async def endpoint(request: Request) -> Response:
        visitor = await recognise(request)
        _admit(visitor, who)
        by_cookie = who is not Who.ANYONE and not visitor.by_bearer
        changes = request.method not in _CHANGES_NOTHING
        if by_cookie and changes and not visitor.meant(request.headers.get(CSRF_HEADER)):
            raise Refused("Send the csrf token of your log-in as X-CSRF-Token, or use Authorization: Bearer.")
        response = await handler(request, visitor)
        visitor.finish(response)
        return response

    return endpoint


def _admit(visitor: Visitor, who: Who) -> None:
    if who is not Who.ANYONE:
        visitor.member()
    if who is Who.ADMIN and not visitor.is_admin:
        raise Refused("Only the administrator of the site may do this.")
