"""Real servers for the tests of the middleware: a process that serves an application of this directory. Edge."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import free_port, wait_for


def ask(port: int, path: str, method: str = "GET") -> int:
    """The status of the answer, once its whole body has been read."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        line.request(method, path)
        answer = line.getresponse()
        answer.read()
        return answer.status
    finally:
        line.close()


def _answers(port: int) -> bool:
    try:
        ask(port, "/ready")
    except OSError:
        return False
    return True


@contextmanager
def serving(code: str, command: list[str], directory: Path, socket_path: Path) -> Iterator[int]:
    """The port of a server that runs `code` (a module named shop); `command` gets the port in place of {port}.

    Ended with SIGTERM, as a supervisor would.
    """
    (directory / "shop.py").write_text(code)
    port = free_port()
    named = {**os.environ, "TENFOLD_AGENT_SOCKET": str(socket_path), "TENFOLD_BACKEND": "backend_0"}
    log = (directory / "server.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", *(part.format(port=port) for part in command)],
        cwd=directory,
        env=named,
        stdout=log,
        stderr=log,
    )
    try:
        wait_for(lambda: process.poll() is not None or _answers(port), "the server answers")
        assert process.poll() is None, (directory / "server.log").read_text()
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        finally:
            process.kill()
            process.wait()
            log.close()
