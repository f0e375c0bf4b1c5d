"""What was counted, and how far: kept as one. Edge."""

from __future__ import annotations

import os
from pathlib import Path

from tenfold.balancer.render import ACCESS_LOG_COLUMNS
from tenfold.monitor.collect.access import Columns, parse
from tenfold.monitor.collect.tail import Tail
from tenfold.runtime import agent_place
from tenfold.runtime.agent_place import Counted
from tenfold.runtime.agent_tally import Count, Tally, series
from tests.runtime.agents import log_line


def counted(*lines: str) -> Tally:
    tally = Tally()
    columns = Columns.of(list(ACCESS_LOG_COLUMNS))
    tally.add(parse([line.strip().encode() for line in lines], columns, {"127.0.0.1:1": "backend_0"}, "/healthz"))
    return tally


def test_requests_errors_and_seconds_are_counted_in_total_and_by_backend() -> None:
    tally = counted(log_line(1, 200, 0.5), log_line(1, 500, 0.25), log_line(9, 429, 0.0), "broken")
    assert tally.total == Count(3, 1, 0.75)
    assert tally.backends == {"backend_0": Count(2, 1, 0.75)}
    assert tally.broken == 1


def test_the_place_on_disk_holds_nobodys_data_and_comes_back_as_it_was(tmp_path: Path) -> None:
    log = tmp_path / "log"
    tail = Tail(log)
    line = log_line(1, path="/secret-path", client="203.0.113.9")
    log.write_text(line)
    cursor, tally = tail.look(0.0).cursor, counted(line)
    place = tmp_path / "place"
    agent_place.save(place, Counted(cursor, tally.as_json()))
    assert b"secret" not in place.read_bytes() and b"203.0" not in place.read_bytes()
    assert place.stat().st_mode & 0o077 == 0
    assert agent_place.load(place) == (cursor, tally)


def test_a_damaged_place_counts_as_none(tmp_path: Path) -> None:
    place = tmp_path / "place"
    assert agent_place.load(place) == (None, Tally())
    good = b'{"now": null, "older": []}'
    for damaged in (
        b"", b"{}", b"[1]", b"[" * 100_000, b'{"cursor": 5, "tally": {}}', b'{"cursor": ' + good + b', "tally": 5}',
        b'{"cursor": {"now": {}, "older": []}, "tally": {"backends": {}}}',
        b'{"cursor": ' + good + b', "tally": {"backends": {"a": 1}, "total": {}}}', os.urandom(50),
    ):  # fmt: skip
        place.write_bytes(damaged)
        assert agent_place.load(place) == (None, Tally())


def test_a_name_is_written_as_prometheus_reads_it() -> None:
    assert series("up") == "up"
    assert series("x", method="GET", route='/a"b\\c\nd') == 'x{method="GET",route="/a\\"b\\\\c\\nd"}'
