"""A collector to talk to, for the tests of recorder and middleware. Edge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tenfold.monitor.recorder import Recorder
from tests.monitor.listener import Listener, listening


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    return tmp_path / "agent.sock"


@pytest.fixture
def agent(socket_path: Path) -> Iterator[Listener]:
    with listening(socket_path) as listener:
        yield listener


@pytest.fixture
def recorder(socket_path: Path) -> Iterator[Recorder]:
    """Ships when it is told to, or when it is pressed: the tests do not wait for its second."""
    recorder = Recorder(socket_path, "backend_0", interval_s=60)
    yield recorder
    recorder.close()
