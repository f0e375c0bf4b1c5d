"""A small shop for the tests of deploys: its pages say which release answers, its orders go into the shards. Edge.

mode.txt, beside it in the release, says what is wrong with the release; "good": nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import tenfold

MODE = (Path(__file__).parent / "mode.txt").read_text().strip()
RELEASE = os.environ.get("TENFOLD_RELEASE", "none")
Event = MutableMapping[str, Any]

if MODE == "dead":
    sys.exit("the app cannot go on")
database = tenfold.connect()


def order(body: bytes) -> tuple[int, object]:
    """Take an order: once, however often it comes with the same key."""
    told = json.loads(body)
    user, key = int(told["user"]), str(told["key"])
    with database.transaction() as work:
        if not list(work.execute("SELECT id FROM orders WHERE user_id = ? AND item = ?", (user, key))):
            work.execute("INSERT INTO orders (user_id, item) VALUES (?, ?)", (user, key))
    return 201, {"release": RELEASE, "key": key}


async def app(scope: Event, receive: Callable[[], Awaitable[Event]], send: Callable[[Event], Awaitable[None]]) -> None:
    """ASGI."""
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            await send({"type": event["type"] + ".complete"})
            if event["type"] == "lifespan.shutdown":
                return
    status, told = await answer(scope, receive)
    body = json.dumps(told).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def answer(scope: Event, receive: Callable[[], Awaitable[Event]]) -> tuple[int, object]:
    """(status, what is said) of one request."""
    path = scope["path"]
    if path == "/healthz":
        if MODE == "mute":
            await asyncio.sleep(600)
        return (500, "sick") if MODE == "sick" else (200, "well")
    asked = dict(scope["headers"])
    # Only the final verification comes from Tenfold and through nginx, which numbers requests.
    if MODE == "unverified" and asked.get(b"user-agent") == b"tenfold-deploy" and b"x-request-id" in asked:
        return 500, "not for everybody"
    if MODE == "shy" and b"x-real-ip" in asked:
        return 500, "through a proxy it fails"
    if MODE == "slow":
        await asyncio.to_thread(time.sleep, 0.6)
    if path == "/long":  # longer than a backend that is told to end has left
        await asyncio.sleep(6)
    if path == "/orders" and scope["method"] == "POST":
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        return await asyncio.to_thread(order, body)
    return 200, {"release": RELEASE}
