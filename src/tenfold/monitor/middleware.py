"""Times the requests of an ASGI or WSGI application, by the template of their route. Edge.

Where no agent is named the application is returned as it is: no cost and no error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from time import perf_counter
from typing import Any

from tenfold.monitor.recorder import Recorder, current
from tenfold.monitor.routes import UNMATCHED, Templates, wsgi_template

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_TIMED = "tenfold.timed"
"""Marks a request that is being timed: an application with the middleware may be mounted in another with it."""
_CLIENT_GONE = 499
"""As nginx logs a request whose client went before the answer began. It is no error of the server's."""
_SERVER_ERROR = 500
_LAST = frozenset(("http.response.body", "http.response.pathsend", "http.response.zerocopysend"))
"""Messages that end the body, unless they say that there is more of it."""


def asgi(app: AsgiApp, recorder: Recorder | None = None) -> AsgiApp:
    """The application, timed: `app = tenfold.middleware.asgi(app)`, or `app.add_middleware(tenfold.middleware.asgi)`.

    Each HTTP request is recorded once, from its arrival to the end of its body. An exception counts as 500.
    Websockets pass through. `recorder`: default, that of this process, or none where no agent is named.
    """
    recorder = recorder or current()
    return app if recorder is None else _Asgi(app, recorder)


def wsgi(app: WsgiApp, recorder: Recorder | None = None) -> WsgiApp:
    """The application, timed: `application = tenfold.middleware.wsgi(application)`. As `asgi`."""
    recorder = recorder or current()
    return app if recorder is None else _Wsgi(app, recorder)


class _Asgi:
    def __init__(self, app: AsgiApp, recorder: Recorder) -> None:
        self.app, self._recorder, self._templates = app, recorder, Templates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, self._flushing(send))
            else:
                await self.app(scope, receive, send)
            return
        if _TIMED in scope:
            await self.app(scope, receive, send)
            return
        scope[_TIMED] = True
        started_s = perf_counter()
        ended_s = 0.0
        status = 0
        done = gone = False

        async def watched(message: Message) -> None:
            nonlocal status, done, gone, ended_s
            kind = message["type"]
            if kind == "http.response.start":
                status = message["status"]
            try:
                await send(message)
            except OSError:
                gone = True
                raise
            if kind in _LAST and not ended_s and not message.get("more_body"):
                # Now, not when the application returns: its background tasks come in between.
                ended_s = perf_counter()
                # A framework answers 500 to any exception before it lets it go; that one may say more.
                if status < _SERVER_ERROR:
                    done = True
                    self._note(scope, status, ended_s - started_s)

        try:
            await self.app(scope, receive, watched)
        except BaseException as error:
            if not done:
                seconds = (ended_s or perf_counter()) - started_s
                self._note(scope, _status_of_failure(status, error, gone), seconds)
            raise
        if not done:  # it never ended its body; a server answers 500 where it did not begin one either
            self._note(scope, status or _SERVER_ERROR, (ended_s or perf_counter()) - started_s)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        self._recorder.http(scope["method"], self._templates.of(scope), status, seconds)

    def _flushing(self, send: Send) -> Send:
        async def flushing(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                # uvicorn ends by raising the signal that stopped it once more, so that no exit handler runs.
                # On this thread: nothing else is left to be served, and not every event loop is asyncio's.
                self._recorder.flush(timeout_s=0.5)
            await send(message)

        return flushing


def _status_of_failure(status: int, error: BaseException, gone: bool) -> int:
    """What a request that ended with `error` counts as; `status`: that of the answer, 0 before it began.

    A cancelled task (of whatever event loop, and no Exception) and Starlette's ClientDisconnect say that the client
    is gone.
    """
    if gone or not isinstance(error, Exception) or type(error).__name__ == "ClientDisconnect":
        return status if 0 < status < _SERVER_ERROR else _CLIENT_GONE
    return max(status, _SERVER_ERROR)


class _Wsgi:
    def __init__(self, app: WsgiApp, recorder: Recorder) -> None:
        self.app, self._recorder = app, recorder

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if _TIMED in environ:
            return self.app(environ, start_response)
        environ[_TIMED] = True
        request = _WsgiRequest(environ, start_response, self._recorder)
        try:
            body = self.app(environ, request.start_response)
        except BaseException:
            request.end(_SERVER_ERROR)
            raise
        request.template = wsgi_template(environ, body)
        if isinstance(body, list | tuple):  # it is whole already, and a server may send it in one piece
            request.end()
            return body
        wrapper = environ.get("wsgi.file_wrapper")
        if isinstance(wrapper, type) and isinstance(body, wrapper) and request.close_with(body):
            return body  # as it is, so that the server knows it and lets the kernel send the file
        return _Body(body, request)


class _WsgiRequest:
    """One request under way; noted once."""

    __slots__ = ("_environ", "_recorder", "_start_response", "_started_s", "_status", "template")

    def __init__(self, environ: dict[str, Any], start_response: Callable[..., Any], recorder: Recorder) -> None:
        self._started_s = perf_counter()
        self._environ, self._start_response = environ, start_response
        self._recorder: Recorder | None = recorder
        self._status = 0
        self.template = UNMATCHED

    def start_response(self, status: str, headers: Any, *exc_info: Any) -> Any:
        digits = status[:3]
        self._status = int(digits) if digits.isdecimal() else _SERVER_ERROR
        return self._start_response(status, headers, *exc_info)

    def end(self, status: int = 0) -> None:
        """The body has ended, with `status` if that is another than the one it began with."""
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            # A generator may name its route only once it runs.
            template = self.template if self.template != UNMATCHED else wsgi_template(self._environ, None)
            method = self._environ.get("REQUEST_METHOD", "GET")
            recorder.http(method, template, status or self._status or _SERVER_ERROR, perf_counter() - self._started_s)

    def close_with(self, body: Any) -> bool:
        """Have the request end when the server closes `body`; → whether `body` lets that be done."""
        close = getattr(body, "close", None)

        def closing() -> None:
            try:
                if close is not None:
                    close()
            finally:
                self.end()

        try:
            body.close = closing
        except AttributeError:
            return False
        return True


class _Body:
    """A body that ends its request when it ends, fails, or is closed before its end."""

    __slots__ = ("_body", "_parts", "_request")

    def __init__(self, body: Iterable[bytes], request: _WsgiRequest) -> None:
        self._body, self._request = body, request
        self._parts: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            if self._parts is None:
                self._parts = iter(self._body)
            return next(self._parts)
        except StopIteration:
            self._request.end()
            raise
        except BaseException:
            self._request.end(_SERVER_ERROR)
            raise

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._request.end()
