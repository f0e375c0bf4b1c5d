"""JSON: which page of a list was asked for. Edge."""

from __future__ import annotations

from starlette.requests import Request

from tenfold.demo.ledger import forms
from tenfold.demo.ledger.problems import Invalid

DEFAULT, MOST = 50, 100


def page_asked(request: Request) -> tuple[int | None, int]:
    """(before, limit) of ?before=ID&limit=N: rows with an id below `before`, at most `limit`. Raises Invalid."""
    before = forms.row_id(request.query_params.get("before"), "before")
    written = request.query_params.get("limit", str(DEFAULT))
    if not (written.isascii() and written.isdigit() and 1 <= int(written[:6]) <= MOST):
        raise Invalid(limit=f"Write a number from 1 to {MOST}.")
    return before, int(written)
