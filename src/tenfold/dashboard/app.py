"""The page's server: loopback only, a link that works once, a strict policy for what the browser may do. Edge."""

from __future__ import annotations

import gzip
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tenfold.dashboard import forms
from tenfold.dashboard.access import SESSION_S, Access, loopback_port
from tenfold.dashboard.assets import Assets
from tenfold.dashboard.forms import Act
from tenfold.dashboard.frames import as_json
from tenfold.dashboard.render import Renderer
from tenfold.dashboard.stream import TROUBLE, Stream
from tenfold.errors import TenfoldError

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    # The token stands in the address of /enter; it must not travel on in a Referer.
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
WORTH_GZIP = 1024
log = logging.getLogger(__name__)


def build(
    source: Callable[[], dict[str, Any]],
    token: str,
    *,
    key: bytes | None = None,
    period_s: float = 1.0,
    act: Act | None = None,
) -> Starlette:
    """The page as an ASGI app; serve it on loopback only, and without an access log (the log would hold the token).

    source     makes the view (tenfold.dashboard.view.view); called in the event loop, so it must not block
    token      opens a session once, at /enter?token=…; `app.state.access.issue()` gives another
    key        signs sessions; keep it (mode 0600) over restarts, and open pages go on. None: a new one
    period_s   seconds between two ticks of the live stream
    act        does what the forms ask for (tenfold.dashboard.forms); None: the page has none

    `app.state.stream.close()` ends the open streams: call it before the server stops, which else waits for them.
    """
    site = _Site(source, token, key or secrets.token_bytes(32), period_s, act)
    app = Starlette(
        routes=[
            Route("/", site.page),
            Route("/enter", site.enter),
            Route("/live", site.live),
            Route("/view.json", site.json),
            Route("/alerts", site.alert),
            Route("/alerts/{action:str}", site.act, methods=["POST"]),
            Route("/assets/{version}/{name:path}", site.asset),
        ],
    )
    app.add_middleware(_Guard)
    app.state.access = site.access
    app.state.stream = site.stream
    return app


