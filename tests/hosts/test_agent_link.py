"""A question to the agent is answered, refused in the agent's words, or found unanswered in time. Edge."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tenfold.errors import NodeDown, TenfoldError
from tenfold.hosts.agent_link import MAX_ANSWER, MAX_COMMAND, AgentLink
from tenfold.monitor import wire

Talk = Callable[[socket.socket], None]


@contextmanager
def answering(path: Path, talk: Talk) -> Iterator[AgentLink]:
    """A link to a server that talks so to each who connects."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    server.listen()
    threads: list[threading.Thread] = []

    def serve(line: socket.socket) -> None:
        with line, contextlib.suppress(OSError):
            line.settimeout(5)
            talk(line)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threads.append(threading.Thread(target=serve, args=(server.accept()[0],)))
                threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield AgentLink(path, timeout_s=2)
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        for thread in [accepting, *threads]:
            thread.join(6)


def question(line: socket.socket) -> dict[str, Any]:
    """What was asked, read as the agent reads it."""
    assert line.recv(1) == wire.COMMAND
    unframer = wire.Unframer()
    while True:
        for payload in unframer.feed(line.recv(1 << 16)):
            asked: dict[str, Any] = json.loads(payload)
            return asked


def answer_with(raw: bytes) -> Talk:
    def talk(line: socket.socket) -> None:
        question(line)
        line.sendall(raw)

    return talk


def framed(told: object) -> bytes:
    return wire.frame(json.dumps(told).encode(), wire.MAX_ANSWER)


def test_both_sides_mean_the_same_frames() -> None:
    assert (MAX_COMMAND, MAX_ANSWER) == (wire.MAX_FRAME, wire.MAX_ANSWER)


def test_an_answer_comes_back_without_its_ok(tmp_path: Path) -> None:
    def echo(line: socket.socket) -> None:
        line.sendall(framed({"ok": True, "asked": question(line)}))

    with answering(tmp_path / "agent.sock", echo) as link:
        assert link.ask({"do": "status", "deep": [1, {"two": "€"}]}) == {
            "asked": {"do": "status", "deep": [1, {"two": "€"}]}
        }


def test_an_answer_of_megabytes_arrives_whole(tmp_path: Path) -> None:
    def long(line: socket.socket) -> None:
        question(line)
        line.sendall(framed({"ok": True, "text": "x" * 3_000_000}))

    with answering(tmp_path / "agent.sock", long) as link:
        assert link.ask({"do": "view"}) == {"text": "x" * 3_000_000}


def test_a_link_is_shared_by_threads(tmp_path: Path) -> None:
    def echo(line: socket.socket) -> None:
        line.sendall(framed({"ok": True, "n": question(line)["n"]}))

    with answering(tmp_path / "agent.sock", echo) as link:
        got: dict[int, int] = {}
        threads = [threading.Thread(target=lambda n=n: got.__setitem__(n, link.ask({"n": n})["n"])) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert got == {n: n for n in range(20)}


def test_a_refusal_speaks_in_the_agents_words(tmp_path: Path) -> None:
    refusal = {"ok": False, "error": "there is no backend_9", "hint": "write backend_0", "retryable": True}
    with (
        answering(tmp_path / "agent.sock", answer_with(framed(refusal))) as link,
        pytest.raises(TenfoldError, match="there is no backend_9") as caught,
    ):
        link.ask({"do": "balancer"})
    assert (caught.value.hint, caught.value.retryable) == ("write backend_0", True)
    assert not isinstance(caught.value, NodeDown)


def test_nobody_at_the_socket_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NodeDown, match="does not answer") as caught:
        AgentLink(tmp_path / "agent.sock").ask({"do": "status"})
    assert "tenfold up" in caught.value.hint and caught.value.retryable


def test_a_socket_left_behind_is_nobody(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "agent.sock"))
    with pytest.raises(NodeDown, match="refused"):
        AgentLink(tmp_path / "agent.sock").ask({"do": "status"})


def test_an_agent_that_hangs_up_is_nobody(tmp_path: Path) -> None:
    with (
        answering(tmp_path / "agent.sock", answer_with(struct.pack(">I", 100) + b'{"ok"')) as link,
        pytest.raises(NodeDown, match="hung up"),
    ):
        link.ask({"do": "status"})


def test_an_agent_that_says_nothing_is_not_waited_for_long(tmp_path: Path) -> None:
    ended = threading.Event()

    def silent(line: socket.socket) -> None:
        question(line)
        ended.wait(10)

    with answering(tmp_path / "agent.sock", silent) as link:
        link.timeout_s = 0.2
        with pytest.raises(NodeDown, match=r"within 0\.2 s"):
            link.ask({"do": "status"})
        ended.set()


def test_the_time_is_for_the_whole_answer_however_it_drips(tmp_path: Path) -> None:
    def drip(line: socket.socket) -> None:
        question(line)
        for byte in framed({"ok": True, "text": "x" * 1000}):
            line.sendall(bytes([byte]))
            time.sleep(0.05)

    with answering(tmp_path / "agent.sock", drip) as link:
        link.timeout_s = 0.3
        with pytest.raises(NodeDown, match=r"within 0\.3 s"):
            link.ask({"do": "status"})


@pytest.mark.parametrize(
    "raw",
    [
        struct.pack(">I", MAX_ANSWER + 1),
        wire.frame(b"not json"),
        wire.frame(b"\xff"),
        wire.frame(b"[1]"),
        wire.frame(b'{"ok": "yes"}'),
        wire.frame(b"[" * 100_000),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
    ids=lambda raw: repr(raw[:20]),
)
def test_what_is_no_agent_is_recognised(tmp_path: Path, raw: bytes) -> None:
    with (
        answering(tmp_path / "agent.sock", answer_with(raw)) as link,
        pytest.raises(NodeDown, match="no agent of this version"),
    ):
        link.ask({"do": "status"})


def test_a_command_too_long_for_the_agent_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    with pytest.raises(TenfoldError, match="the agent takes"):
        AgentLink(tmp_path / "agent.sock").ask({"do": "x" * MAX_COMMAND})


def test_a_platform_may_lie_deeper_than_a_sockets_address_is_long(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    (tmp_path / "s").symlink_to(deep)
    with answering(tmp_path / "s" / "agent.sock", answer_with(framed({"ok": True, "here": 1}))):
        assert AgentLink(deep / "agent.sock").ask({"do": "status"}) == {"here": 1}
