"""The middleware of an ASGI application records each request once, by its template, to the end of its body. Edge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute
from starlette.websockets import WebSocket

from tenfold.middleware import asgi
from tenfold.monitor.middleware import AsgiApp, Message, Receive, Scope, Send
from tenfold.monitor.recorder import Recorder
from tests.monitor.listener import Listener
from tests.monitor.serving import ask, serving

Heard = dict[tuple[str, ...], int]


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


async def fails(request: Request) -> Response:
    raise RuntimeError("the application's own fault")


def ask_all(app: AsgiApp, recorder: Recorder, agent: Listener, *requests: str) -> Heard:
    """What is recorded of requests like "GET /path", asked one after the other."""
    timed = asgi(app, recorder)

    async def main() -> None:
        transport = httpx.ASGITransport(timed, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
            for request in requests:
                method, _, path = request.partition(" ")
                await client.request(method, path)

    asyncio.run(main())
    recorder.flush()
    agent.wait_for(len(requests))
    return agent.counts


def test_a_request_is_recorded_under_the_template_of_its_route(agent: Listener, recorder: Recorder) -> None:
    app = Starlette(routes=[Route("/", hello), Route("/users/{id:int}", hello, methods=["GET", "POST"])])
    assert ask_all(app, recorder, agent, "GET /", "GET /users/1", "POST /users/2?secret=x", "GET /users/3") == {
        ("GET", "/", "200"): 1,
        ("GET", "/users/{id}", "200"): 2,
        ("POST", "/users/{id}", "200"): 1,
    }


def test_mounted_applications_keep_the_templates_of_their_mounts(agent: Listener, recorder: Recorder) -> None:
    inner = Starlette(routes=[Route("/items/{item}", hello), Route("/", hello)])
    app = Starlette(
        routes=[
            Mount("/api/{tenant}", routes=[Route("/users/{id}", hello), Mount("/v2", app=inner)]),
            Mount("/zipped", app=GZipMiddleware(inner)),
            Mount("/plain", app=_plain),
            Host("admin.site", app=Router([Route("/only/{here}", hello)])),
        ]
    )
    asked = [
        "http://admin.site/only/me",
        "/api/acme/users/7",
        "/api/acme/v2/items/pen",
        "/api/other/v2/",
        "/zipped/items/ink",
        "/plain/any/secret",
    ]
    assert ask_all(app, recorder, agent, *(f"GET {path}" for path in asked)) == {
        ("GET", "/only/{here}", "200"): 1,
        ("GET", "/api/{tenant}/users/{id}", "200"): 1,
        ("GET", "/api/{tenant}/v2/items/{item}", "200"): 1,
        ("GET", "/api/{tenant}/v2/", "200"): 1,
        ("GET", "/zipped/items/{item}", "200"): 1,
        ("GET", "/plain/{path}", "200"): 1,
    }


def test_one_application_mounted_twice_has_two_templates(agent: Listener, recorder: Recorder) -> None:
    shared = Starlette(routes=[Route("/items/{item}", hello)])
    app = Starlette(routes=[Mount("/v1", app=shared), Mount("/v2", app=shared)])
    assert ask_all(app, recorder, agent, "GET /v1/items/1", "GET /v2/items/1", "GET /v2/items/2") == {
        ("GET", "/v1/items/{item}", "200"): 1,
        ("GET", "/v2/items/{item}", "200"): 2,
    }


def test_a_raw_path_is_never_recorded(agent: Listener, recorder: Recorder) -> None:
    app = Starlette(routes=[Route("/users/{id:int}", hello), Mount("/api", routes=[Route("/x", hello)])])
    counts = ask_all(
        app, recorder, agent, "GET /wp-login.php", "GET /users/bob@example.org", "GET /api/secret", "GET /x/"
    )
    assert not [labels for labels in counts if "secret" in labels[1] or "bob" in labels[1] or "wp" in labels[1]]
    assert counts["GET", "__unmatched__", "404"] == 3


def test_a_wrong_method_is_recorded_on_its_route(agent: Listener, recorder: Recorder) -> None:
    app = Starlette(routes=[Route("/users/{id}", hello)])
    assert ask_all(app, recorder, agent, "DELETE /users/1", "BREW /users/1") == {
        ("DELETE", "/users/{id}", "405"): 1,
        ("OTHER", "/users/{id}", "405"): 1,
    }


class _FastRoute(Route):
    """As FastAPI's routes do: each puts itself into the scope; a router that is included gives its prefix away."""

    def matches(self, scope: Any) -> Any:
        match, child = super().matches(scope)
        return match, {**child, "route": self} if child else child


def test_routes_that_name_themselves_as_fastapis_do_are_found(agent: Listener, recorder: Recorder) -> None:
    sub = Starlette(routes=[_FastRoute("/reports/{year}", hello)])
    app = Starlette(routes=[_FastRoute("/v1/orders/{order_id}", hello), Mount("/sub", app=sub)])
    assert ask_all(app, recorder, agent, "GET /v1/orders/9", "GET /sub/reports/2026") == {
        ("GET", "/v1/orders/{order_id}", "200"): 1,
        ("GET", "/sub/reports/{year}", "200"): 1,
    }


