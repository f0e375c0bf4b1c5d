"""A CA that signs what receivers show, and an outbox. Edge."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenfold.notify.outbox import Outbox
from tests.notify.receivers import Ca


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Ca:
    return Ca.make(tmp_path_factory.mktemp("ca") / "ca.pem")


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "outbox.db")
