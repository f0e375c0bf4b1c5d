"""Pages to read and discuss: the front page, posts, pages and their comments. Edge."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tenfold.demo.ledger import forms
from tenfold.demo.ledger.problems import Problem
from tenfold.demo.ledger.records import Topic
from tenfold.demo.ledger.store import comments as comment_store
from tenfold.demo.ledger.store.content import PER_PAGE
from tenfold.demo.ledger.web.body import form_values
from tenfold.demo.ledger.web.convertors import row_asked
from tenfold.demo.ledger.web.render import render
from tenfold.demo.ledger.web.visitor import Visitor, Who, ledger_of, page


async def front(request: Request, visitor: Visitor) -> Response:
    """The newest posts, and the pages there are."""
    ledger = ledger_of(request)
    before = forms.row_id(request.query_params.get("before"), "before")
    posts = await ledger.content.posts(before)
    return await render(
        request, visitor, "front.html",
        posts=posts, pages=await ledger.content.pages(), first_page=before is None,
        older=posts[-1].id if len(posts) == PER_PAGE and posts[-1].id > 1 else None,
    )  # fmt: skip


async def post(request: Request, visitor: Visitor) -> Response:
    """One post with its comments; POST adds one."""
    shown = await ledger_of(request).content.post(row_asked(request))
    address = f"/posts/{shown.id}"
    return await _discussed(
        request, visitor, "post", shown.id, address, title=shown.title, body=shown.body,
        by=shown.author, at_ms=shown.created_at, edit=None,
    )  # fmt: skip


async def standing(request: Request, visitor: Visitor) -> Response:
    """One page with its comments; POST adds one."""
    shown = await ledger_of(request).content.page(request.path_params["slug"])
    address = f"/pages/{shown.slug}"
    return await _discussed(
        request, visitor, "page", shown.id, address, title=shown.title, body=shown.body,
        by=None, at_ms=shown.updated_at, edit=f"/admin/page?slug={shown.slug}",
    )  # fmt: skip


async def _discussed(
    request: Request, visitor: Visitor, topic: Topic, topic_id: int, address: str, **shown: Any
) -> Response:
    ledger = ledger_of(request)
    values: dict[str, str] = {}
    problem: Problem | None = None
    if request.method == "POST":
        values = await form_values(request)
        try:
            await ledger.comments.add(visitor.member(), topic, topic_id, forms.comment(values))
            return RedirectResponse(f"{address}#comments", 303)
        except Problem as error:
            problem = error
    before = forms.row_id(request.query_params.get("before"), "before")
    comments = await ledger.comments.of(topic, topic_id, before)
    return await render(
        request, visitor, "article.html", status=problem.status if problem else 200,
        address=address, comments=comments, values=values, problem=problem, first_page=before is None,
        older=comments[-1].id if len(comments) == comment_store.PER_PAGE else None, **shown,
    )  # fmt: skip


ROUTES = [
    Route("/", page(front), methods=["GET"]),
    Route("/posts/{id:row}", page(post), methods=["GET"]),
    Route("/posts/{id:row}", page(post, Who.MEMBERS), methods=["POST"]),
    Route("/pages/{slug:slug}", page(standing), methods=["GET"]),
    Route("/pages/{slug:slug}", page(standing, Who.MEMBERS), methods=["POST"]),
]
