"""Request bodies: how large, of which type, and what is in them. Edge."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tenfold.demo.ledger.problems import Invalid, Problem, TooLarge, WrongType

MAX_BODY = 64 * 1024
"""Bytes. Nothing that the ledger takes is larger than a post of 20,000 characters."""


class BodyLimit:
    """ASGI middleware: a body beyond MAX_BODY raises TooLarge where it is read, whatever its headers claim."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what comes in."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > MAX_BODY:
                raise TooLarge(f"The ledger reads at most {MAX_BODY // 1024} KiB.")
            return message

        await self._app(scope, counted, send)


async def form_values(request: Request) -> dict[str, str]:
    """The fields of a posted form, each as text. Raises WrongType for all but a plain form."""
    if _type_of(request) != "application/x-www-form-urlencoded":
        raise WrongType("Send a form.")
    # Starlette keeps it, so that the guard and the page may both ask.
    return {name: value for name, value in (await request.form()).items() if isinstance(value, str)}


async def json_values(request: Request) -> dict[str, Any]:
    """The object of a JSON body. Raises WrongType, or Problem when it is none."""
    if _type_of(request) != "application/json":
        raise WrongType("Send JSON, with Content-Type: application/json.")
    try:
        values = json.loads(await request.body())
        # JSON can spell half a character (\ud800), which no database stores.
        json.dumps(values, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise Problem("The body is not JSON in UTF-8.") from None
    if not isinstance(values, dict):
        raise Problem("The body must be a JSON object.")
    return values


def texts(values: dict[str, Any]) -> dict[str, str]:
    """The values, all of which must be text. Raises Invalid."""
    wrong = {name: "Write text." for name, value in values.items() if not isinstance(value, str)}
    if wrong:
        raise Invalid(**wrong)
    return {name: str(value) for name, value in values.items()}


def _type_of(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
