"""Logs that stay below a size, and readers that lose nothing by that. Edge."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tenfold.runtime.logs import Follower, Lines, last_lines, open_for_program, rotate


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


def test_a_log_below_its_limit_stays(log: Path) -> None:
    log.write_text("x" * 100)
    assert not rotate(log, limit_bytes=100)
    assert not rotate(log.with_name("none.log"))


def test_a_rotated_log_goes_on_in_the_same_file_and_the_three_newest_copies_stay(log: Path) -> None:
    program = open_for_program(log)
    for number in range(5):
        os.write(program, f"{number}".encode() * 10)
        assert rotate(log, limit_bytes=5)
    os.write(program, b"now")
    os.close(program)
    assert log.read_bytes() == b"now"  # O_APPEND: not behind a hole
    assert {path.name: path.read_text() for path in log.parent.iterdir() if path != log} == {
        "app.log.1": "4" * 10,
        "app.log.2": "3" * 10,
        "app.log.3": "2" * 10,
    }


def test_a_log_and_its_copies_are_closed_to_others(log: Path) -> None:
    os.close(open_for_program(log))
    log.write_text("xx")
    rotate(log, limit_bytes=1)
    assert [path.stat().st_mode & 0o007 for path in log.parent.iterdir()] == [0, 0]


def test_the_last_lines_of_a_long_log_are_read_from_its_end(log: Path) -> None:
    log.write_text("".join(f"line {number} {'x' * 80}\n" for number in range(5000)))
    assert [line.split()[1] for line in last_lines(log, 3)] == ["4997", "4998", "4999"]
    assert last_lines(log, 0) == []


def test_last_lines_begin_no_earlier_than_asked(log: Path) -> None:
    log.write_text("old\nnew\n")
    assert last_lines(log, 9, start=4) == ["new"]
    assert last_lines(log, 9, start=400) == ["old", "new"]  # emptied since
    assert last_lines(log.with_name("none.log"), 9) == []


def test_bytes_that_are_no_text_do_not_stop_a_reader(log: Path) -> None:
    log.write_bytes(b"\xff\xfe\n")
    assert last_lines(log, 1) == ["��"]


def test_lines_are_whole_however_they_arrive() -> None:
    lines = Lines()
    assert lines.add("grü".encode()[:3]) == []
    assert lines.add("grü".encode()[3:] + b"n\r\nred") == ["grün"]
    assert lines.close() == ["red"]
    assert lines.close() == []


def test_a_line_without_end_is_cut() -> None:
    assert [len(line) for line in Lines().add(b"x" * 100_000)] == [100_000]


def test_a_follower_sees_only_what_is_new(log: Path) -> None:
    log.write_text("old\n")
    follower = Follower(log)
    assert follower.new_lines() == []
    with log.open("a") as file:
        file.write("new\nhalf")
    assert follower.new_lines() == ["new"]


def test_a_follower_loses_nothing_when_the_log_is_emptied(log: Path) -> None:
    follower = Follower(log)
    log.write_text("one\ntwo\n")
    assert follower.new_lines() == ["one", "two"]
    with log.open("a") as file:
        file.write("three, just before\n")
    assert rotate(log, limit_bytes=1)
    with log.open("a") as file:
        file.write("four\n")
    assert follower.new_lines() == ["three, just before", "four"]


def test_a_follower_loses_nothing_when_the_log_is_renamed(log: Path) -> None:
    log.write_text("old\n")
    follower = Follower(log)
    with log.open("a") as file:
        file.write("before\n")
    log.rename(log.with_name("app.log.1"))
    assert follower.new_lines() == []  # there is no new one yet
    log.write_text("after it, and longer than the old one was\n")
    assert follower.new_lines() == ["before", "after it, and longer than the old one was"]


def test_a_follower_waits_for_a_log_that_is_not_there_yet(log: Path) -> None:
    follower = Follower(log)
    assert follower.new_lines() == []
    log.write_text("first\n")
    assert follower.new_lines() == ["first"]
