"""A WSGI application that connects when it is imported, before the server forks its workers. Edge."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

import tenfold
from tenfold.errors import ConstraintError

db = tenfold.connect()
# What an application may do at import: read and write, so that connections and an id window exist.
db.execute("SELECT * FROM users")
db.execute("INSERT INTO deposits (user_id, amount) VALUES (1, 1)")


def app(environ: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
    query = {key: values[0] for key, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
    try:
        if environ["PATH_INFO"] == "/sign-up":
            row_id = db.execute("INSERT INTO users (email) VALUES (?)", (query["email"],)).lastrowid
            answer: object = {"id": str(row_id), "pid": os.getpid()}
        else:
            rows = db.execute("SELECT id, email FROM users WHERE id = ?", (query["id"],)).rows
            answer = [list(row) for row in rows]
        status = "200 OK"
    except ConstraintError:
        answer, status = {"taken": True}, "409 Conflict"
    start(status, [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
