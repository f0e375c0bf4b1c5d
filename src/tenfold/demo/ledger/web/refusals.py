"""How errors leave: JSON under /api/, else a page; what went wrong inside stays in the log. Edge."""

from __future__ import annotations

import logging
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tenfold.demo.ledger.problems import Busy, Missing, Problem
from tenfold.demo.ledger.web.render import render
from tenfold.demo.ledger.web.visitor import Visitor
from tenfold.errors import TenfoldError

_log = logging.getLogger("uvicorn.error")
TITLES = {
    401: "Please sign in", 403: "Not allowed", 404: "Not found", 405: "Not possible", 409: "Taken", 413: "Too large",
    415: "Not readable", 422: "Not quite right", 500: "Our mistake", 503: "In a moment",
}  # fmt: skip


async def refuse(request: Request, error: Exception) -> Response:
    """The answer to a request that raised `error`."""
    problem = _as_problem(error)
    status = error.status_code if isinstance(error, HTTPException) else problem.status
    headers = dict(getattr(error, "headers", None) or {})
    if status == 503:
        headers["Retry-After"] = "1"
    if request.url.path.startswith("/api/"):
        body = {"code": problem.code, "message": str(problem), "fields": problem.fields}
        response: Response = JSONResponse({"error": body}, status)
    else:
        visitor = getattr(request.state, "visitor", Visitor())
        title = TITLES.get(status, "This did not work")
        response = await render(request, visitor, "problem.html", status=status, title=title, message=str(problem))
    response.headers.update({"Cache-Control": "no-store", **headers})
    return response


def _as_problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        if error.status_code == 404:
            return Missing("There is nothing at this address.")
        return Problem(str(error.detail))
    if isinstance(error, TenfoldError) and error.retryable:
        _log.warning("%s: %s", type(error).__name__, error)
        return Busy("A part of the platform does not answer at the moment. Please try again.")
    if isinstance(error, TenfoldError):  # what is none of ours, the server logs as it passes
        _log.error("a request failed: %s", error, exc_info=error)
    return _Inside("Something went wrong on our side. It is in our log.")


class _Inside(Problem):
    status = 500
    code = "internal"


HANDLERS: dict[Any, Any] = dict.fromkeys((Problem, HTTPException, TenfoldError, Exception), refuse)