def test_an_older_starlette_that_names_only_the_endpoint_is_understood(agent: Listener, recorder: Recorder) -> None:
    class Older(dict[str, Any]):
        def __setitem__(self, key: str, value: object) -> None:
            if key != "route":
                super().__setitem__(key, value)

    app = Starlette(routes=[Mount("/api", routes=[Route("/users/{id}", hello)]), Route("/fails", fails)])
    run_one(asgi(app, recorder), scope=Older(http_scope(path="/api/users/1")))
    assert counts(recorder, agent) == {("GET", "/api/users/{id}", "200"): 1}


def test_an_application_may_name_its_route_itself(agent: Listener, recorder: Recorder) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["tenfold.route"] = "/articles/<slug>"
        await _plain(scope, receive, send)

    assert ask_all(app, recorder, agent, "GET /articles/my-secret") == {("GET", "/articles/<slug>", "200"): 1}


def test_an_exception_counts_as_500_whoever_answers_it(agent: Listener, recorder: Recorder) -> None:
    app = Starlette(routes=[Route("/fails/{n}", fails)])
    assert ask_all(app, recorder, agent, "GET /fails/1") == {("GET", "/fails/{n}", "500"): 1}


@pytest.mark.parametrize("begun", [False, True])
def test_an_exception_of_a_bare_application_counts_as_500_and_goes_on(
    agent: Listener, recorder: Recorder, begun: bool
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("gone wrong")

    with pytest.raises(RuntimeError, match="gone wrong"):
        run_one(asgi(app, recorder))
    assert counts(recorder, agent) == {("GET", "__unmatched__", "500"): 1}


def test_a_client_that_goes_is_no_error_of_the_server(agent: Listener, recorder: Recorder) -> None:
    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(30)

    async def main() -> None:
        task = asyncio.ensure_future(asgi(waits, recorder)(http_scope(), _no_message, _swallow))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def broken_pipe(message: Message) -> None:
        if message["type"] == "http.response.body":
            raise OSError("the client is gone")

    asyncio.run(main())
    with pytest.raises(OSError, match="the client is gone"):
        run_one(asgi(_plain, recorder), broken_pipe)
    assert counts(recorder, agent, 2) == {("GET", "__unmatched__", "499"): 1, ("GET", "__unmatched__", "200"): 1}


def test_a_client_that_goes_while_its_request_is_read_is_no_error_of_the_server(
    agent: Listener, recorder: Recorder
) -> None:
    async def reads(request: Request) -> Response:
        return PlainTextResponse(await request.body())

    app = asgi(Starlette(routes=[Route("/upload", reads, methods=["GET"])]), recorder)
    with pytest.raises(ClientDisconnect):
        run_one(app, scope=http_scope("/upload"))
    assert counts(recorder, agent) == {("GET", "/upload", "499"): 1}


def test_an_application_that_never_answers_counts_as_500(agent: Listener, recorder: Recorder) -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        return

    run_one(asgi(silent, recorder))
    assert counts(recorder, agent) == {("GET", "__unmatched__", "500"): 1}


def test_a_streamed_answer_is_timed_to_the_end_of_its_body(agent: Listener, recorder: Recorder) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(3):
            await asyncio.sleep(0.05)
            yield b"part"

    async def stream(request: Request) -> Response:
        return StreamingResponse(parts())

    ask_all(Starlette(routes=[Route("/stream", stream)]), recorder, agent, "GET /stream")
    assert next(iter(agent.seconds.values()))[0] >= 0.15


def test_an_answer_of_503_keeps_its_status_and_its_time(agent: Listener, recorder: Recorder) -> None:
    async def later() -> None:
        await asyncio.sleep(0.3)

    async def busy(request: Request) -> Response:
        return PlainTextResponse("come back", 503, background=BackgroundTask(later))

    assert ask_all(Starlette(routes=[Route("/busy", busy)]), recorder, agent, "GET /busy") == {
        ("GET", "/busy", "503"): 1
    }
    assert next(iter(agent.seconds.values()))[0] < 0.3


def test_background_work_after_the_answer_is_not_the_clients_time(agent: Listener, recorder: Recorder) -> None:
    async def later() -> None:
        await asyncio.sleep(0.3)
        raise RuntimeError("the background task's fault, after a good answer")

    async def quick(request: Request) -> Response:
        return PlainTextResponse("done", background=BackgroundTask(later))

    assert ask_all(Starlette(routes=[Route("/quick", quick)]), recorder, agent, "GET /quick") == {
        ("GET", "/quick", "200"): 1
    }
    assert next(iter(agent.seconds.values()))[0] < 0.3


def test_files_and_answers_to_head_are_recorded(agent: Listener, recorder: Recorder, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("x" * 200_000)

    async def file(request: Request) -> Response:
        return FileResponse(tmp_path / "file.txt")

    app = Starlette(routes=[Route("/file", file)])
    assert ask_all(app, recorder, agent, "GET /file", "HEAD /file") == {
        ("GET", "/file", "200"): 1,
        ("HEAD", "/file", "200"): 1,
    }


def test_a_file_that_the_server_sends_by_its_path_ends_the_request(agent: Listener, recorder: Recorder) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": "/some/file"})
        await asyncio.sleep(0.3)

    run_one(asgi(app, recorder))
    assert counts(recorder, agent) == {("GET", "__unmatched__", "200"): 1}
    assert next(iter(agent.seconds.values()))[0] < 0.3


def test_websockets_pass_through_unrecorded(agent: Listener, recorder: Recorder) -> None:
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())
        await websocket.close()

    app = asgi(Starlette(routes=[WebSocketRoute("/echo", echo), Route("/", hello)]), recorder)
    says: list[Message] = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "hello"}]
    answers: list[Message] = []

    async def receive() -> Message:
        return says.pop(0)

    async def send(message: Message) -> None:
        answers.append(message)

    scope = {"type": "websocket", "path": "/echo", "headers": [], "query_string": b"", "subprotocols": []}
    run_one(app, send, receive, scope=scope)
    run_one(app, scope=http_scope(path="/"))
    assert [answer.get("text") for answer in answers] == [None, "hello", None]
    assert counts(recorder, agent) == {("GET", "/", "200"): 1}


