"""An agent by itself, without a platform around it: a log to read, a socket to ask, a store to look into. Edge."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tenfold.balancer.render import ACCESS_LOG, ACCESS_LOG_COLUMNS
from tenfold.errors import TenfoldError
from tenfold.hosts.agent_link import AgentLink
from tenfold.monitor.store import Store
from tests.runtime.platforms import ENVIRONMENT
from tests.support import free_port, wait_for

NUMBER = itertools.count()


def log_line(port: int, status: int = 200, seconds: float = 0.01, path: str = "/page", client: str = "10.0.0.1") -> str:
    """A line as nginx writes it."""
    given = {
        "time": f"{time.time():.3f}", "request_id": f"{next(NUMBER):032x}", "client": client, "method": "GET",
        "host": "x", "path": path, "status": status, "seconds": f"{seconds:.3f}", "backend": f"127.0.0.1:{port}",
    }  # fmt: skip
    return "\t".join(str(given.get(name, "-")) for name in ACCESS_LOG_COLUMNS) + "\n"


class LoneAgent:
    """`python -m tenfold.runtime.agent` in a directory of its own."""

    def __init__(self, root: Path, backends: int = 2, more: str = "") -> None:
        self.root = root
        root.mkdir(exist_ok=True)
        self.port = free_port()
        self.ports = [free_port() for _ in range(backends)]
        places = ", ".join(f"{{ port = {port} }}" for port in self.ports)
        (root / "tenfold.toml").write_text(
            f'[platform]\nname = "alone"\n[app]\ncommand = "unused"\nbackends = [{places}]\n'
            f'[balancer]\nlisten = "127.0.0.1:{self.port}"\n'
            f'[database.shards]\nshard_0 = {{ url = "sqlite:///var/shard_0.db" }}\n{more}'
        )
        (root / "var/log").mkdir(parents=True, exist_ok=True)
        self.log = root / "var" / ACCESS_LOG
        self.socket = root / "var/run/agent.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def spawn(self, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tenfold.runtime.agent", "--file", "tenfold.toml", *options]
        with (self.root / "agent.out").open("ab") as out:
            self.process = subprocess.Popen(command, cwd=self.root, env=ENVIRONMENT, stdout=out, stderr=out)
        return self.process

    def start(self, *options: str) -> None:
        """Start it, until it answers."""
        process = self.spawn(*options)

        def answers() -> bool:
            with suppress(TenfoldError):
                return bool(self.ask("status")["pid"] == process.pid)
            return process.poll() is not None

        wait_for(answers, "the agent answers")
        assert process.poll() is None, self.said()

    def said(self) -> str:
        return (self.root / "agent.out").read_text()

    def ask(self, word: str, **more: Any) -> dict[str, Any]:
        return AgentLink(self.socket, 5.0).ask({"do": word, **more})

    def view(self) -> dict[str, Any]:
        view: dict[str, Any] = self.ask("view")["view"]
        return view

    def write(self, *lines: str) -> None:
        with self.log.open("a") as file:
            file.write("".join(lines))

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, number)
        return self.process.wait(10)

    def kept(self, name: str) -> float:
        """The increase of a counter in the store since its beginning, over restarts of the agent."""
        store = Store(self.root / "var/agent/history.db", time.time)
        now_s = time.time()
        values = store.read([name], now_s - 300, now_s + 10, 400, "last").values[name]
        store.close()
        known = [float(value) for value in values if value == value]
        # A counter that falls has begun anew.
        return sum(b - a if b >= a else b for a, b in itertools.pairwise([0.0, *known]))

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


def state_of(view: Mapping[str, Any], kind: str, name: str) -> str:
    """The state of one thing in a view."""
    return str(next(thing["state"] for thing in view[kind] if thing["name"] == name))
