"""What does the agent cost, and how much can it take? Edge.

The agent as `tenfold up` starts it, fed without HTTP: this process writes lines to nginx's log and observations to a
recorder, so and so many a second, for three backends, 200 routes and 250 clients. The cost is the process's own
CPU time; what was counted at the end is compared with what was written. "Watched" asks for the view once a second,
as an open page does.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.report import heading
from tenfold.balancer.render import ACCESS_LOG, ACCESS_LOG_COLUMNS
from tenfold.errors import TenfoldError
from tenfold.hosts.agent_link import AgentLink
from tenfold.monitor.recorder import Recorder

RATES = (0, 1_000, 10_000)
WARM_S, MEASURED_S = 5.0, 20.0
TURN_S = 0.05
PORTS, ROUTES, CLIENTS = (28_101, 28_102, 28_103), 200, 250
NUMBER = itertools.count()

CONFIG = """
[platform]
name = "bench"
[app]
command = "unused"
backends = [{ port = 28101 }, { port = 28102 }, { port = 28103 }]
[balancer]
listen = "127.0.0.1:28080"
[database.shards]
shard_0 = { url = "sqlite:///var/shard_0.db" }
"""


@dataclass
class Cost:
    """cpu: share of a core; memory: MB at the end; missing: requests written and not counted."""

    cpu: float
    memory_mb: float
    missing: int
    behind_s: float


def main() -> None:
    heading("What does the agent cost?")
    print(f"{'requests/s':>12} {'watched':>8} {'CPU of a core':>14} {'memory':>9} {'not counted':>12} {'behind':>8}")
    for rate in RATES:
        for watched in (False, True):
            cost = measure(rate, watched)
            print(
                f"{rate:>12,} {'yes' if watched else 'no':>8} {cost.cpu:>13.1%} {cost.memory_mb:>6.0f} MB "
                f"{cost.missing:>12} {cost.behind_s:>6.1f} s"
            )
    print("\nto reach: at most 10 % of a core and 120 MB at 1,000/s; nothing left uncounted at 10,000/s")


def measure(rate: int, watched: bool) -> Cost:
    """The agent's cost at `rate` requests a second, over MEASURED_S seconds."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / "tenfold.toml").write_text(CONFIG)
        (root / "var/log").mkdir(parents=True)
        command = [sys.executable, "-m", "tenfold.runtime.agent", "--file", "tenfold.toml"]
        with (root / "out").open("wb") as out:
            process = subprocess.Popen(command, cwd=root, stdout=out, stderr=out)
        try:
            return _measured(root, psutil.Process(process.pid), rate, watched)
        finally:
            process.terminate()
            process.wait(10)


def _measured(root: Path, process: psutil.Process, rate: int, watched: bool) -> Cost:
    link = AgentLink(root / "var/run/agent.sock")
    while True:
        with suppress(TenfoldError):
            link.ask({"do": "status"})
            break
        time.sleep(0.05)
    feed = _Feed(root, rate)
    feed.run(WARM_S, link if watched else None)
    before_s, began_s = _cpu_s(process), time.monotonic()
    feed.run(MEASURED_S, link if watched else None)
    cpu = (_cpu_s(process) - before_s) / (time.monotonic() - began_s)
    memory_mb = process.memory_info().rss / 2**20
    ended_s = time.monotonic()
    # The next flush tells; an agent that is behind takes longer.
    while (missing := feed.written - _counted(root)) and time.monotonic() - ended_s < 15:
        time.sleep(0.1)
    behind_s = time.monotonic() - ended_s if feed.written else 0.0
    feed.recorder.close()
    return Cost(cpu, memory_mb, missing, behind_s)


class _Feed:
    """Writes what nginx and the apps' recorders would."""

    def __init__(self, root: Path, rate: int) -> None:
        self.rate, self.written = rate, 0
        self.log = (root / "var" / ACCESS_LOG).open("a")
        self.recorder = Recorder(root / "var/run/agent.sock", "backend_0")

    def run(self, seconds: float, link: AgentLink | None) -> None:
        begun_s = time.monotonic()
        due, looked_s = 0, begun_s
        while (passed_s := time.monotonic() - begun_s) < seconds:
            wanted = int(passed_s * self.rate)
            self._write(wanted - due)
            due = wanted
            if link is not None and time.monotonic() - looked_s >= 1:
                looked_s = time.monotonic()
                link.ask({"do": "view"})
            time.sleep(TURN_S)

    def _write(self, count: int) -> None:
        now = f"{time.time():.3f}"
        lines = []
        for number in itertools.islice(NUMBER, count):
            seconds = 0.001 * (1 + number % 97)
            lines.append(_line(now, number, seconds))
            self.recorder.http("GET", f"/route/{number % ROUTES}/{{id}}", 200, seconds)
            self.recorder.sql("SELECT", "users", "shard_0", True, seconds / 4)
        self.log.write("".join(lines))
        self.log.flush()
        self.written += count


def _line(now: str, number: int, seconds: float) -> str:
    given: dict[str, Any] = {
        "time": now, "request_id": f"{number:032x}", "client": f"10.0.{number % CLIENTS}.1", "method": "GET",
        "host": "bench.example", "path": f"/route/{number % ROUTES}/{number}", "status": 200 if number % 100 else 500,
        "bytes_sent": 5123, "seconds": f"{seconds:.3f}", "backend": f"127.0.0.1:{PORTS[number % 3]}",
        "backend_status": 200, "backend_connect_s": "0.000", "backend_s": f"{seconds:.3f}", "limit": "PASSED",
    }  # fmt: skip
    return "\t".join(str(given[name]) for name in ACCESS_LOG_COLUMNS) + "\n"


def _counted(root: Path) -> int:
    with suppress(OSError, ValueError):
        told = json.loads((root / "var/agent/nginx-access.place").read_text())
        return int(told["tally"]["total"]["requests"])
    return 0


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
