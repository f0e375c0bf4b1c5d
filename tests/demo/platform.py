"""A ledger on real shards in a directory, with as many backends as a test starts. Edge."""

from __future__ import annotations

import hashlib
import os
import secrets
import shlex
import signal
import sqlite3
import ssl
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

import tenfold
from tenfold.demo import ledger as shipped
from tenfold.demo.ledger.audit import Audit, audit
from tenfold.demo.ledger.seed.load import seed
from tenfold.demo.ledger.seed.residents import email_of
from tenfold.demo.ledger.setup import statements
from tenfold.sharding.engine.initialise import initialise
from tenfold.topology.load import load
from tests.mariadb import on_mariadb
from tests.support import free_port, wait_for

SHIPPED = Path(str(shipped.__file__)).parent / "tenfold.toml"
PASSWORD = "a password for tests"
_SEEDED = "SELECT email FROM users WHERE currency = 'EUR' AND email LIKE 'user%@ledger.example' ORDER BY email DESC"


# httpx makes one for each client, also for plain HTTP, and each costs 40 ms.
_TLS = ssl.create_default_context()


def client(url: str, **options: Any) -> httpx.Client:
    """An HTTP client for a backend."""
    return httpx.Client(base_url=url, verify=_TLS, timeout=30, **options)


class Backend:
    """One process of the app, started by the command of the shipped file."""

    def __init__(self, platform: Platform, **environment: str) -> None:
        self.port = free_port()
        command = tomllib.loads(SHIPPED.read_text())["app"]["command"]
        self.log = platform.root / f"backend-{self.port}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                shlex.split(command.format(python=sys.executable, port=self.port)),
                cwd=platform.root,
                env={**os.environ, "TENFOLD_FILE": str(platform.file), "TENFOLD_BACKEND": "backend_7", **environment},
                stdout=log,
                stderr=log,
            )
        self.url = f"http://127.0.0.1:{self.port}"

    def wait(self) -> Backend:
        """Until it is well."""

        def well() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            try:
                return asking.get("/healthz").status_code == 200
            except httpx.TransportError:
                return False

        with client(self.url) as asking:
            wait_for(well, "the backend is well")
        return self

    def kill(self) -> None:
        """As a crash would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        """As the supervisor would."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            finally:
                self.process.kill()  # nothing when it has ended


class Platform:
    """The shipped file in a directory of its own, its shards initialised and seeded."""

    def __init__(self, root: Path, people: int, lock_wait_s: float = 5.0, databases: Sequence[str] = ()) -> None:
        """databases: addresses of three MariaDB databases; none: SQLite, as the file is shipped."""
        self.root = root
        self.file = root / "tenfold.toml"
        text = SHIPPED.read_text().replace("[database]", f"[database]\nlock_wait_s = {lock_wait_s}")
        if databases:
            text = on_mariadb(root, text, databases)
        self.file.write_text(text)
        initialise(load(self.file))
        self.backends: list[Backend] = []
        self.db = self.connect()
        for statement in statements("mysql" if databases else "sqlite"):
            self.db.execute(statement)
        seed(self.db, people)

    def connect(self) -> tenfold.Database:
        return tenfold.connect(self.file)

    def start(self, **environment: str) -> Backend:
        """Start a backend; wait() for it before use."""
        backend = Backend(self, **environment)
        self.backends.append(backend)
        return backend

    def close(self) -> None:
        for backend in self.backends:
            backend.stop()
        self.db.close()

    def audit(self) -> Audit:
        return audit(self.db)

    def shard(self, number: int) -> sqlite3.Connection:
        """A connection beside Tenfold, which may hold locks; autocommit."""
        return sqlite3.connect(self.root / "var" / f"shard_{number}.db", isolation_level=None)

    def ask(self, shard: int, sql: str, *params: Any) -> list[Any]:
        """Rows that one shard holds."""
        connection = self.shard(shard)
        try:
            return connection.execute(sql, params).fetchall()
        finally:
            connection.close()

    def home_of(self, user_id: int | str) -> int:
        """The one shard that has the user's row."""
        found = [n for n in range(3) if self.ask(n, "SELECT 1 FROM users WHERE id = ?", int(user_id))]
        assert len(found) == 1, f"user {user_id} is on shards {found}"
        return found[0]

    def with_euros(self) -> list[int]:
        """Numbers of the seeded people whose wallets are in euros, but the administrator."""
        found = self.db.execute("SELECT email, currency FROM users")
        emails = sorted(row["email"] for row in found if row["currency"] == "EUR" and row["email"] != email_of(1))
        return [int(email[4:9]) for email in emails if email.startswith("user")]

    def pair_on_two_shards(self) -> tuple[int, int]:
        """Numbers of two seeded people with euros, on two shards; the second's is not the catalog's."""
        homes: dict[int, int] = {}
        for shard in (0, 1, 2):
            for (email,) in self.ask(shard, _SEEDED):
                homes.setdefault(shard, int(email[4:9]))
        return homes[1], homes[2]


class Member:
    """A seeded person with a session and a bearer token."""

    def __init__(self, platform: Platform, backend: Backend, number: int) -> None:
        self.email = email_of(number)
        secret = secrets.token_urlsafe(32)
        now = time.time_ns() // 1_000_000
        self.id = platform.db.execute("SELECT id FROM users WHERE email = ?", (self.email,)).scalar()
        # Straight into the table: the log-in has tests of its own, and each costs a tenth of a second.
        platform.db.execute(
            "INSERT INTO sessions (user_id, token_hash, created_at, expires_at) VALUES (?, ?, ?, ?)",
            (self.id, hashlib.sha256(secret.encode()).hexdigest(), now, now + 3_600_000),
        )
        self.token = f"{self.id}.{secret}"
        self.http = client(backend.url, headers={"Authorization": f"Bearer {self.token}"})

    def post(self, path: str, key: str | None = None, **values: Any) -> httpx.Response:
        return self.http.post(f"/api{path}", json=values, headers={"Idempotency-Key": key} if key else {})

    def get(self, path: str, **query: str | int) -> Any:
        answer = self.http.get(f"/api{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def balance(self) -> int:
        return int(self.get("/me")["user"]["balance"])

    def browser(self) -> httpx.Client:
        """The same session by cookie, as pages use it."""
        return client(str(self.http.base_url), cookies={"ledger_session": self.token})
