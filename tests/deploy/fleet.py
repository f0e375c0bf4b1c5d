"""A fleet for tests: hosts behind real sshd, a supervisor on each, a repository, clients that never pause. Edge."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from tests.hosts.sshd import Keyring, Sshd, hosts
from tests.support import free_port, wait_for

TENFOLD = [sys.executable, "-m", "tenfold.cli.main"]
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("TENFOLD_") and k not in ("PORT", "NO_COLOR")}
SHOP = Path(__file__).with_name("shop.py")
ORDERS = "CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, item TEXT NOT NULL)"
GIT = {
    "GIT_AUTHOR_NAME": "ann", "GIT_AUTHOR_EMAIL": "ann@example.com", "GIT_COMMITTER_NAME": "ann",
    "GIT_COMMITTER_EMAIL": "ann@example.com", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null",
}  # fmt: skip


class Repository:
    """The shop in git."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")
        shutil.copy(SHOP, root / "shop.py")
        (root / "build.py").write_text(
            'import pathlib, sys\nif pathlib.Path("mode.txt").read_text().strip() == "unbuildable":\n'
            '    sys.exit("the build fails")\npathlib.Path("built.txt").write_text("yes")\n'
        )
        self.commit("good")

    def git(self, *words: str) -> str:
        """Run git there."""
        done = subprocess.run(
            ["git", *words], cwd=self.root, env=ENVIRONMENT | GIT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, mode: str = "good", migrations: dict[str, str] | None = None) -> str:
        """A new commit, whose release is as `mode` says; → its id."""
        (self.root / "mode.txt").write_text(mode + "\n")
        (self.root / "count.txt").write_text(str(time.time_ns()))
        for name, text in (migrations or {}).items():
            (self.root / "migrations").mkdir(exist_ok=True)
            (self.root / "migrations" / name).write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", f"{mode} {time.time_ns()}")
        return self.git("rev-parse", "HEAD")


