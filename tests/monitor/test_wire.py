"""What a recorder writes is what the collector reads, and nothing else is taken. Pure."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.monitor.receive import Batch, Name, Stream
from tenfold.monitor.wire import (
    HTTP,
    MAX_FRAME,
    MAX_LABEL,
    MAX_NAMES,
    MAX_SECONDS,
    NAMES,
    SCALE,
    SQL,
    VALUES,
    Unframer,
    WireError,
    encode_names,
    encode_values,
    frame,
)

GET_USER = ["GET", "/users/{id}", "200"]


class Collector:
    """One connection, and the names it registered. Its numbers are not the recorder's."""

    def __init__(self) -> None:
        self.names: list[Name] = []
        self.stream = Stream(self._register)

    def _register(self, name: Name) -> int:
        self.names.append(name)
        return len(self.names) + 99

    def take(self, *payloads: bytes) -> list[Batch]:
        return list(self.stream.feed(b"".join(frame(payload) for payload in payloads)))


def names_payload(**changes: object) -> bytes:
    told = {"pid": 7, "backend": "backend_0", "kind": HTTP, "names": {"0": GET_USER}, **changes}
    return NAMES + json.dumps(told).encode()


@given(payloads=st.lists(st.binary(max_size=40), max_size=8), cuts=st.lists(st.integers(1, 30), min_size=1))
def test_frames_are_the_same_however_the_stream_is_cut(payloads: list[bytes], cuts: list[int]) -> None:
    sent, unframer, turn = b"".join(frame(one) for one in payloads), Unframer(), 0
    got: list[bytes] = []
    while sent:
        size = cuts[turn % len(cuts)]
        got += unframer.feed(sent[:size])
        sent, turn = sent[size:], turn + 1
    assert got == payloads


def test_a_frame_over_the_limit_is_refused_by_its_length_alone() -> None:
    with pytest.raises(WireError, match="at most"):
        list(Unframer().feed(struct.pack(">I", MAX_FRAME + 1)))
    with pytest.raises(WireError, match="at most"):
        frame(b"x" * (MAX_FRAME + 1))
    assert list(Unframer().feed(frame(b"x" * MAX_FRAME))) == [b"x" * MAX_FRAME]


def test_what_was_recorded_arrives_under_the_collectors_numbers() -> None:
    collector = Collector()
    batches = collector.take(
        encode_names(7, "backend_1", HTTP, {0: GET_USER, 2: ["POST", "/login", "429"]}),
        encode_names(7, "backend_1", SQL, {1: ["SELECT", "users", "shard_0", "ok"]}, dropped=3),
        encode_values([0 * SCALE + 0.25, 1 * SCALE + 0.001, 2 * SCALE + 7.5, 0.5]),
    )
    assert collector.names == [
        Name(HTTP, ("GET", "/users/{id}", "200")),
        Name(HTTP, ("POST", "/login", "429")),
        Name(SQL, ("SELECT", "users", "shard_0", "ok")),
    ]
    assert [batch.kind for batch in batches] == [HTTP, SQL]
    assert batches[0].ids.tolist() == [100, 101, 100] and batches[0].seconds.tolist() == [0.25, 7.5, 0.5]
    assert batches[1].ids.tolist() == [102] and batches[1].seconds.tolist() == pytest.approx([0.001], rel=1e-9)
    assert (collector.stream.pid, collector.stream.backend, collector.stream.dropped) == (7, "backend_1", 3)


def test_a_duration_keeps_its_microseconds_under_the_highest_id() -> None:
    collector = Collector()
    spent = [0.0, 1e-6, 0.123456789, 59.999999, MAX_SECONDS]
    last = MAX_NAMES - 1
    (batch,) = collector.take(
        encode_names(1, "", HTTP, {last: GET_USER}), encode_values([last * SCALE + seconds for seconds in spent])
    )
    assert batch.seconds.tolist() == pytest.approx(spent, abs=1e-8)
    assert set(batch.ids.tolist()) == {100}


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x03",
        NAMES,
        NAMES + b"{",
        NAMES + b"[1]",
        NAMES + b"\xff\xfe",
        NAMES + b"[" * 200_000,
        names_payload(kind="ping"),
        names_payload(kind=["http"]),
        names_payload(names=[GET_USER]),
        names_payload(names={"4096": GET_USER}),
        names_payload(names={"-1": GET_USER}),
        names_payload(names={"١": GET_USER}),
        names_payload(names={"1e3": GET_USER}),
        names_payload(names={"0": "GET"}),
        names_payload(names={"0": GET_USER[:2]}),
        names_payload(names={"0": ["GET", "/", 200]}),
        names_payload(names={"0": GET_USER, "00": GET_USER}),
        names_payload(kind=SQL),
        names_payload(pid="7"),
        names_payload(pid=True),
        names_payload(pid=-7),
        names_payload(pid=1e999),
        names_payload(backend=None),
        names_payload(dropped=-1),
        names_payload(dropped=1.5),
        VALUES + b"1234567",
        VALUES + struct.pack("<d", -0.5),
        VALUES + struct.pack("<d", float("nan")),
        VALUES + struct.pack("<d", float("inf")),
        VALUES + struct.pack("<d", MAX_NAMES * SCALE),
        VALUES + struct.pack("<d", 9 * SCALE + 0.1),
    ],
    ids=lambda payload: repr(payload[:60]),
)
def test_a_broken_frame_ends_its_connection_and_takes_nothing_back(payload: bytes) -> None:
    collector = Collector()
    good = encode_names(7, "backend_0", HTTP, {5: GET_USER}), encode_values([5 * SCALE + 1.0, 5 * SCALE + 2.0])
    batches = collector.stream.feed(b"".join(frame(one) for one in (*good, payload)))
    assert next(batches).seconds.tolist() == [1.0, 2.0]
    with pytest.raises(WireError):
        next(batches)


def test_a_name_given_twice_is_refused() -> None:
    collector = Collector()
    collector.take(names_payload())
    with pytest.raises(WireError, match="already"):
        collector.take(names_payload())


def test_a_connection_has_4096_names_and_no_more() -> None:
    collector = Collector()
    for first in range(0, MAX_NAMES, 1024):
        collector.take(encode_names(1, "", HTTP, {n: ["GET", f"/{n}", "200"] for n in range(first, first + 1024)}))
    assert len(collector.names) == MAX_NAMES
    with pytest.raises(WireError):
        collector.take(encode_names(1, "", HTTP, {MAX_NAMES: GET_USER}))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("/" + "x" * 5000, "/" + "x" * (MAX_LABEL - 1)),
        ("/<script>alert(1)</script>", "/<script>alert(1)</script>"),
        ("/\x1b[31mred\x07", "/\ufffd[31mred\ufffd"),
        ("/\u202eevil", "/\ufffdevil"),
        ("/a\nb\tc\x00", "/a\ufffdb\ufffdc\ufffd"),
        ("/straße/日本", "/straße/日本"),
    ],
)
def test_a_hostile_name_arrives_as_short_printable_text(written: str, read: str) -> None:
    collector = Collector()
    collector.take(names_payload(names={"0": ["GET", written, "200"]}))
    assert collector.names[0].labels[1] == read


def test_a_lone_surrogate_never_leaves_the_receiver() -> None:
    collector = Collector()
    collector.take(NAMES + b'{"pid":1,"backend":"","kind":"http","names":{"0":["GET","/\\ud800","200"]}}')
    collector.take(encode_names(1, "", HTTP, {1: ["GET", "/\ud800", "200"]}))
    assert [name.labels[1] for name in collector.names] == ["/\ufffd", "/?"]
