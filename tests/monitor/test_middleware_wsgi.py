"""What the middleware of a WSGI application records, by the shapes that Flask and Django leave. Edge."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest

from tenfold.middleware import wsgi
from tenfold.monitor.middleware import WsgiApp
from tenfold.monitor.recorder import Recorder
from tests.monitor.listener import Listener
from tests.monitor.serving import ask, serving

Start = Callable[..., Any]


def ask_wsgi(app: WsgiApp, path: str = "/secret/42", method: str = "GET", parts: int | None = None) -> bytes:
    """The body as a server would take it: part by part, then closed; only the first `parts` if the client goes."""
    environ: dict[str, Any] = {"PATH_INFO": path, "REQUEST_METHOD": method, "QUERY_STRING": ""}
    setup_testing_defaults(environ)
    environ["wsgi.file_wrapper"] = FileWrapper
    got: list[bytes] = []
    body = app(environ, lambda status, headers, exc_info=None: got.append)
    try:
        for number, part in enumerate(body):
            if number == parts:
                break
            got.append(part)
    finally:
        close = getattr(body, "close", None)
        if close is not None:
            close()
    return b"".join(got)


def heard(recorder: Recorder, agent: Listener, count: int = 1) -> dict[tuple[str, ...], int]:
    recorder.flush()
    agent.wait_for(count)
    return agent.counts


def plain(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    start_response("201 Created", [("Content-Type", "text/plain")])
    return [b"hello"]


def test_a_path_is_never_recorded_and_a_whole_body_stays_whole(agent: Listener, recorder: Recorder) -> None:
    app = wsgi(plain, recorder)
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    assert app(environ, lambda *_: None) == [b"hello"]  # a server sends a list of one with its length
    assert ask_wsgi(app, method="POST") == b"hello"
    assert heard(recorder, agent, 2) == {("GET", "__unmatched__", "201"): 1, ("POST", "__unmatched__", "201"): 1}


class _Rule:
    rule = "/users/<int:user_id>"


class _FlaskRequest:
    url_rule: _Rule | None = _Rule()


def test_flasks_rule_is_the_template(agent: Listener, recorder: Recorder) -> None:
    def flask(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        environ["werkzeug.request"] = _FlaskRequest()
        return plain(environ, start_response)

    ask_wsgi(wsgi(flask, recorder))
    assert heard(recorder, agent) == {("GET", "/users/<int:user_id>", "201"): 1}


def test_a_page_that_flask_does_not_know_is_unmatched(agent: Listener, recorder: Recorder) -> None:
    class Unknown(_FlaskRequest):
        url_rule = None

    def flask(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        environ["werkzeug.request"] = Unknown()
        start_response("404 Not Found", [])
        return iter([b"no such page"])

    ask_wsgi(wsgi(flask, recorder))
    assert heard(recorder, agent) == {("GET", "__unmatched__", "404"): 1}


class _Match:
    def __init__(self, route: str) -> None:
        self.route = route


class _DjangoRequest:
    def __init__(self, route: str) -> None:
        self.resolver_match = _Match(route)

    def close(self) -> None:
        return


class _DjangoResponse:
    """An iterable that closes the request with itself, as Django's responses do."""

    def __init__(self, request: _DjangoRequest, content: Iterable[bytes] = (b"hello",)) -> None:
        self._resource_closers = [request.close]
        self._content = content
        self.closed = False
        self.file_to_stream: io.BytesIO | None = None

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._content)

    def close(self) -> None:
        for closer in self._resource_closers:
            closer()
        self._resource_closers.clear()
        self.closed = True


