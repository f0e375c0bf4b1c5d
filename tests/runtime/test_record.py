"""The record of what runs is read by versions before and after the one that wrote it. Edge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tenfold.runtime import programs, record
from tenfold.runtime.record import Entry, Record
from tenfold.topology.model import Topology

ENTRY = Entry("backend_0", "backend", "up", 1.0, 0, "127.0.0.1", 8101, "/healthz", "x", [200], 7, 2.0, None, "r1")
RECORD = Record("tiny", "/srv/tenfold.toml", 6, 1.0, "", (ENTRY,), "web_1", ("backend_0",))


def changed(path: Path, **more: Any) -> Record | None:
    record.write(RECORD, path)
    data = json.loads(path.read_text())
    for holder in (data, data["processes"][0]):
        holder.update(more)
        for name in [name for name, value in more.items() if value is None]:
            holder.pop(name)
    path.write_text(json.dumps(data))
    return record.read(path)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    assert changed(tmp_path / "state.json") == RECORD


def test_a_record_of_before_is_read_without_what_it_did_not_know(tmp_path: Path) -> None:
    read = changed(tmp_path / "state.json", release=None, host=None, expected=None)
    assert read is None or read.processes[0].release is None
    data = json.loads((tmp_path / "state.json").read_text())
    data["processes"][0]["host"] = "127.0.0.1"
    (tmp_path / "state.json").write_text(json.dumps(data))
    before = record.read(tmp_path / "state.json")
    assert before and (before.host, before.expected, before.processes[0].release) == (None, (), None)


def test_a_record_of_a_later_version_is_read_without_what_we_do_not_know(tmp_path: Path) -> None:
    assert changed(tmp_path / "state.json", mood="good") == RECORD


def test_passwords_of_shards_are_blotted_out_as_well() -> None:
    topology = Topology.model_validate(
        {
            "platform": {"name": "tiny"},
            "app": {"command": "x"},
            "database": {
                "engine": "mysql",
                "shards": {"shard_0": {"url": "mysql://app@db:3306/x", "password": "open sesame"}},
            },
        }
    )
    assert programs.secrets(topology.app, None, topology.database) == ["open sesame"]
