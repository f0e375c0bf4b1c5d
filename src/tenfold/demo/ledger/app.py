"""The ledger as an ASGI app: routes, middleware, and what lives as long as the process. Edge."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from tenfold.demo.ledger.settings import from_environment
from tenfold.demo.ledger.store.ledger import open_ledger
from tenfold.demo.ledger.sweeper import sweep_for_ever
from tenfold.demo.ledger.web import convertors
from tenfold.demo.ledger.web.body import BodyLimit
from tenfold.demo.ledger.web.headers import SafeHeaders
from tenfold.demo.ledger.web.refusals import HANDLERS
from tenfold.demo.ledger.web.render import STYLESHEET
from tenfold.demo.ledger.web.visitor import ledger_of
from tenfold.middleware import asgi

convertors.register()  # before the routes below name them

from tenfold.demo.ledger.api import accounts as api_accounts  # noqa: E402
from tenfold.demo.ledger.api import content as api_content  # noqa: E402
from tenfold.demo.ledger.api import money as api_money  # noqa: E402
from tenfold.demo.ledger.pages import accounts, admin, content, wallet  # noqa: E402


async def healthz(request: Request) -> Response:
    """Whether this process can serve. It asks no shard: one that is away must not take every backend with it."""
    return JSONResponse({"ok": True, "backend": ledger_of(request).settings.backend})


async def stylesheet(request: Request) -> Response:
    """Its address changes with its content, so it may be kept for a year."""
    return Response(STYLESHEET, media_type="text/css", headers={"Cache-Control": "public, max-age=31536000, immutable"})


@contextlib.asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    async with open_ledger(from_environment()) as ledger:
        app.state.ledger = ledger
        sweeping = asyncio.create_task(sweep_for_ever(ledger))
        try:
            yield
        finally:
            sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sweeping


def build() -> Starlette:
    """The app. It connects when it starts, not when it is imported."""
    return Starlette(
        routes=[
            Route("/healthz", healthz, methods=["GET"]),
            Route("/static/ledger.css", stylesheet, methods=["GET"]),
            Mount("/api", routes=[*api_accounts.ROUTES, *api_money.ROUTES, *api_content.ROUTES]),
            *accounts.ROUTES,
            *wallet.ROUTES,
            *content.ROUTES,
            *admin.ROUTES,
        ],
        middleware=[Middleware(SafeHeaders), Middleware(BodyLimit)],
        exception_handlers=HANDLERS,
        lifespan=_lifespan,
    )


# Outermost, so that it times all that a client waits for. Without an agent it is the app itself.
app = asgi(build())