@pytest.mark.parametrize(
    ("route", "told"), [("users/<int:pk>/", "/users/<int:pk>/"), ("", "/"), (r"^old/(\d+)$", r"/^old/(\d+)$")]
)
def test_djangos_route_is_the_template(agent: Listener, recorder: Recorder, route: str, told: str) -> None:
    response = _DjangoResponse(_DjangoRequest(route))

    def django(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        start_response("200 OK", [])
        return response

    assert ask_wsgi(wsgi(django, recorder)) == b"hello"
    assert response.closed
    assert heard(recorder, agent) == {("GET", told, "200"): 1}


def test_a_file_that_django_streams_stays_one_that_the_server_knows(agent: Listener, recorder: Recorder) -> None:
    response = _DjangoResponse(_DjangoRequest("files/<name>"))

    class File(io.BytesIO):
        pass

    def django(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        start_response("200 OK", [])
        file = File(b"content")
        file.close = response.close  # type: ignore[method-assign]  # as Django does
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file)
        return wrapped

    environ: dict[str, Any] = {"wsgi.file_wrapper": FileWrapper}
    setup_testing_defaults(environ)
    body = wsgi(django, recorder)(environ, lambda *_: None)
    assert type(body) is FileWrapper
    assert b"".join(body) == b"content"
    assert recorder.flush() and agent.heard == 0
    body.close()
    assert response.closed
    assert heard(recorder, agent) == {("GET", "/files/<name>", "200"): 1}


def test_a_streamed_body_is_timed_to_its_end(agent: Listener, recorder: Recorder) -> None:
    def stream(environ: dict[str, Any], start_response: Start) -> Iterator[bytes]:
        start_response("200 OK", [])
        for _ in range(3):
            time.sleep(0.05)
            yield b"part"
        environ["tenfold.route"] = "/stream"

    assert ask_wsgi(wsgi(stream, recorder)) == b"part" * 3
    assert heard(recorder, agent) == {("GET", "/stream", "200"): 1}
    assert next(iter(agent.seconds.values()))[0] >= 0.15


def test_a_client_that_goes_ends_its_request_once(agent: Listener, recorder: Recorder) -> None:
    closed: list[bool] = []

    def stream(environ: dict[str, Any], start_response: Start) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            while True:
                yield b"part"
        finally:
            closed.append(True)

    assert ask_wsgi(wsgi(stream, recorder), parts=2) == b"partpart"
    assert closed == [True]
    assert heard(recorder, agent) == {("GET", "__unmatched__", "200"): 1}


@pytest.mark.parametrize("when", ["at once", "in the body"])
def test_an_exception_counts_as_500_and_goes_on(agent: Listener, recorder: Recorder, when: str) -> None:
    def body() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("gone wrong")

    def app(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        start_response("200 OK", [])
        if when == "at once":
            raise RuntimeError("gone wrong")
        return body()

    with pytest.raises(RuntimeError, match="gone wrong"):
        ask_wsgi(wsgi(app, recorder))
    assert heard(recorder, agent) == {("GET", "__unmatched__", "500"): 1}


def test_a_request_is_recorded_once_though_the_middleware_stands_twice(agent: Listener, recorder: Recorder) -> None:
    ask_wsgi(wsgi(wsgi(plain, recorder), recorder))
    assert heard(recorder, agent) == {("GET", "__unmatched__", "201"): 1}


def test_the_standards_own_validator_has_nothing_to_say(agent: Listener, recorder: Recorder) -> None:
    def lazy(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (part for part in (b"a", b"b"))

    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    environ["QUERY_STRING"] = ""
    body = validator(wsgi(validator(lazy), recorder))(environ, lambda status, headers, exc_info=None: lambda data: None)
    assert list(body) == [b"a", b"b"]
    body.close()  # type: ignore[attr-defined]
    assert heard(recorder, agent) == {("GET", "__unmatched__", "200"): 1}


def test_without_an_agent_the_application_is_returned_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TENFOLD_AGENT_SOCKET", raising=False)
    assert wsgi(plain) is plain


GUNICORN = """
import os, time
import tenfold.middleware

def plain(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(0.05)
    environ["tenfold.route"] = "/ready" if environ["PATH_INFO"] == "/ready" else "/pid"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]

app = tenfold.middleware.wsgi(plain)
"""


def test_workers_forked_by_gunicorn_from_a_loaded_application_lose_nothing(
    agent: Listener, socket_path: Path, tmp_path: Path
) -> None:
    command = ["gunicorn", "--preload", "--workers", "2", "--bind", "127.0.0.1:{port}", "--log-level", "warning"]
    with serving(GUNICORN, [*command, "shop:app"], tmp_path, socket_path) as port:
        assert {ask(port, "/any") for _ in range(160)} == {200}
        # A worker has one request at a time: of many slow ones at once the second must take some.
        with ThreadPoolExecutor(8) as crowd:
            assert set(crowd.map(lambda _: ask(port, "/slow"), range(40))) == {200}
    assert agent.counts["GET", "/pid", "200"] == 200
    assert os.getpid() not in agent.pids and len(agent.pids) == 2