class Fleet:
    """web_1 to web_3, with a backend each; the balancer on web_1."""

    def __init__(self, root: Path, keyring: Keyring, machines: Sequence[Sshd], more: str = "") -> None:
        """more: further lines for [deploy]."""
        self.root, self.machines = root, list(machines)
        self.port = free_port()
        self.ports = [free_port() for _ in machines]
        self.desk = root / "desk"
        self.desk.mkdir()
        self.repository = Repository(root / "repository")
        self.shards = [root / f"shard_{n}.db" for n in range(3)]
        for shard in self.shards:
            with contextlib.closing(sqlite3.connect(shard)) as database:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute(ORDERS)
        self.text = self._file(keyring, more)
        self.write()
        for machine in machines:
            shutil.copy(SHOP, machine.path / "shop.py")
            (machine.path / "mode.txt").write_text("good\n")
        self._ups: list[subprocess.Popen[bytes]] = []

    def _file(self, keyring: Keyring, more: str) -> str:
        backends = ", ".join(f'{{ port = {port}, host = "web_{n}" }}' for n, port in enumerate(self.ports, 1))
        shards = "\n".join(f'shard_{n} = {{ url = "sqlite:///{path}" }}' for n, path in enumerate(self.shards))
        found = ""
        for number, machine in enumerate(self.machines, 1):
            table = machine.table | {"roles": ["balancer", "app"] if number == 1 else ["app"]}
            lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in table.items())
            found += f"[environments.production.hosts.web_{number}]\n{lines}\n"
        keys = "\n".join(f"{name} = {json.dumps(value)}" for name, value in keyring.deploy.items())
        return f"""[platform]
name = "shop"
[app]
command = "{{python}} -m uvicorn --log-level warning --host {{host}} --port {{port}} shop:app"
backends = [{backends}]
start_timeout_s = 15.0
[balancer]
listen = "127.0.0.1:{self.port}"
[database.shards]
{shards}
[database.groups.user]
key = "user_id"
tables = {{ orders = "user_id" }}
[deploy]
repository = {json.dumps(str(self.repository.root))}
ref = "main"
install = ""
build = ["{sys.executable} build.py"]
gate_path = "/"
gate_requests = 10
drain_s = 0.0
settle_s = 0.0
lock_s = 3.0
min_disk_mb = 1
min_memory_mb = 1
{keys}
{more}
{found}"""

    def write(self, text: str = "") -> None:
        """Write the file for the deployer and for every host."""
        for folder in (self.desk, *(machine.path for machine in self.machines)):
            (folder / "tenfold.toml").write_text(text or self.text)

    def start(self) -> None:
        """`tenfold up` on every host, once they are up."""
        for number, machine in enumerate(self.machines, 1):
            with (machine.root / "up.out").open("wb") as out:
                up = subprocess.Popen(
                    [*TENFOLD, "up", "--env", "production", "--host", f"web_{number}"],
                    cwd=machine.path, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=ENVIRONMENT,
                    start_new_session=True,
                )  # fmt: skip
            self._ups.append(up)
            if number == 1:  # it sets the shards up, which the others need
                self._is_up(machine, up)
        for machine, up in zip(self.machines, self._ups, strict=True):
            self._is_up(machine, up)

    @staticmethod
    def _is_up(machine: Sshd, up: subprocess.Popen[bytes]) -> None:
        out = machine.root / "up.out"
        wait_for(lambda: "Ctrl-C, or " in out.read_text() or up.poll() is not None, "a host is up", 120)
        assert up.poll() is None, out.read_text()

    def tenfold(self, *words: str, timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
        """A command at the deployer's desk, to its end."""
        return subprocess.run(
            [*TENFOLD, *words, "--env", "production"], cwd=self.desk, env=ENVIRONMENT | GIT, capture_output=True,
            text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """A command whose lines one reads as they come."""
        return subprocess.Popen(
            [*TENFOLD, *words, "--env", "production"], cwd=self.desk, env=ENVIRONMENT | GIT, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    @staticmethod
    def reaches(process: subprocess.Popen[str], step: str) -> None:
        """Read what a deploy that was begun with --json tells, until it has come to a step."""
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "step" and event["step"] == step:
                return
        raise AssertionError(f"it has ended before {step}")

    def links(self) -> list[str | None]:
        """The release that each backend's link names."""
        found: list[str | None] = []
        for number, machine in enumerate(self.machines):
            link = machine.path / "backends" / f"backend_{number}"
            found.append(link.readlink().name if link.is_symlink() else None)
        return found

    def running(self) -> list[str]:
        """The release that each backend says it is, asked on its own address."""
        return [_get(port, "/")["release"] for port in self.ports]

    def deploys(self) -> list[dict[str, Any]]:
        """What the journal says, the newest first."""
        told = self.tenfold("deploy", "--list", "--json")
        assert told.returncode == 0, told.stdout + told.stderr
        found: list[dict[str, Any]] = json.loads(told.stdout)["deploys"]
        return found

    def settled(self) -> dict[str, Any]:
        """The last deploy, once nobody works on one and none is open."""

        def ended() -> dict[str, Any] | None:
            told = self.tenfold("deploy", "--list", "--json")
            if told.returncode:
                return None
            found: dict[str, Any] = json.loads(told.stdout)
            last: dict[str, Any] = found["deploys"][0]
            ended = not found["deploying"] and last["state"] in ("good", "undone", "refused")
            return last if ended else None

        return wait_for(ended, "the last deploy has ended, one way or the other", 240)

    def wanted(self) -> list[str]:
        """What the balancer wants of each backend."""
        told = subprocess.run(
            [*TENFOLD, "balancer", "status", "--json"], cwd=self.machines[0].path, env=ENVIRONMENT,
            capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return [one["wanted"] for one in json.loads(told.stdout)["backends"]]

    def is_whole(self, release: str | None) -> None:
        """Every backend runs one release, takes clients, and has its link on it."""
        assert self.links() == [release] * len(self.ports)
        assert self.running() == [release or "none"] * len(self.ports)
        assert self.wanted() == ["ready"] * len(self.ports)

    def orders(self) -> Counter[str]:
        """How often each key was ordered, counted in the shards."""
        found: Counter[str] = Counter()
        for shard in self.shards:
            with contextlib.closing(sqlite3.connect(shard)) as database:
                found.update(key for (key,) in database.execute("SELECT item FROM orders"))
        return found

    def stop(self) -> None:
        """End everything that was started here, and what that started."""
        for up in self._ups:
            up.send_signal(signal.SIGTERM)
        for up in self._ups:
            with suppress(subprocess.TimeoutExpired):
                up.wait(15)
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if Path(process.cwd()).is_relative_to(self.root):
                    process.kill()
        for up in self._ups:
            up.wait(10)


def _get(port: int, path: str) -> Any:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        line.request("GET", path)
        return json.loads(line.getresponse().read())
    finally:
        line.close()


class Clients:
    """Keep-alive clients from addresses of their own: pages and orders, without a pause longer than the limits ask."""

    def __init__(self, fleet: Fleet, count: int = 6, page: str = "/") -> None:
        """page: what is asked between the orders."""
        self.failed: list[str] = []
        self.sent: list[str] = []
        self.releases: Counter[str] = Counter()
        self.requests = 0
        self._fleet, self._page, self._over = fleet, page, threading.Event()
        self._turn = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(count)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, number: int) -> None:
        line: http.client.HTTPConnection | None = None
        cookie, nth = "", 0
        while not self._over.wait(0.05):
            nth += 1
            key = f"{number}-{nth}-{time.time_ns()}"
            post = nth % 2 == 0
            try:
                if line is None:
                    line = http.client.HTTPConnection(
                        "127.0.0.1", self._fleet.port, timeout=20, source_address=(f"127.0.7.{number + 1}", 0)
                    )
                headers = {"Cookie": cookie} if cookie else {}
                if post:
                    with self._turn:
                        self.sent.append(key)
                    body = json.dumps({"user": number * 1000 + nth, "key": key})
                    line.request("POST", "/orders", body, headers)
                else:
                    line.request("GET", f"{self._page}?{nth}", headers=headers)
                answer = line.getresponse()
                told = answer.read()
                self._saw(answer, told, post)
                given = answer.headers["Set-Cookie"]
                if given and nth % 7:  # now and then a new visitor
                    cookie = given.partition(";")[0]
                if answer.will_close:
                    line.close()
                    line = None
            except (OSError, http.client.HTTPException) as error:
                with self._turn:
                    self.failed.append(f"{'POST' if post else 'GET'}: {type(error).__name__}: {error}")
                if line is not None:
                    line.close()
                line = None
        if line is not None:
            line.close()

    def _saw(self, answer: http.client.HTTPResponse, told: bytes, post: bool) -> None:
        with self._turn:
            self.requests += 1
            if answer.status not in (200, 201):
                self.failed.append(f"{'POST' if post else 'GET'}: {answer.status}: {told[:100]!r}")
            else:
                self.releases[json.loads(told)["release"]] += 1

    def check(self) -> None:
        """No request failed, and every order is there, once."""
        assert not self.failed, (len(self.failed), self.requests, self.failed[:5])
        assert self.requests > 20
        there = self._fleet.orders()
        assert [key for key in self.sent if there[key] != 1] == []


@contextmanager
def fleet(root: Path, more: str = "") -> Iterator[Fleet]:
    """A fleet that runs; it has no release yet."""
    with ExitStack() as stack:
        keyring, machines = stack.enter_context(hosts(root, 3))
        made = Fleet(root, keyring, machines, more)
        stack.callback(made.stop)
        made.start()
        yield made
