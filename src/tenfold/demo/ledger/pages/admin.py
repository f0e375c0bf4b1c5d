"""Pages for the administrator: options, a new post, a page. Edge."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tenfold.demo.ledger import forms
from tenfold.demo.ledger.problems import Missing, Problem
from tenfold.demo.ledger.web.body import form_values
from tenfold.demo.ledger.web.render import render
from tenfold.demo.ledger.web.visitor import CSRF_FIELD, Visitor, Who, ledger_of, page


async def options(request: Request, visitor: Visitor) -> Response:
    """GET shows the options of the site, POST changes them."""
    ledger = ledger_of(request)
    problem: Problem | None = None
    if request.method == "POST":
        values = await form_values(request)
        values.pop(CSRF_FIELD)
        try:
            await ledger.options.change(forms.options(values))
            return RedirectResponse("/admin/options?saved=1", 303)
        except Problem as error:
            problem = error
    else:
        values = await ledger.options.all()
    return await render(
        request, visitor, "options.html", status=problem.status if problem else 200,
        values=values, problem=problem, labels=forms.OPTIONS, switches=forms.SWITCHES,
        saved="saved" in request.query_params,
    )  # fmt: skip


async def new_post(request: Request, visitor: Visitor) -> Response:
    """GET shows an empty form, POST publishes."""
    values: dict[str, str] = {}
    problem: Problem | None = None
    if request.method == "POST":
        values = await form_values(request)
        try:
            title, body, _ = forms.article(values, with_slug=False)
            number = await ledger_of(request).content.add_post(visitor.member(), title, body)
            return RedirectResponse(f"/posts/{number}", 303)
        except Problem as error:
            problem = error
    return await _write(request, visitor, values, problem, heading="New post", with_slug=False)


async def edit_page(request: Request, visitor: Visitor) -> Response:
    """GET shows the page of ?slug=, or an empty form; POST saves."""
    ledger = ledger_of(request)
    values: dict[str, str] = {}
    problem: Problem | None = None
    if request.method == "POST":
        values = await form_values(request)
        try:
            title, body, slug = forms.article(values, with_slug=True)
            await ledger.content.save_page(slug, title, body)
            return RedirectResponse(f"/pages/{slug}", 303)
        except Problem as error:
            problem = error
    elif asked := request.query_params.get("slug"):
        try:
            held = await ledger.content.page(asked)
            values = {"slug": held.slug, "title": held.title, "body": held.body}
        except Missing:
            values = {"slug": asked}
    return await _write(request, visitor, values, problem, heading="A page of the site", with_slug=True)


async def _write(
    request: Request,
    visitor: Visitor,
    values: dict[str, str],
    problem: Problem | None,
    *,
    heading: str,
    with_slug: bool,
) -> Response:
    return await render(
        request, visitor, "write.html", status=problem.status if problem else 200,
        values=values, problem=problem, heading=heading, with_slug=with_slug,
    )  # fmt: skip


ROUTES = [
    Route("/admin/options", page(options, Who.ADMIN), methods=["GET", "POST"]),
    Route("/admin/post", page(new_post, Who.ADMIN), methods=["GET", "POST"]),
    Route("/admin/page", page(edit_page, Who.ADMIN), methods=["GET", "POST"]),
]
