"""From something that breaks to the person who is told: once, and once more when it is over. Edge."""

from __future__ import annotations

import json
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.notify.receivers import Ca, Receiver, receiver
from tests.notify.samples import SECRET
from tests.runtime.agents import LoneAgent
from tests.runtime.platforms import ENVIRONMENT
from tests.support import wait_for

FILE = """
[monitor]
down_for_s = 0.5
keep_firing_s = 0.0
no_data = false
[notify]
group_wait_s = 0.0
[notify.webhook]
url = "${WEBHOOK_URL}"
secret = "${WEBHOOK_SECRET}"
ca = "ca.pem"
"""


def told(there: Receiver) -> list[tuple[str, bool]]:
    """(identity, whether it is over) of what a receiver took, each once."""
    found = {}
    for one in there.received:
        body = json.loads(one.body)
        found[body["id"]] = body["resolved"]
    return list(found.items())


def test_a_dead_shard_is_told_once_though_receiver_and_agent_were_dead_too_and_its_return_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = Ca.make(tmp_path / "authority.pem")
    root = tmp_path / "site"
    with receiver(ca.serves(), 503) as there:
        monkeypatch.setitem(ENVIRONMENT, "WEBHOOK_URL", there.url())
        monkeypatch.setitem(ENVIRONMENT, "WEBHOOK_SECRET", SECRET)
        agent = LoneAgent(root, more=FILE)
        (root / "ca.pem").write_bytes(ca.path.read_bytes())
        shard, away = root / "var/shard_0.db", root / "var/away.db"
        with sqlite3.connect(shard) as db:
            db.execute("CREATE TABLE x (y)")
        db.close()

        def state() -> str:
            (found,) = agent.view()["shards"]
            return str(found["state"])

        def waiting() -> list[str]:
            return [row["severity"] for row in agent.ask("notify", action="list")["waiting"]]

        try:
            agent.start()
            wait_for(lambda: state() == "up", "the shard is seen")
            shard.rename(away)
            wait_for(lambda: there.received, "the receiver, which is ill, is asked", 30)
            wait_for(lambda: waiting() == ["critical"], "the notice waits")
            (untold,) = wait_for(lambda: agent.view()["alerts"]["undelivered"], "the page says so")
            assert untold["channel"] == "webhook" and "503" in untold["reason"]
            agent.end(signal.SIGKILL)
            agent.start()
            wait_for(lambda: state() == "down", "the new agent sees the same")
            there.does = [200]
            before = len(there.received)
            agent.ask("notify", action="retry")  # else the pauses of minutes would be waited for
            wait_for(lambda: len(there.received) > before, "it is told", 30)
            away.rename(shard)
            wait_for(lambda: told(there)[-1][1], "it is told to be over", 30)
            wait_for(lambda: waiting() == [], "nothing is left")
            wait_for(lambda: agent.view()["alerts"]["undelivered"] == [], "the page says it no more")
            assert [over for _, over in told(there)] == [False, True], "once each, under a key each"
            delivered = there.received[before:]
            assert len(delivered) == 2 and "shard_0 is down" in json.loads(delivered[0].body)["title"]
            assert json.loads(delivered[0].body)["severity"] == "critical"
        finally:
            agent.close()
