"""HTML out of templates; what people wrote is always shown as text. Edge."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from tenfold.demo.ledger.amounts import format_amount
from tenfold.demo.ledger.web.visitor import Visitor, ledger_of

HERE = Path(__file__).resolve().parent.parent
STYLESHEET = (HERE / "static" / "ledger.css").read_bytes()


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%-d %b %Y, %H:%M UTC")


def _paragraphs(body: str) -> list[list[str]]:
    """Blank lines part paragraphs; the rest are lines of one."""
    return [block.split("\n") for block in body.split("\n\n") if block.strip()]


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["money"] = format_amount
    made.filters["moment"] = _moment
    made.filters["paragraphs"] = _paragraphs
    # The address of the stylesheet changes with its content, so that browsers may keep it for ever.
    digest = hashlib.sha256(STYLESHEET).hexdigest()[:12]
    made.globals["stylesheet"] = f"/static/ledger.css?v={digest}"
    return made


_templates = _environment()


async def render(
    request: Request, visitor: Visitor, template: str, *, status: int = 200, **context: Any
) -> HTMLResponse:
    """The page for this visitor."""
    ledger = ledger_of(request)
    html = _templates.get_template(template).render(
        visitor=visitor,
        path=request.url.path,
        site=await ledger.options.shown(),
        backend=ledger.settings.backend,
        **context,
    )
    return HTMLResponse(html, status)
