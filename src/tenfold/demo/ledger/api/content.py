"""JSON: posts, pages, comments, options. Edge."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tenfold.demo.ledger import forms
from tenfold.demo.ledger.api import shapes
from tenfold.demo.ledger.api.paging import page_asked
from tenfold.demo.ledger.records import Topic
from tenfold.demo.ledger.store.options import ADMIN
from tenfold.demo.ledger.web.body import json_values, texts
from tenfold.demo.ledger.web.convertors import row_asked
from tenfold.demo.ledger.web.visitor import Visitor, Who, api, ledger_of


async def posts(request: Request, visitor: Visitor) -> Response:
    """A page of posts, newest first."""
    before, limit = page_asked(request)
    held = await ledger_of(request).content.posts(before, limit + 1)
    return JSONResponse(
        {"posts": [shapes.post(post) for post in held[:limit]], "next_before": shapes.next_before(held, limit)}
    )


async def add_post(request: Request, visitor: Visitor) -> Response:
    """title, body → 201. For the administrator."""
    ledger = ledger_of(request)
    title, body, _ = forms.article(texts(await json_values(request)), with_slug=False)
    number = await ledger.content.add_post(visitor.member(), title, body)
    return JSONResponse({"post": shapes.post(await ledger.content.post(number))}, 201)


async def post(request: Request, visitor: Visitor) -> Response:
    """One post."""
    return JSONResponse({"post": shapes.post(await ledger_of(request).content.post(row_asked(request)))})


async def pages(request: Request, visitor: Visitor) -> Response:
    """Every page by slug and title."""
    held = await ledger_of(request).content.pages()
    return JSONResponse({"pages": [{"slug": slug, "title": title} for slug, title in held]})


async def page(request: Request, visitor: Visitor) -> Response:
    """One page."""
    return JSONResponse({"page": shapes.page(await ledger_of(request).content.page(request.path_params["slug"]))})


async def save_page(request: Request, visitor: Visitor) -> Response:
    """PUT title, body. For the administrator."""
    ledger = ledger_of(request)
    slug = request.path_params["slug"]
    values = texts({**await json_values(request), "slug": slug})
    title, body, _ = forms.article(values, with_slug=True)
    await ledger.content.save_page(slug, title, body)
    return JSONResponse({"page": shapes.page(await ledger.content.page(slug))})


async def comments(request: Request, visitor: Visitor) -> Response:
    """A page of the comments on a post or page, newest first."""
    before, limit = page_asked(request)
    held = await ledger_of(request).comments.of(*await _topic(request), before, limit + 1)
    return JSONResponse(
        {"comments": [shapes.comment(one) for one in held[:limit]], "next_before": shapes.next_before(held, limit)}
    )


async def add_comment(request: Request, visitor: Visitor) -> Response:
    """body → 201."""
    body = forms.comment(texts(await json_values(request)))
    added = await ledger_of(request).comments.add(visitor.member(), *await _topic(request), body)
    return JSONResponse({"comment": shapes.comment(added)}, 201)


async def options(request: Request, visitor: Visitor) -> Response:
    """The options of the site; PATCH changes some. For the administrator."""
    ledger = ledger_of(request)
    if request.method == "PATCH":
        await ledger.options.change(forms.options(texts(await json_values(request))))
    held = await ledger.options.all()
    return JSONResponse({"options": {name: held[name] for name in (*forms.OPTIONS, ADMIN) if name in held}})


async def _topic(request: Request) -> tuple[Topic, int]:
    """What the address names; raises Missing when it is not there."""
    content = ledger_of(request).content
    if "slug" in request.path_params:
        return "page", (await content.page(request.path_params["slug"])).id
    return "post", (await content.post(row_asked(request))).id


ROUTES = [
    Route("/posts", api(posts), methods=["GET"]),
    Route("/posts", api(add_post, Who.ADMIN), methods=["POST"]),
    Route("/posts/{id:row}", api(post), methods=["GET"]),
    Route("/posts/{id:row}/comments", api(comments), methods=["GET"]),
    Route("/posts/{id:row}/comments", api(add_comment, Who.MEMBERS), methods=["POST"]),
    Route("/pages", api(pages), methods=["GET"]),
    Route("/pages/{slug:slug}", api(page), methods=["GET"]),
    Route("/pages/{slug:slug}", api(save_page, Who.ADMIN), methods=["PUT"]),
    Route("/pages/{slug:slug}/comments", api(comments), methods=["GET"]),
    Route("/pages/{slug:slug}/comments", api(add_comment, Who.MEMBERS), methods=["POST"]),
    Route("/options", api(options, Who.ADMIN), methods=["GET", "PATCH"]),
]
