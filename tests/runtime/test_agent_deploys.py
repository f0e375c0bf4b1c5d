"""The agent's eye on deploys that were left open. Edge."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tenfold.deploy.journal import Holder, Journal
from tenfold.deploy.order import State
from tenfold.notify.outbox import NAME, Outbox
from tenfold.runtime.agent_deploys import TRIES, DeployWatch, Silence
from tenfold.runtime.place import Place
from tenfold.sharding.engine.initialise import initialise
from tenfold.topology.load import load
from tenfold.topology.model import Topology
from tests.deploy.places import FILE
from tests.support import free_port

BEGIN = """
import sys
from tenfold.topology.load import load
from tenfold.deploy.journal import Journal
from tenfold.deploy.lock import take
from tenfold.deploy.order import Kind, Order
topology = load(sys.argv[1], sys.argv[2] or None)
journal = Journal(topology).open()
order = Order(Kind.DEPLOY, "20260101T000000Z-0123456789ab", "0123456789ab", "main", dict.fromkeys(sys.argv[3:]))
journal.begin(take(journal, "ann@laptop", 2.0), order)
"""


def left_open(topology: Topology) -> None:
    """A deploy whose deployer is gone, lock and all."""
    words = [str(topology.file), topology.environment or "", "backend_0", "backend_1", "backend_2"]
    subprocess.run([sys.executable, "-c", BEGIN, *words], check=True)


def watch(topology: Topology) -> DeployWatch:
    place = Place.of(Path(topology.file))
    place.make()
    return DeployWatch(topology, place, {k: v for k, v in os.environ.items() if not k.startswith("TENFOLD_")})


def test_silence_is_counted_from_the_last_sign_of_life_on_our_own_clock() -> None:
    now = 100.0
    silence = Silence(lambda: now)

    def holder(beat: int) -> Holder:
        return Holder("t", 1, beat, "ann", "[]", 0.0, 30.0)

    assert silence.lasts_s(holder(7)) == 0
    now = 129.0
    assert silence.lasts_s(holder(7)) == 29
    assert silence.lasts_s(holder(8)) == 0
    now = 160.0
    assert silence.lasts_s(holder(8)) == 31


def test_a_deploy_that_was_left_open_is_found_once_its_deployer_is_silent_and_taken_back(tmp_path: Path) -> None:
    (tmp_path / "tenfold.toml").write_text(FILE.replace("lock_s = 2.0", "lock_s = 1.0"))
    topology = load(tmp_path / "tenfold.toml")
    initialise(topology)
    left_open(topology)
    eye = watch(topology)

    async def look() -> None:
        assert eye._look() is None  # nobody knows yet for how long
        async with asyncio.timeout(60):
            while (left := eye._look()) is None:
                await asyncio.sleep(0.2)
            await eye._take_back(left)

    asyncio.run(look())
    journal = Journal(topology)
    assert journal.history().deploys[0].state is State.UNDONE
    journal.close()
    assert eye._look() is None


@pytest.mark.timeout(240)
def test_an_agent_that_reaches_no_host_touches_nothing_and_says_so_once(tmp_path: Path) -> None:
    hosts = "\n".join(
        f'[environments.production.hosts.web_{n}]\naddress = "127.0.0.1"\nport = {free_port()}\npath = "{tmp_path}/{n}"'
        + ('\nroles = ["balancer", "app"]' if n == 1 else "")
        for n in (1, 2, 3)
    )
    (tmp_path / "known_hosts").touch()
    text = FILE.replace("lock_s = 2.0", 'lock_s = 2.0\nknown_hosts = "known_hosts"')
    (tmp_path / "tenfold.toml").write_text(text.replace("--port {port}", "--port {port} --host {host}") + hosts)
    topology = load(tmp_path / "tenfold.toml", "production")
    initialise(topology)
    left_open(topology)
    eye = watch(topology)
    journal = Journal(topology)
    left = journal.history().unfinished
    assert left is not None

    async def in_vain() -> None:
        for _ in range(TRIES + 1):
            await eye._take_back(left)

    asyncio.run(in_vain())
    still = journal.history().unfinished
    journal.close()
    assert still is not None
    assert still.state is State.RUNNING
    (notice,) = Outbox(tmp_path / "var/agent" / NAME).listed()["unassigned"]
    assert notice["severity"] == "critical"
    assert "could not be taken back from here" in notice["title"]
