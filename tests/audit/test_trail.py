"""The trail shows what was changed in it, and loses nothing that was said to be written. Edge."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
from pathlib import Path

import pytest

from tenfold.audit.trail import Trail


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    return Trail(tmp_path / "var" / "audit.jsonl", who="ann@web-1", clock=lambda: 1000.0)


def test_an_act_is_read_back_as_it_was_written(trail: Trail) -> None:
    trail.write("deploy", release="r1", ok=True)
    trail.write("alert.ack", "bob@web-2", rule="memory", note="“on it”\nsoon")
    first, second = trail.entries()
    assert (first.number, first.who, first.did, dict(first.about)) == (
        1,
        "ann@web-1",
        "deploy",
        {"release": "r1", "ok": True},
    )
    assert (second.number, second.who, second.about["note"]) == (2, "bob@web-2", "“on it”\nsoon")
    assert trail.faults() == []
    assert trail.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_changed_line_shows(trail: Trail, position: int) -> None:
    for number in range(3):
        trail.write("deploy", release=f"r{number}")
    lines = trail.path.read_text().splitlines()
    fields = json.loads(lines[position])
    fields["about"]["release"] = "another"
    lines[position] = json.dumps(fields)
    trail.path.write_text("\n".join(lines) + "\n")
    assert f"line {position + 1} does not fit its digest" in trail.faults()


def test_a_line_that_was_left_out_shows(trail: Trail) -> None:
    for number in range(4):
        trail.write("deploy", release=f"r{number}")
    lines = trail.path.read_text().splitlines()
    trail.path.write_text("\n".join([lines[0], *lines[2:]]) + "\n")
    assert trail.faults() == ["line 2 does not follow line 1"]
    trail.path.write_text("\n".join(lines[1:]) + "\n")
    assert trail.faults() == ["line 1 is not the first entry"]


def test_half_a_line_left_by_a_power_cut_stays_and_the_next_act_is_whole(trail: Trail) -> None:
    trail.write("deploy", release="r1")
    with trail.path.open("a") as file:
        file.write('{"number":2,"at_')
    trail.write("deploy", release="r3")
    assert [entry.about["release"] for entry in trail.entries()] == ["r1", "r3"]
    assert len(trail.faults()) == 1


def _write_with_room_for(path: Path, more_bytes: int) -> None:
    size = path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + more_bytes, resource.RLIM_INFINITY))
    try:
        Trail(path).write("deploy", release="r2")
    except OSError:
        os._exit(0 if path.stat().st_size == size else 2)
    os._exit(1)


def test_an_act_for_which_the_disk_has_no_room_is_not_said_to_be_written_and_leaves_nothing(trail: Trail) -> None:
    trail.write("deploy", release="r1")
    writer = multiprocessing.get_context("spawn").Process(target=_write_with_room_for, args=(trail.path, 20))
    writer.start()
    writer.join()
    assert writer.exitcode == 0, "1: it was said to be written; 2: half of it was left"
    trail.write("deploy", release="r3")
    assert [entry.about["release"] for entry in trail.entries()] == ["r1", "r3"]
    assert trail.faults() == []


def _write(path: Path, who: str) -> None:
    trail = Trail(path, who=who)
    for number in range(50):
        trail.write("act", number=number)


def test_processes_that_write_at_once_make_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, f"writer {n}")) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(Trail(path).entries()) == 200
    assert Trail(path).faults() == []


def test_an_entry_longer_than_what_is_read_at_once_is_followed(trail: Trail) -> None:
    trail.write("report", text="x" * 200_000)
    trail.write("report", text="y" * 100)
    assert [entry.number for entry in trail.entries()] == [1, 2]
    assert trail.faults() == []
