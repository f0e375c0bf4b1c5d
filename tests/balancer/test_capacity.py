"""nginx's share of the machine. Edge."""

from __future__ import annotations

from tenfold.balancer.capacity import MOST_WORKERS, SENSIBLE_CONNECTIONS, capacity


def test_a_worker_never_has_more_connections_than_files() -> None:
    for limit in (64, 256, 1024, 4096, 20_000, 1_048_576):
        share = capacity(2, limit)
        assert share.connections < share.files <= limit


def test_two_workers_carry_ten_thousand_clients_who_each_hold_two_connections() -> None:
    share = capacity(2, 20_000)
    assert share.warning is None
    assert share.workers * share.connections // 2 >= 10_000


def test_too_few_files_are_said_with_the_number_that_would_do() -> None:
    share = capacity(2, 1024)
    assert share.connections < SENSIBLE_CONNECTIONS
    assert share.warning is not None
    assert "1024 files" in share.warning and "896 clients" in share.warning and "LimitNOFILE" in share.warning


def test_workers_follow_the_processors_within_bounds() -> None:
    assert capacity(0, 20_000).workers == 1
    assert capacity(4, 20_000).workers == 4
    assert capacity(256, 20_000).workers == MOST_WORKERS
