"""Servers that tests of several packages share. Edge."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.mariadb import Server, pattern, server, shared_directory
from tests.support import memory

# pytest's own directories too: a test writes little, and syncs it to disk at every step.
if (room := memory()) is not None:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(room))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What one engine shows is not shown again by the other in every run: see the marker `sample`."""
    if os.environ.get("TENFOLD_FAULT_ROUNDS", "0") != "0":
        return
    for item in items:
        for mark in item.iter_markers("sample"):
            engine, *kept = mark.args
            words = item.name.partition("[")[2].rstrip("]").split("-")
            if engine in words and not any(word in words for word in kept):
                item.add_marker(pytest.mark.skip(reason=f"`make faults` runs it on {engine} too"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests want shown (`record_property("shown", text)`): what a parallel worker prints is lost."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, text in report.user_properties:
                if name == "shown" and report.when == "call":
                    terminalreporter.section(report.nodeid)
                    terminalreporter.write_line(str(text))


@pytest.fixture(scope="session")
def mariadb_pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a server that never ran, for `tests.mariadb.Server`."""
    return pattern(shared_directory(tmp_path_factory))


@pytest.fixture(scope="session")
def three_servers(mariadb_pattern: Path) -> Iterator[list[Server]]:
    """Three MariaDB servers, for `tests.mariadb.fresh_databases`. A test leaves them running and as they were."""
    with ExitStack() as stack:
        yield [stack.enter_context(server(mariadb_pattern)) for _ in range(3)]