class _Site:
    """The answers of the page."""

    def __init__(
        self, source: Callable[[], dict[str, Any]], token: str, key: bytes, period_s: float, act: Act | None
    ) -> None:
        self.source, self._key, self._act = source, key, act
        self.access = Access(token, key)
        self.stream = Stream(source, period_s)
        self.assets = Assets()
        self.renderer = Renderer(self.assets, acts=act is not None)

    async def page(self, request: Request) -> Response:
        if self._until(request) is None:
            return self._closed()
        try:
            view = self.source()
        except Exception:
            return _html(request, self.renderer.notice("No figures", TROUBLE), 503)
        asked = request.query_params
        html = self.renderer.page(
            view,
            asked.get("sort", ""),
            asked.get("dir") != "up",
            asked.get("routes") == "all",
            self._token(request),
        )
        return _html(request, html)

    async def alert(self, request: Request) -> Response:
        """One alert by itself, for browsers without scripts."""
        if self._until(request) is None:
            return self._closed()
        try:
            view = self.source()
        except Exception:
            return _html(request, self.renderer.notice("No figures", TROUBLE), 503)
        html = self.renderer.alert(view, request.query_params.get("id", ""), self._token(request))
        if html is None or self._act is None:
            return _html(request, self.renderer.notice("It is over", "There is no such alert now.", back=True), 404)
        return _html(request, html)

    async def act(self, request: Request) -> Response:
        """What a form asks for. Scripts get JSON; a browser without them is led back, or told what is wrong."""
        if self._until(request) is None:
            return self._told(request, 401, "This page's session has ended.", "run: tenfold status")
        action = request.path_params["action"]
        if self._act is None or action not in forms.ACTIONS:
            return self._told(request, 404, "There is no such action.")
        try:
            fields = await forms.fields_of(request, self._token(request))
            await self._act(action, forms.asked(action, fields, time.time()), self._who(request))
        except forms.Refused as refused:
            return self._told(request, refused.status, refused.sentence)
        except TenfoldError as error:
            return self._told(request, 409, str(error), error.hint)
        except Exception:
            log.exception("what a form asked for has failed")
            return self._told(request, 500, "It could not be done; the agent's log says why.")
        if _wants_json(request):
            return _packed(request, as_json({"ok": True}), "application/json")
        return RedirectResponse("/#alerts", 303)

    async def enter(self, request: Request) -> Response:
        # HEAD asks what would be, it must not use the link up.
        session = self.access.redeem(request.query_params.get("token", "")) if request.method == "GET" else None
        if session is None and self._until(request) is None:
            return self._closed()
        answer = RedirectResponse("/", 303)
        if session is not None:
            answer.set_cookie(_cookie(request), session, max_age=SESSION_S, httponly=True, samesite="strict", path="/")
        return answer

    async def live(self, request: Request) -> Response:
        if self._until(request) is None:
            return PlainTextResponse("This page's session has ended.\n", 401)
        if self.stream.full:
            return PlainTextResponse("Too many pages are open.\n", 503, {"Retry-After": "5"})
        return StreamingResponse(
            self._while_admitted(request), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
        )

    async def json(self, request: Request) -> Response:
        if self._until(request) is None:
            return _packed(request, as_json({"ok": False, "error": "no session"}), "application/json", 401)
        try:
            view = self.source()
        except Exception:
            return _packed(request, as_json({"ok": False, "error": TROUBLE}), "application/json", 503)
        return _packed(request, as_json(view), "application/json")

    async def asset(self, request: Request) -> Response:
        asset = self.assets.get(request.path_params["version"], request.path_params["name"])
        if asset is None:
            return PlainTextResponse("There is no such file.\n", 404)
        zipped = _takes_gzip(request)
        headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
        if zipped:
            headers["Content-Encoding"] = "gzip"
        return Response(asset.gzipped if zipped else asset.plain, 200, headers, asset.content_type)

    async def _while_admitted(self, request: Request) -> AsyncIterator[bytes]:
        async for frame in self.stream.frames():
            if self._until(request) is None:
                return
            yield frame

    def _until(self, request: Request) -> float | None:
        return self.access.until(_session(request))

    def _token(self, request: Request) -> str:
        return forms.token(self._key, _session(request))

    @staticmethod
    def _who(request: Request) -> str:
        # There are no accounts yet: the session tells one browser from another, by a part that opens nothing.
        return f"page {_session(request).split('.')[1][:6]}"

    def _told(self, request: Request, status: int, error: str, hint: str = "") -> Response:
        if _wants_json(request):
            return _packed(request, as_json({"ok": False, "error": error, "hint": hint}), "application/json", status)
        sentence = f"{error} Try: {hint}" if hint else error
        return _html(request, self.renderer.notice("It was not done", sentence, back=True), status)

    def _closed(self) -> Response:
        sentence = (
            "This page opens by a link that works once. Run “tenfold status” for one, "
            "and open it in this browser. If you came here from another page, reload."
        )
        return Response(self.renderer.notice("Not open", sentence), 401, media_type="text/html")


def _cookie(request: Request) -> str:
    # Cookies know no ports: two platforms on one machine would else throw each other out.
    return f"tenfold_{loopback_port(request.headers['host'])}"


def _session(request: Request) -> str:
    return request.cookies.get(_cookie(request), "")


def _wants_json(request: Request) -> bool:
    return request.headers.get("accept", "").startswith("application/json")


def _takes_gzip(request: Request) -> bool:
    return "gzip" in request.headers.get("accept-encoding", "")


def _packed(request: Request, text: str, media_type: str, status: int = 200) -> Response:
    body = text.encode()
    headers = {"Vary": "Accept-Encoding"}
    if len(body) >= WORTH_GZIP and _takes_gzip(request):
        body, headers["Content-Encoding"] = gzip.compress(body, 6), "gzip"
    return Response(body, status, headers, media_type)


def _html(request: Request, text: str, status: int = 200) -> Response:
    return _packed(request, text, "text/html", status)


class _Guard:
    """In front of all answers: only this machine's own names get one, and each carries the policy."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        hosts = Headers(scope=scope).getlist("host")
        if len(hosts) != 1 or loopback_port(hosts[0]) is None:
            refusal = PlainTextResponse("This page answers to 127.0.0.1 and localhost only.\n", 421)
            await refusal(scope, receive, with_policy)
            return
        await self.app(scope, receive, with_policy)
