"""A platform for tests: a directory with a file and an app, run by the real `tenfold up`. Edge."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tests.support import free_port, wait_for

TENFOLD = [sys.executable, "-m", "tenfold.cli.main"]
APP = Path(__file__).with_name("app.py")
# What a developer's shell may have set must not change what is tested.
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("TENFOLD_") and k not in ("PORT", "NO_COLOR")}


class Platform:
    """`tenfold up` in a directory of its own, and everything it started."""

    def __init__(self, root: Path, backends: int = 1) -> None:
        self.root = root
        root.mkdir(exist_ok=True)
        shutil.copy(APP, root / "app.py")
        self.port = free_port()
        self.ports = [free_port() for _ in range(backends)]
        self.wrapper: list[str] = []
        self._runs: list[subprocess.Popen[bytes]] = []
        self.write()

    def write(self, *, app: str = "", command: str = "{python} app.py --port {port}", more: str = "") -> None:
        """Write the file, with further lines for [app] and further sections."""
        backends = ", ".join(f"{{ port = {port}, weight = {i + 1} }}" for i, port in enumerate(self.ports))
        (self.root / "tenfold.toml").write_text(
            f'[platform]\nname = "tiny"\n[app]\ncommand = {json.dumps(command)}\nbackends = [{backends}]\n{app}\n'
            f'[balancer]\nlisten = "127.0.0.1:{self.port}"\n'
            f'[database.shards]\nshard_0 = {{ url = "sqlite:///var/shard_0.db" }}\n{more}'
        )

    def start(self, *options: str, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        """`tenfold up` in the background; what it says is in `said()`."""
        with (self.root / "up.out").open("wb") as out, (self.root / "up.err").open("wb") as err:
            run = subprocess.Popen(
                [*self.wrapper, *TENFOLD, "up", *options],
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=ENVIRONMENT | (environment or {}),
                start_new_session=True,
            )
        self._runs.append(run)
        return run

    def up(self, *options: str, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        """`tenfold up`, once it is up."""
        run = self.start(*options, environment=environment)
        # The last row of the block: before it more may be on its way.
        wait_for(lambda: "Ctrl-C, or " in self.said() or run.poll() is not None, "the platform is up")
        assert run.poll() is None, self.said() + self.complained()
        return run

    def running_up(self) -> subprocess.Popen[bytes]:
        """The last `tenfold up` that was started."""
        return self._runs[-1]

    def said(self) -> str:
        return (self.root / "up.out").read_text()

    def complained(self) -> str:
        return (self.root / "up.err").read_text()

    def tenfold(
        self,
        *arguments: str,
        environment: dict[str, str] | None = None,
        wrapped: bool = True,
        timeout_s: float = 20,
    ) -> subprocess.CompletedProcess[str]:
        """Another command of Tenfold, to its end."""
        return subprocess.run(
            [*(self.wrapper if wrapped else []), *TENFOLD, *arguments],
            cwd=self.root,
            env=ENVIRONMENT | (environment or {}),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def get(self, path: str = "/", port: int | None = None, timeout_s: float = 5) -> Any:
        """The JSON that the app answers with, through the balancer or at a port."""
        with urllib.request.urlopen(f"http://127.0.0.1:{port or self.port}{path}", timeout=timeout_s) as answer:
            return json.loads(answer.read())

    def entry(self, name: str) -> dict[str, Any]:
        """What the state file says of a process."""
        state = json.loads((self.root / "var/run/state.json").read_text())
        return next((e for e in state["processes"] if e["name"] == name), {})

    def pid(self, name: str) -> int:
        return int(self.entry(name)["pid"])

    def running(self) -> list[psutil.Process]:
        """Every process that works in this directory: what was started here, and what that started."""
        return list(_working_in(self.root))

    def remains(self) -> list[str]:
        """What a stop must not leave: processes, and files that say that something runs."""
        patterns = ("**/*.pid", "**/*.sock", "**/*.lock", "var/run/*.json")
        files = [path for pattern in patterns for path in self.root.glob(pattern)]
        return [f"{p.pid} {p.cmdline()}" for p in self.running()] + [str(path) for path in files]

    def close(self) -> None:
        """Kill whatever a test has left."""
        for process in self.running():
            with suppress(psutil.Error):
                process.kill()
        for run in self._runs:
            with suppress(ProcessLookupError):
                run.kill()
            run.wait(10)


def _working_in(directory: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == directory:
                yield process


def runs(pid: int) -> bool:
    """Tell whether a process runs; a zombie has ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def stop(run: subprocess.Popen[bytes], number: int = signal.SIGTERM, within_s: float = 10) -> int:
    """Send `up` a signal and wait; its exit code."""
    run.send_signal(number)
    return run.wait(within_s)


def as_nobody() -> Sequence[str]:
    """The words before a command that run it as an ordinary user."""
    return ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
