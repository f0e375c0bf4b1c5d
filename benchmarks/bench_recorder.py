"""What does it cost to be measured? Recorder and middleware beside prometheus_client and OpenTelemetry. Edge."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, Histogram
from tests.monitor.listener import listening

from benchmarks.report import alternate, heading, spread
from tenfold.monitor.middleware import AsgiApp, Message, Receive, Scope, Send, asgi
from tenfold.monitor.receive import Stream
from tenfold.monitor.recorder import Recorder
from tenfold.monitor.wire import MAX_VALUES, SCALE, encode_names, encode_values, frame

ROUNDS, OBSERVATIONS, REQUESTS = 9, 50_000, 20_000
ROUTE = "/users/{id}"
TARGET = 0.15


def main() -> None:
    heading("What does it cost to be measured?")
    with tempfile.TemporaryDirectory() as directory, drained(Path(directory) / "agent.sock") as path:
        recorder = Recorder(path, "bench")
        child = Histogram("h", "", ["method", "route", "status"], registry=CollectorRegistry())
        reader = InMemoryMetricReader()
        meter = MeterProvider([reader]).get_meter("bench").create_histogram("h")

        sides: dict[str, Callable[[], object]] = {
            "empty call": lambda: None,
            "tenfold": lambda: recorder.http("GET", ROUTE, 200, 0.001),
            "prometheus_client": lambda: child.labels("GET", ROUTE, "200").observe(0.001),
            "opentelemetry-sdk": lambda: meter.record(0.001, {"method": "GET", "route": ROUTE, "status": 200}),
        }
        figures = alternate(ROUNDS, {name: partial(per_call_ns, call, recorder) for name, call in sides.items()})
        ratio = show("one observation", figures, "ns", "prometheus_client")
        told = "reached" if ratio <= TARGET else "MISSED"
        print(f"{'':28s} to reach: × {TARGET} of prometheus_client's labels().observe: {told}\n")
        requests(recorder, child, meter)
        show("the collector's part", {"decoded, of one observation": [decode_ns() for _ in range(ROUNDS)]}, "ns", "")
        threads(recorder)
        print(f"{'dropped by the recorder':28s} {recorder.dropped}")
        recorder.close()


@contextmanager
def drained(path: Path) -> Iterator[Path]:
    """A real collector's end of the socket."""
    with listening(path):
        yield path


def per_call_ns(call: Callable[[], object], recorder: Recorder) -> float:
    """Nanoseconds of one call; shipping is paid for afterwards, and is measured by itself."""
    started = time.perf_counter_ns()
    for _ in range(OBSERVATIONS):
        call()
    spent = time.perf_counter_ns() - started
    recorder.flush(10)
    return spent / OBSERVATIONS


def timed_by(app: AsgiApp, observe: Callable[[str, int, float], object]) -> AsgiApp:
    """As thin a middleware as one can write by hand around another library."""

    async def timed(scope: Scope, receive: Receive, send: Send) -> None:
        started, status = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await app(scope, receive, watched)
        finally:
            observe(scope["method"], status, time.perf_counter() - started)

    return timed


def requests(recorder: Recorder, prometheus: Histogram, meter: metrics.Histogram) -> None:
    def to_meter(method: str, status: int, seconds: float) -> None:
        meter.record(seconds, {"method": method, "route": ROUTE, "status": status})

    sides = {
        "bare application": bare,
        "tenfold": asgi(bare, recorder),
        "prometheus_client": timed_by(bare, lambda m, status, s: prometheus.labels(m, ROUTE, str(status)).observe(s)),
        "opentelemetry-sdk": timed_by(bare, to_meter),
    }
    figures = alternate(ROUNDS, {name: partial(per_request_us, app, recorder) for name, app in sides.items()})
    show("one ASGI request", figures, "µs", "prometheus_client", digits=2)
    nothing = statistics.median(figures["bare application"])
    for name in list(sides)[1:]:
        print(f"{'':28s} {name} adds {statistics.median(figures[name]) - nothing:.2f} µs")
    print()


class _Route:
    path_format = ROUTE


_ROUTE = _Route()


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    scope["route"] = _ROUTE
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _receive() -> Message:
    return {"type": "http.disconnect"}


async def _send(message: Message) -> None:
    return


def per_request_us(app: AsgiApp, recorder: Recorder) -> float:
    async def run() -> float:
        started = time.perf_counter()
        for _ in range(REQUESTS):
            await app({"type": "http", "method": "GET", "path": "/users/42"}, _receive, _send)
        return (time.perf_counter() - started) / REQUESTS * 1e6

    spent = asyncio.run(run())
    recorder.flush(10)
    return spent


def decode_ns() -> float:
    """Nanoseconds of one observation from socket bytes to arrays, in frames as large as they get."""
    values = np.arange(MAX_VALUES) % 500 * SCALE + 0.001
    names = {n: ["GET", f"/{n}", "200"] for n in range(500)}
    stream = Stream(lambda name: int(name.labels[1][1:]))
    list(stream.feed(frame(encode_names(1, "", "http", names))))
    payload = frame(encode_values(values.tolist()))
    started = time.perf_counter_ns()
    for _ in range(5):
        list(stream.feed(payload))
    return (time.perf_counter_ns() - started) / 5 / MAX_VALUES


def threads(recorder: Recorder) -> None:
    """Four threads that do nothing else, with a real collector at the other end."""

    def write() -> None:
        for _ in range(OBSERVATIONS):
            recorder.http("GET", ROUTE, 200, 0.001)

    def run() -> float:
        writers = [threading.Thread(target=write) for _ in range(4)]
        started = time.perf_counter_ns()
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        spent = (time.perf_counter_ns() - started) / OBSERVATIONS / 4
        recorder.flush(10)
        return spent

    show("four threads at once", {"tenfold, an observation": [run() for _ in range(ROUNDS)]}, "ns", "")


def show(what: str, figures: dict[str, list[float]], unit: str, peer: str, digits: int = 0) -> float:
    """Print the medians, each with its ratio to the peer's; → that of tenfold."""
    base = statistics.median(figures[peer]) if peer else 0.0
    ratio = 0.0
    for name, values in figures.items():
        share = statistics.median(values) / base if base else 0.0
        ratio = share if name == "tenfold" else ratio
        print(f"{what:28s} {name:28s} {spread(values, unit, digits):32s}" + (f" × {share:.2f}" if base else ""))
    print()
    return ratio


if __name__ == "__main__":
    main()
