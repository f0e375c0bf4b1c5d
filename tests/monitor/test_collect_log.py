"""Every request of the balancer's log is counted once, whatever happens to the log and its reader. Edge."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from tenfold.balancer.render import ACCESS_LOG_COLUMNS
from tenfold.monitor.collect.access import Batch, Columns, parse
from tenfold.monitor.collect.nginx_log import NginxLog
from tenfold.monitor.collect.tail import LINGER_S, Cursor, Tail

COLUMNS = list(ACCESS_LOG_COLUMNS)
BACKENDS = {"127.0.0.1:8101": "backend_0", "127.0.0.1:8102": "backend_1"}
NUMBER = iter(range(10**9))


def line(**values: object) -> str:
    """A line as nginx writes it; each has a request id of its own."""
    usual = dict.fromkeys(COLUMNS, "-") | {
        "time": "1700000000.123", "request_id": f"{next(NUMBER):032x}", "client": "10.0.0.1", "method": "GET",
        "path": "/", "status": "200", "seconds": "0.012", "backend": "127.0.0.1:8101",
    }  # fmt: skip
    return "\t".join(str(value) for value in (usual | values).values())


def parsed(*lines: str, health: str = "/healthz") -> Batch:
    return parse([text.encode() for text in lines], Columns.of(COLUMNS), BACKENDS, health)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "nginx-access.tsv"


def write(log: Path, *lines: str) -> None:
    with log.open("a") as file:
        file.write("".join(f"{text}\n" for text in lines))


def numbered(first: int, count: int) -> list[str]:
    return [f"{number:06d}{'x' * 60}" for number in range(first, first + count)]


def seen(tail: Tail, now_s: float = 0.0) -> list[int]:
    """The numbers of the lines that one look brings."""
    return [int(text[:6]) for text in tail.look(now_s).lines]


# --- what a line tells ---


def test_a_line_becomes_a_request_of_the_backend_that_answered_last() -> None:
    batch = parsed(line(), line(backend="127.0.0.1:8101, 127.0.0.1:8102", status=502, seconds="1.500"))
    assert [batch.backends[n] for n in batch.backend] == ["backend_0", "backend_1"]
    assert batch.status.tolist() == [200, 502]
    assert batch.seconds.tolist() == [0.012, 1.5]
    assert batch.time_s.tolist() == [1700000000.123] * 2
    assert batch.clients == {"backend_0": {"10.0.0.1"}, "backend_1": {"10.0.0.1"}}


def test_what_nginx_answers_itself_belongs_to_no_backend() -> None:
    batch = parsed(line(backend="-", status=429), line(backend="tenfold_app", status=502))
    assert [batch.backends[n] for n in batch.backend] == ["", ""]
    assert batch.clients == {}


def test_health_probes_are_no_requests() -> None:
    own = [line(path="/.tenfold/x", client=client) for client in ("127.0.0.1", "::1")]
    assert len(parsed(line(path="/health z"), *own, health="/health%20z?deep=1")) == 0
    # From elsewhere it is somebody who tries the door.
    assert len(parsed(line(path="/.tenfold/x"), line(path="/healthz/else"))) == 2


@pytest.mark.parametrize(
    "broken",
    [
        "", "x", "\t" * 13, line() + "\tone too many", line(status="abc"), line(status="-1"), line(status="1000"),
        line(seconds="nan"), line(seconds="-0.1"), line(seconds="inf"), line(seconds="1e9"), line(seconds=""),
        line(time="inf"), line(time="nan"), line(time="-5"), line(time="1e300"),
    ],
)  # fmt: skip
def test_a_broken_line_is_counted_and_the_others_stand(broken: str) -> None:
    batch = parsed(line(), broken, line())
    assert (len(batch), batch.broken) == (2, 1)


def test_bytes_that_are_no_text_break_nothing() -> None:
    batch = parse([os.urandom(200), line().encode(), b"\0" * 50 + line().encode()], Columns.of(COLUMNS), BACKENDS, "/h")
    assert (len(batch), batch.broken) == (2, 1)


# --- which lines are read ---


def test_reading_begins_with_what_is_written_from_now_on(log: Path) -> None:
    write(log, *numbered(0, 5))
    with log.open("a") as file:
        file.write(numbered(5, 1)[0][:20])  # a line that is being written
    tail = Tail(log)
    assert seen(tail) == []
    with log.open("a") as file:
        file.write(numbered(5, 1)[0][20:] + "\n")
    assert seen(tail) == [5]


def test_a_log_that_comes_to_be_later_is_read_from_its_beginning(log: Path) -> None:
    tail = Tail(log)
    assert seen(tail) == []
    write(log, *numbered(0, 3))
    assert seen(tail) == [0, 1, 2]


def test_a_line_counts_when_it_is_complete(log: Path) -> None:
    tail = Tail(log)
    text = numbered(7, 1)[0]
    log.write_text(text[:30])
    assert seen(tail) == []
    log.write_text(text + "\n" + text[:10])
    assert seen(tail) == [7]


def test_a_line_without_end_is_left_out_and_counted(log: Path) -> None:
    tail = Tail(log)
    with log.open("w") as file:
        file.write("y" * (5 * 2**20) + "\n" + numbered(1, 1)[0] + "\n")
    look = tail.look(0.0)
    assert ([text[:6] for text in look.lines], look.broken) == ([b"000001"], 1)


def test_a_renamed_log_is_read_until_its_last_writer_has_let_go(log: Path) -> None:
    tail = Tail(log)
    with log.open("a", buffering=1) as old_writer:
        old_writer.write("\n".join(numbered(0, 2)) + "\n")
        assert seen(tail, 0.0) == [0, 1]
        log.rename(log.with_name(f"{log.name}.1"))
        assert seen(tail, 1.0) == []  # nothing stands under the name
        old_writer.write(numbered(2, 1)[0] + "\n")
        write(log, *numbered(3, 1))
        assert sorted(seen(tail, 2.0)) == [2, 3]
        old_writer.write(numbered(4, 1)[0])  # and not even a line end
    write(log, *numbered(5, 1))
    assert sorted(seen(tail, 2.0 + LINGER_S)) == [4, 5]
    assert len(tail.cursor.older) == 0


def copy_and_empty(log: Path, copies: int = 3) -> None:
    """As logrotate's `copytruncate` does, and Tenfold itself."""
    for number in range(copies - 1, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        if older.exists():
            older.rename(log.with_name(f"{log.name}.{number + 1}"))
    shutil.copyfile(log, log.with_name(f"{log.name}.1"))
    os.truncate(log, 0)


def test_what_was_written_before_the_log_was_emptied_is_read_from_the_copy(log: Path) -> None:
    tail = Tail(log)
    write(log, *numbered(0, 100))
    assert len(seen(tail)) == 100
    write(log, *numbered(100, 50))
    copy_and_empty(log)
    write(log, *numbered(150, 10))
    assert sorted(seen(tail)) == list(range(100, 160))
    assert seen(tail) == [] and tail.gaps == 0


def test_a_log_emptied_twice_between_two_looks_loses_nothing(log: Path) -> None:
    tail = Tail(log)
    write(log, *numbered(0, 10))
    seen(tail)
    write(log, *numbered(10, 10))
    copy_and_empty(log)
    write(log, *numbered(20, 10))
    copy_and_empty(log)
    write(log, *numbered(30, 10))
    assert sorted(seen(tail)) == list(range(10, 40))


def test_an_emptied_log_that_has_grown_beyond_our_place_is_seen_through(log: Path) -> None:
    tail = Tail(log)
    write(log, *numbered(0, 10))
    seen(tail)
    copy_and_empty(log)
    write(log, *numbered(10, 50))  # longer than what was read before
    assert sorted(seen(tail)) == list(range(10, 60))


def test_without_a_copy_the_loss_is_told_and_reading_goes_on(log: Path) -> None:
    tail = Tail(log)
    write(log, *numbered(0, 10))
    seen(tail)
    os.truncate(log, 0)
    write(log, *numbered(10, 2))
    assert seen(tail) == [10, 11]
    assert tail.gaps == 1


def test_a_reader_that_was_away_goes_on_where_it_was(log: Path) -> None:
    first = Tail(log)
    write(log, *numbered(0, 10))
    cursor = first.look(0.0).cursor
    first.close()
    write(log, *numbered(10, 10))
    assert seen(Tail(log, Cursor.of(json.loads(json.dumps(cursor.as_json()))))) == list(range(10, 20))


@pytest.mark.parametrize("rotate", ["rename", "copy"])
def test_a_reader_that_was_away_while_the_log_was_rotated_loses_and_doubles_nothing(log: Path, rotate: str) -> None:
    first = Tail(log)
    write(log, *numbered(0, 10))
    cursor = first.look(0.0).cursor
    first.close()
    write(log, *numbered(10, 10))
    if rotate == "rename":
        log.rename(log.with_name(f"{log.name}.1"))
    else:
        copy_and_empty(log)
    write(log, *numbered(20, 10))
    again = Tail(log, cursor)
    assert sorted(seen(again)) == list(range(10, 30))
    write(log, *numbered(30, 1))
    assert seen(again) == [30]


def test_long_absence_is_caught_up_in_portions(log: Path) -> None:
    tail = Tail(log)
    write(log, *[f"{number:06d}{'z' * 1000}" for number in range(20_000)])
    found: list[int] = []
    looks, behind = 0, True
    while behind:
        look = tail.look(0.0)
        behind = look.behind
        assert sum(map(len, look.lines)) < 10 * 2**20
        found += [int(text[:6]) for text in look.lines]
        looks += 1
    assert found == list(range(20_000)) and looks >= 2


def test_under_a_writer_and_a_log_renamed_again_and_again_the_count_is_exact(log: Path) -> None:
    # A process of its own, as nginx is; it writes with O_APPEND and reopens the name now and then.
    writer = """
import os, sys, time
path, count = sys.argv[1], int(sys.argv[2])
fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
for number in range(0, count, 50):
    os.write(fd, b"".join(b"%06d%s\\n" % (n, b"w" * 60) for n in range(number, number + 50)))
    if number % 1000 == 0:
        os.close(fd); fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    time.sleep(0.001)
"""
    count = 30_000
    tail = Tail(log)
    found: list[int] = []
    process = subprocess.Popen([sys.executable, "-c", writer, str(log), str(count)])
    looks = 0
    try:
        while process.poll() is None:
            looks += 1
            found += seen(tail, looks * 0.01)
            now = tail.cursor.now
            if looks % 7 == 0 and now and log.exists() and log.stat().st_ino == now.inode:
                log.replace(log.with_name(f"{log.name}.{looks}"))
    finally:
        process.wait(20)
    for _ in range(3):
        looks += 1000
        found += seen(tail, float(looks))
    assert sorted(found) == list(range(count))
    assert looks > 3020 and tail.gaps == 0


def test_the_collector_gives_requests_and_the_place_after_them(log: Path) -> None:
    others = set(threading.enumerate())

    async def reads(turns: Sequence[list[str]]) -> list[int]:
        reader = NginxLog(log, COLUMNS, BACKENDS, "/healthz")
        found = []
        for turn in turns:
            write(log, *turn)
            found.append(len((await reader.collect(0.0)).batch))
        reader.close()
        return found

    assert asyncio.run(reads([[], [line(), line(path="/healthz")], [line(), "broken"]])) == [0, 1, 1]
    assert set(threading.enumerate()) <= others
