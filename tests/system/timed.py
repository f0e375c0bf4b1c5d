"""An app that takes as long as it is told, and writes down how long that was. Edge."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import tenfold.middleware

Scope = dict[str, Any]
App = Callable[..., Awaitable[None]]


async def work(request: Request) -> Response:
    await asyncio.sleep(int(request.path_params["ms"]) / 1000)
    return JSONResponse({"backend": os.environ["TENFOLD_BACKEND"]})


async def healthz(request: Request) -> Response:
    return JSONResponse({"ok": True})


def timed(app: App, to: Path) -> App:
    """Outside of all else: the seconds of each request, a line each."""

    async def outer(scope: Scope, receive: Any, send: Any) -> None:
        started = time.perf_counter()
        await app(scope, receive, send)
        if scope["type"] == "http" and scope["path"].startswith("/work/"):
            with to.open("a") as file:
                file.write(f"{time.perf_counter() - started!r}\n")

    return outer


def main() -> None:
    inner = Starlette(routes=[Route("/work/{ms}", work), Route("/healthz", healthz)])
    app = timed(tenfold.middleware.asgi(inner), Path(f"timings.{os.environ['TENFOLD_BACKEND']}"))
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
