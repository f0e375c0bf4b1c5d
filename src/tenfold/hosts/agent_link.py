"""The client of the agent's socket. Edge.

A frame is a big-endian 32-bit length and so many bytes, as in tenfold/monitor/wire.py, which hosts may not import.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tenfold.errors import NodeDown, TenfoldError

COMMAND = b"C"
MAX_COMMAND = 1 << 20
MAX_ANSWER = 16 << 20
_LENGTH = struct.Struct(">I")
_LONGEST_PATH = 100
"""Bytes; the kernel takes 107 on Linux and 103 elsewhere."""


class AgentLink:
    """Asks the agent of this host. Each question has a connection of its own, so a link may be shared by threads."""

    def __init__(self, path: str | os.PathLike[str], timeout_s: float = 10.0) -> None:
        """`path`: the agent's socket; `timeout_s`: for question and answer together."""
        self.path, self.timeout_s = Path(path), timeout_s

    def ask(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to `command`, without its "ok".

        Raises NodeDown when nobody answers in time, TenfoldError with the agent's own words, hint and
        `retryable` when it refuses, and for a command beyond MAX_COMMAND bytes.
        """
        question = json.dumps(command).encode()
        if len(question) > MAX_COMMAND:
            raise TenfoldError(
                f"a command of {len(question)} bytes; the agent takes {MAX_COMMAND}", hint="ask for less"
            )
        until_s = time.monotonic() + self.timeout_s
        try:
            with dial(self.path, self.timeout_s) as line:
                line.sendall(COMMAND + _LENGTH.pack(len(question)) + question)
                (length,) = _LENGTH.unpack(_exactly(line, _LENGTH.size, until_s))
                if length > MAX_ANSWER:
                    raise self._babble()
                answer = json.loads(_exactly(line, length, until_s))
        except TimeoutError:
            raise NodeDown(
                f"the agent did not answer within {self.timeout_s:g} s ({self.path})",
                hint="try again; `tenfold logs agent` shows what it is doing",
            ) from None
        except OSError as error:
            raise NodeDown(
                f"the agent does not answer ({self.path}: {error.strerror or error})",
                hint="start the platform with `tenfold up`; if it runs, the agent is back in a moment",
            ) from None
        except (ValueError, RecursionError):
            raise self._babble() from None
        return self._granted(answer)

    def _granted(self, answer: object) -> dict[str, Any]:
        if not isinstance(answer, dict) or not isinstance(answer.get("ok"), bool):
            raise self._babble()
        if answer.pop("ok"):
            return answer
        raise TenfoldError(
            str(answer.get("error") or "the agent refused"),
            hint=str(answer.get("hint") or ""),
            retryable=answer.get("retryable") is True,
        )

    def _babble(self) -> NodeDown:
        return NodeDown(
            f"what answers at {self.path} is no agent of this version",
            hint="restart the platform with `tenfold down` and `tenfold up`",
        )


def dial(path: str | os.PathLike[str], timeout_s: float) -> socket.socket:
    """A connection to a Unix socket, with `timeout_s` for each call on it. Raises OSError when nobody listens."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.settimeout(timeout_s)
        with short_path(path) as name:
            line.connect(name)
    except BaseException:
        line.close()
        raise
    return line


@contextmanager
def short_path(path: str | os.PathLike[str]) -> Iterator[str]:
    """A name for `path` that connect() and bind() take: a platform may lie deeper than a socket's address is long."""
    name = os.path.abspath(path)  # noqa: PTH100  # resolve() would follow a link that is replaced later
    if len(os.fsencode(name)) <= _LONGEST_PATH or not os.path.isdir("/proc/self/fd"):  # noqa: PTH112
        yield name
        return
    folder, file = os.path.split(name)
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{held}/{file}"
    finally:
        os.close(held)


def _exactly(line: socket.socket, size: int, until_s: float) -> bytes:
    """So many bytes. Raises TimeoutError, ConnectionError when the other side ends before."""
    got = bytearray()
    while len(got) < size:
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        line.settimeout(left_s)
        part = line.recv(min(size - len(got), 1 << 16))
        if not part:
            raise ConnectionError("it hung up")
        got += part
    return bytes(got)
