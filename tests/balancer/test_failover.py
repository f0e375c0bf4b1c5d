"""A backend fails, and no reader notices; a write is never sent twice. Edge."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.balancer.site import Site, site
from tests.http import Client


def test_a_backend_killed_under_load_costs_no_get(kind: str, tmp_path: Path) -> None:
    with site(kind, tmp_path / "var") as running:
        killed = threading.Event()
        cookies = [running.ask().cookie for _ in range(8)]
        assert "tenfold_backend=backend_1" in cookies

        def client(number: int) -> list[tuple[int, str]]:
            seen = []
            for turn in range(8):
                headers = {"Cookie": cookies[number % 8]} if number % 2 else {}
                with Client(running.port) as one:
                    for _ in range(10):
                        answer = one.ask(f"/page/{turn}", headers=headers)
                        seen.append((answer.status, answer.backend))
                if number == 0 and turn == 3:
                    running.kill_backend("backend_1")
                    killed.set()
            return seen

        with ThreadPoolExecutor(8) as pool:
            seen = [one for part in pool.map(client, range(8)) for one in part]
        assert killed.is_set() and len(seen) == 640
        assert [status for status, _ in seen if status != 200] == []
        assert 0 < sum(1 for _, backend in seen if backend == "backend_1") < 300


@pytest.mark.parametrize("status", [502, 503])
def test_a_backend_that_answers_with_sickness_leaves_after_three_failures(
    kind: str, tmp_path: Path, status: int
) -> None:
    with site(kind, tmp_path / "var") as running:
        with Client(running.backend_ports[0], "127.0.0.1") as direct:
            direct.ask(f"/answer/{status}", "PUT")
            before = direct.ask("/stats").told["requests"]
        answers = [running.ask() for _ in range(40)]
        assert {a.status for a in answers} == {200}
        with Client(running.backend_ports[0], "127.0.0.1") as direct:
            assert direct.ask("/stats").told["requests"] - before == 3


def test_a_post_that_a_backend_has_seen_is_not_sent_to_another(kind: str, tmp_path: Path) -> None:
    with site(kind, tmp_path / "var") as running:
        for sent in (1, 2, 3):
            assert running.ask("/close", method="POST", body=b"amount=1").status == 502
            assert running.stats()["posts"] == sent


def test_a_post_to_a_backend_that_refuses_the_connection_is_served_by_another(kind: str, tmp_path: Path) -> None:
    with site(kind, tmp_path / "var") as running:
        running.kill_backend("backend_0")
        running.kill_backend("backend_1")
        answers = [running.ask("/deposit", method="POST", body=b"amount=1") for _ in range(10)]
        assert {(a.status, a.backend) for a in answers} == {(200, "backend_2")}
        assert running.stats()["posts"] == 10


def test_with_no_backend_left_the_client_is_told_at_once(kind: str, tmp_path: Path) -> None:
    with site(kind, tmp_path / "var") as running:
        for name in ("backend_0", "backend_1", "backend_2"):
            running.kill_backend(name)
        assert running.ask().status == 502


def test_a_backend_leaves_for_the_reasons_the_file_gives(shipped: Site) -> None:
    text = shipped.prepared.config.read_text()
    assert text.count("max_fails=3 fail_timeout=30s") in (3, 12)
    assert "non_idempotent" not in text.replace("# Never non_idempotent", "")
