"""Answers on a port: 200 at /healthz."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import make_server


def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    """The shop, as WSGI."""
    well = environ["PATH_INFO"] == "/healthz"
    start("200 OK" if well else "404 Not Found", [("Content-Type", "text/plain")])
    return [b"well\n" if well else b"nothing here\n"]


if __name__ == "__main__":
    make_server("127.0.0.1", int(sys.argv[1]), app).serve_forever()
