"""What is kept and told of a deploy. Edge."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tenfold.audit.trail import Trail
from tenfold.deploy.journal import Journal
from tenfold.deploy.lock import take
from tenfold.deploy.order import Kind, Mark, Order, State
from tenfold.deploy.report import Reporter
from tenfold.deploy.run import Left
from tenfold.notify.outbox import NAME, Outbox
from tenfold.sharding.engine.initialise import initialise
from tenfold.topology.load import load
from tenfold.topology.model import Topology
from tests.deploy.places import FILE
from tests.support import free_port

ORDER = Order(Kind.DEPLOY, "r1", "c0ffee", "main", {"backend_0": None})


@pytest.fixture
def shop(tmp_path: Path) -> Topology:
    """A platform whose webhook is away."""
    hook = '[notify.webhook]\nurl = "file:hook"\nsecret = "file:secret"\n[notify]\nmin_severity = "info"\n'
    (tmp_path / "hook").write_text(f"http://127.0.0.1:{free_port()}/deploys")
    (tmp_path / "secret").write_text("geheim-geheim-geheim-geheim-geheim")
    for name in ("hook", "secret"):
        (tmp_path / name).chmod(0o600)
    (tmp_path / "tenfold.toml").write_text(FILE + hook)
    topology = load(tmp_path / "tenfold.toml")
    initialise(topology)
    return topology


@pytest.mark.parametrize(
    ("state", "left", "severity", "words"),
    [
        (State.GOOD, {}, "info", "deploy of r1 done"),
        (State.REFUSED, {}, "warning", "refused, nothing was changed"),
        (State.UNDONE, {}, "warning", "taken back"),
        (State.STUCK, {"backend_0.switch": "web_1 is away"}, "critical", "NOT taken back whole"),
    ],
)
def test_how_a_deploy_ended_is_on_disk_on_the_trail_and_told(
    shop: Topology, state: State, left: dict[str, str], severity: str, words: str
) -> None:
    told: list[Mapping[str, Any]] = []
    journal = Journal(shop).open()
    held = take(journal, "ann", 30.0)
    number = journal.begin(held, ORDER)
    journal.step(held, number, 0, "backend_0.timing", Mark.BEGUN)
    journal.step(held, number, 0, "backend_0.timing", Mark.FAILED, "p95 742 ms")
    journal.turn(held, number, state, "a gate")
    path = asyncio.run(Reporter(shop, told.append, deliver_s=0.1).tell(journal, number, Left(dict(left))))
    journal.close()
    assert not told
    assert path is not None
    report = json.loads(path.read_text())
    assert (report["state"], report["why"], report["left"]) == (state.value, "a gate", left)
    assert [(step["step"], step["said"]) for step in report["steps"]] == [("backend_0.timing", "p95 742 ms")]
    (entry,) = Trail(Path(shop.root) / "var/audit.jsonl").entries()
    assert (entry.did, entry.about["release"], entry.about["ok"]) == ("deploy", "r1", state is State.GOOD)
    (notice,) = Outbox(Path(shop.root) / "var/agent" / NAME).listed()["waiting"]
    assert notice["severity"] == severity
    assert words in notice["title"]


def test_a_report_that_cannot_be_written_stops_nothing(shop: Topology) -> None:
    told: list[Mapping[str, Any]] = []
    journal = Journal(shop).open()
    held = take(journal, "ann", 30.0)
    number = journal.begin(held, ORDER)
    (Path(shop.root) / "var/deploys").write_text("no directory")
    assert asyncio.run(Reporter(shop, told.append).tell(journal, number)) is None
    journal.close()
    assert "was not written" in told[0]["said"]