def test_a_request_is_recorded_once_though_the_middleware_stands_twice(agent: Listener, recorder: Recorder) -> None:
    inner = asgi(Starlette(routes=[Route("/x", hello)]), recorder)
    app = Starlette(routes=[Mount("/inner", app=inner)], middleware=[Middleware(asgi, recorder)])
    assert ask_all(app, recorder, agent, "GET /inner/x") == {("GET", "/inner/x", "200"): 1}


def test_it_stands_inside_and_outside_of_other_middleware(agent: Listener, recorder: Recorder) -> None:
    class Slow(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
            return await call_next(request)

    app = Starlette(routes=[Route("/users/{id}", hello)], middleware=[Middleware(Slow), Middleware(GZipMiddleware)])
    assert ask_all(app, recorder, agent, "GET /users/1") == {("GET", "/users/{id}", "200"): 1}


@pytest.mark.parametrize("route", ["/<script>alert(1)</script>", "/\x1b]0;title\x07", "/" + "a" * 3000])
def test_a_hostile_route_name_is_text_and_short(agent: Listener, recorder: Recorder, route: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["tenfold.route"] = route
        await _plain(scope, receive, send)

    (labels,) = ask_all(app, recorder, agent, "GET /")
    assert labels[1].isprintable() and len(labels[1]) <= 200


def test_routes_of_no_known_shape_break_no_answer(agent: Listener, recorder: Recorder) -> None:
    class Odd:
        @property
        def routes(self) -> list[object]:
            raise RuntimeError("no routes today")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["router"], scope["endpoint"] = Odd(), app
        await _plain(scope, receive, send)

    assert ask_all(app, recorder, agent, "GET /secret") == {("GET", "__unmatched__", "200"): 1}


def test_without_an_agent_the_application_is_returned_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TENFOLD_AGENT_SOCKET", raising=False)
    assert asgi(_plain) is _plain


UVICORN = """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
import tenfold.middleware

async def hello(request):
    return PlainTextResponse("hello")

app = tenfold.middleware.asgi(Starlette(routes=[Route("/users/{id}", hello), Route("/ready", hello)]))
"""


def test_a_server_stopped_by_sigterm_loses_none_of_its_requests(
    agent: Listener, socket_path: Path, tmp_path: Path
) -> None:
    command = ["uvicorn", "--port", "{port}", "--log-level", "warning", "shop:app"]
    with serving(UVICORN, command, tmp_path, socket_path) as port:
        assert [ask(port, f"/users/{number}") for number in range(50)] == [200] * 50
    assert agent.counts["GET", "/users/{id}", "200"] == 50


# -- the bare protocol -------------------------------------------------------------------------------------------------


async def _plain(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"plain"})


def http_scope(path: str = "/secret") -> Scope:
    return {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}


async def _no_message() -> Message:
    return {"type": "http.disconnect"}


async def _swallow(message: Message) -> None:
    return


def run_one(app: AsgiApp, send: Send = _swallow, receive: Receive = _no_message, scope: Scope | None = None) -> None:
    async def main() -> None:
        await app(http_scope() if scope is None else scope, receive, send)

    asyncio.run(main())


def counts(recorder: Recorder, agent: Listener, expected: int = 1) -> Heard:
    recorder.flush()
    agent.wait_for(expected)
    return agent.counts
