"""A sender that is killed at any moment loses no notice, and doubles none that its receiver cannot tell. Edge."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tenfold.notify.outbox import Outbox
from tenfold.notify.sender import Sender
from tests.notify.receivers import Ca, receiver
from tests.notify.samples import NOW_S, webhook

KILLS = 40 if os.environ.get("TENFOLD_DRILLS") == "1" else 8


def killed_after(seconds: float, *arguments: str) -> list[int]:
    """Run a sender for so long after it has begun, → the numbers of the notices it says it has put."""
    command = [sys.executable, "-m", "tests.notify.sending", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(seconds)
        process.kill()
        return [int(line) for line in process.stdout.read().split("\n")[:-1]]


@pytest.mark.parametrize("seed", [20_261])
def test_killed_at_any_moment_it_loses_nothing_and_the_same_notice_has_the_same_key(
    ca: Ca, tmp_path: Path, seed: int
) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)
    kinds: list[int | str] = [200, 200, 200, 200, 500, "lost"]
    acts = [chance.choice(kinds) for _ in range(20_000)]
    with receiver(ca.serves(), *acts, 200) as there:
        path = tmp_path / "outbox.db"
        put = []
        arguments = [str(path), there.url(), str(ca.path), str(time.time())]
        for _ in range(KILLS):
            put += killed_after(chance.uniform(0.0, 0.35), *arguments)
        there.does = [200]
        outbox, channel = Outbox(path), webhook(there.url(), ca.path)
        outbox.assign({"webhook": frozenset({"critical"})}, 0)
        Sender(outbox, channel, 1e9, clock=lambda: NOW_S - 1e6).round()
        assert outbox.counts()["waiting"] == outbox.counts()["dead"] == outbox.counts()["unassigned"] == 0
        last = int(outbox.recall("number"))
    assert len(put) > KILLS and len(set(put)) == len(put), "no number is put twice"
    bodies: dict[str, bytes] = {}
    firsts = []
    for one in there.received:
        key = one.headers["Idempotency-Key"]
        if key not in bodies:
            firsts.append(json.loads(one.body))
        assert bodies.setdefault(key, one.body) == one.body, "the same key is the same notice"
    numbers = [int(told["title"].split()[1]) for told in firsts if told["title"].startswith("number")]
    assert sorted(numbers) == list(range(1, last + 1)) and set(put) <= set(numbers), "all came, each under one key"
    told = [one["resolved"] for one in firsts if one["source"] == "alerts" and one["title"].startswith("alert")]
    assert told == [bool(n % 2) for n in range(len(told))], "an alert begins and ends by turns, never twice the same"
    assert len(told) in (last, last + 1)
