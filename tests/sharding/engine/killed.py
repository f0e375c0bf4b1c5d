"""Runs writes over several shards in processes that kill themselves at a random step. Edge.

Usage: python -m tests.sharding.engine.killed FILE SEED ROUNDS KEY KEY …
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from tenfold.sharding.catalog import load
from tenfold.sharding.engine.router import one_off_runner, read_topology
from tenfold.sharding.execute import Executor
from tenfold.sharding.ports import Commit, Params, Reply, Steps


def statements(number: int, keys: Sequence[int]) -> list[tuple[str, Params]]:
    """What one round may run: each changes the three users of every shard, so a shard has all of it or nothing."""
    rows = ", ".join(["(?, ?, 'v')"] * len(keys))
    users = ", ".join(["(?, ?)"] * len(keys))
    return [
        (f"INSERT INTO notes VALUES {rows}", [item for key in keys for item in (key, f"round {number}")]),
        (
            f"INSERT INTO users (email, name) VALUES {users}",
            [item for key in keys for item in (f"{number}.{key}@e", f"round {number}")],
        ),
        ("UPDATE logins SET count = count + 1", ()),
        ("INSERT INTO notes SELECT user_id, ?, 'copied' FROM logins", (f"round {number} copied",)),
    ]


def dying(steps: Steps[Reply], after: int, commits: int) -> Steps[Reply]:
    """The steps, with a SIGKILL once so many of them are done, or so many commits."""
    try:
        effect = next(steps)
        while True:
            answer = yield effect
            after -= 1
            commits -= isinstance(effect, Commit)
            if after <= 0 or commits <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            effect = steps.send(answer)
    except StopIteration as stop:
        found: Reply = stop.value
        return found


def main(file: str, seed: str, rounds: str, *keys: str) -> None:
    """Fork a process for each round; it dies or ends."""
    drawn = random.Random(int(seed))
    for number in range(int(rounds)):
        listed = statements(number, [int(key) for key in keys])
        sql, params = listed[number // 2 % len(listed)]
        # Every other one dies between two commits, where it matters most.
        after, commits = (1000, drawn.randint(1, 2)) if number % 2 else (drawn.randint(1, 40), 1000)
        child = os.fork()
        if child == 0:
            topology = read_topology(Path(file), None)
            with one_off_runner(topology) as runner:
                executor = Executor(runner.run(load(topology)), threading.Lock(), 1.0)
                runner.run(executor.plan(sql))
                runner.run(dying(executor.execute(sql, params, None), after, commits))
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
