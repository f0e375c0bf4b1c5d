"""A client that may have any loopback address, so that limits count it apart from all others. Edge."""

from __future__ import annotations

import http.client
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_NEXT_ADDRESS = itertools.count(1)


def fresh_address() -> str:
    """A loopback address that no limit has counted yet, each in a /24 of its own."""
    number = next(_NEXT_ADDRESS)
    return f"127.{1 + number // 250}.{1 + number % 250}.7"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def told(self) -> dict[str, Any]:
        """What the backend says has reached it."""
        told: dict[str, Any] = json.loads(self.body)
        return told

    @property
    def backend(self) -> str:
        return str(self.told["backend"])

    @property
    def cookie(self) -> str:
        """The balancer's cookie as name=value; "" when none was set."""
        return (self.headers["Set-Cookie"] or "").partition(";")[0]


class Client:
    """One address, one kept connection."""

    def __init__(self, port: int, address: str = "") -> None:
        self.address = address or fresh_address()
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10, source_address=(self.address, 0))

    def ask(
        self, path: str = "/", method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        self.connection.request(method, path, body=body, headers=dict(headers or {}))
        response = self.connection.getresponse()
        return Answer(response.status, response.headers, response.read())

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()
