"""The ledger as a user runs it: installed from a wheel, started by `tenfold demo`, seen through the balancer. Edge."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.demo.platform import SHIPPED
from tests.http import Answer, Client
from tests.mariadb import client, on_mariadb
from tests.support import wait_for

SHARDS = ("shard_0", "shard_1", "shard_2")
GROUP = {
    "users": "id", "user_meta": "user_id", "sessions": "user_id", "deposits": "user_id", "withdrawals": "user_id",
    "transactions": "user_id", "outbox": "user_id", "credits": "user_id",
}  # fmt: skip
PASSWORD = "a long enough password"


def free_run_of_ports(count: int) -> int:
    """The first of `count` neighbouring ports that nobody listens on."""
    while True:
        first = 12_000 + secrets.randbelow(7_000)
        with ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first


@dataclass
class Member:
    """Somebody who signed up, with their session."""

    id: int
    email: str
    token: str


class Ledger:
    """`tenfold demo` in a directory of its own."""

    def __init__(self, root: Path, site: Path, users: int, databases: Sequence[str] = ()) -> None:
        """databases: addresses of three MariaDB databases; none: SQLite, as the file is shipped."""
        self.root = root
        self.databases = dict(zip(SHARDS, databases, strict=False))
        if databases:
            (root / "tenfold.toml").write_text(on_mariadb(root, SHIPPED.read_text(), databases))
        self.port = free_run_of_ports(4)
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("TENFOLD_", "LEDGER_"))} | {
            "PYTHONPATH": str(site),
            "LEDGER_SEED_USERS": str(users),
            # The sweeper's own pace is 5 s; the test has not the time.
            "LEDGER_SWEEP_AFTER_S": "0.5",
            "LEDGER_SWEEP_EVERY_S": "0.5",
        }
        self.run: subprocess.Popen[bytes] | None = None

    def tenfold(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of Tenfold, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "tenfold.cli.main", *arguments],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def start(self) -> None:
        """`tenfold demo .`, until it says that it is up."""
        with (self.root / "up.out").open("wb") as out:
            self.run = subprocess.Popen(
                [sys.executable, "-m", "tenfold.cli.main", "demo", ".", "--port", str(self.port)],
                cwd=self.root,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        run = self.run
        wait_for(lambda: "is up" in self.said() or run.poll() is not None, "the ledger is up", 60)
        assert run.poll() is None, self.said()

    def said(self) -> str:
        return (self.root / "up.out").read_text()

    def stop(self) -> int:
        """SIGTERM, and the exit code; what is left after a failure is killed."""
        if self.run is None:
            return 0
        with suppress(ProcessLookupError):
            self.run.send_signal(signal.SIGTERM)
        try:
            return self.run.wait(15)
        finally:
            for process in self.processes():
                with suppress(psutil.Error):
                    process.kill()

    def processes(self) -> list[psutil.Process]:
        """Every process that works in this directory."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == self.root:
                    found.append(process)
        return found

    def backends(self) -> dict[str, dict[str, Any]]:
        """The backends as the state file has them, by name."""
        state = json.loads((self.root / "var/run/state.json").read_text())
        return {entry["name"]: entry for entry in state["processes"] if entry["name"].startswith("backend_")}

    def kill(self, backend: str) -> None:
        os.kill(self.backends()[backend]["pid"], signal.SIGKILL)

    def all_up(self) -> bool:
        """Whether every backend answers by itself."""
        with suppress(OSError):
            return all(ask(entry["port"], "/healthz").status == 200 for entry in self.backends().values())
        return False

    # --- as a client ---

    def ask(self, path: str, method: str = "GET", **request: Any) -> Answer:
        return ask(self.port, path, method, **request)

    def post(self, path: str, values: Mapping[str, object], member: Member | None = None) -> Answer:
        headers = {"Content-Type": "application/json"}
        if member:
            headers["Authorization"] = f"Bearer {member.token}"
        return self.ask(path, "POST", body=json.dumps(values).encode(), headers=headers)

    def sign_up(self, email: str) -> Answer:
        return self.post("/api/users", {"email": email, "name": "Ann", "password": PASSWORD, "currency": "EUR"})

    def member(self, email: str) -> Member:
        answer = self.sign_up(email)
        assert answer.status == 201, answer.body
        told = answer.told
        return Member(int(told["user"]["id"]), email, told["token"])

    def get(self, path: str, member: Member) -> dict[str, Any]:
        answer = self.ask(path, headers={"Authorization": f"Bearer {member.token}"})
        assert answer.status == 200, answer.body
        return answer.told

    # --- behind its back: the databases themselves ---

    def rows(self, shard: str, sql: str, *params: object) -> list[tuple[Any, ...]]:
        """Rows that a shard holds, by a client of its own."""
        if self.databases:
            with client(self.databases[shard]) as line, line.cursor() as cursor:
                cursor.execute(sql.replace("?", "%s"), params)
                return list(cursor.fetchall())
        with closing(sqlite3.connect(self.root / "var" / f"{shard}.db")) as file:
            return file.execute(sql, params).fetchall()

    @contextmanager
    def no_credit(self, user_id: int) -> Iterator[Callable[[], None]]:
        """A user's shard takes no credit for this user; gives what lets it do so again, which the end does too."""
        home = self.home(user_id)
        if self.databases:
            with client(self.databases[home]) as line, line.cursor() as cursor:
                cursor.execute("BEGIN")
                cursor.execute("SELECT 1 FROM users WHERE id = %s FOR UPDATE", (user_id,))
                yield line.rollback
            return
        with closing(sqlite3.connect(self.root / "var" / f"{home}.db", isolation_level=None)) as lock:
            lock.execute("BEGIN IMMEDIATE")
            yield lock.rollback

    def home(self, user_id: int) -> str:
        """The shard that the bucket map names for a user, computed here and not by Tenfold."""
        bucket = int(hashlib.md5(str(user_id).encode(), usedforsecurity=False).hexdigest()[:3], 16)
        return str(self.rows("shard_0", "SELECT shard FROM tf_bucket WHERE bucket = ?", bucket)[0][0])

    def where(self, user_id: int) -> dict[str, set[str]]:
        """The shards on which each table of the group has rows of a user."""
        return {
            table: {
                shard for shard in SHARDS if self.rows(shard, f"SELECT 1 FROM {table} WHERE {key} = ? LIMIT 1", user_id)
            }
            for table, key in GROUP.items()
        }

    def sums(self) -> tuple[int, int]:
        """(sum of all entries, money that has left its sender and not arrived), over all shards."""
        entries = sum(self.rows(s, "SELECT COALESCE(SUM(amount), 0) FROM transactions")[0][0] for s in SHARDS)
        arrived = {row[0] for s in SHARDS for row in self.rows(s, "SELECT transfer_id FROM credits")}
        sent = [row for s in SHARDS for row in self.rows(s, "SELECT id, amount FROM outbox")]
        return entries, sum(amount for transfer, amount in sent if transfer not in arrived)

    def balance(self, user_id: int) -> int:
        return int(self.rows(self.home(user_id), "SELECT balance FROM users WHERE id = ?", user_id)[0][0])


def ask(port: int, path: str, method: str = "GET", **request: Any) -> Answer:
    """One request on a connection of its own, from an address that nobody has used."""
    with Client(port) as client:
        return client.ask(path, method, **request)
