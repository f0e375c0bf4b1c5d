"""Real MariaDB servers for tests: own directory, free loopback port, gone with the process that started them. Edge."""

from __future__ import annotations

import ctypes
import fcntl
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pymysql
import pytest

from tenfold.sharding.engine.mysqloptions import MysqlOptions
from tenfold.topology.addresses import mysql_address
from tests.support import free_port, memory, program, wait_for

ACCOUNT = "app"
PASSWORD = 'it\'s "100%" \\ @:/#?s3cret'  # every letter that an address, SQL or a format string may trip over
SMALL = (
    "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M", "--innodb-doublewrite=0", "--key-buffer-size=64K",
    "--innodb-use-native-aio=0", "--innodb-log-buffer-size=2M", "--aria-pagecache-buffer-size=1M",
    "--performance-schema=OFF",
)  # fmt: skip
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def pattern(shared: Path) -> Path:
    """The data directory of a server that never ran; made once below `shared`, whoever of several workers comes first.

    Skips where MariaDB is not installed (fails where CI=true).
    """
    program("mariadbd")
    install = program("mariadb-install-db")
    shared.mkdir(parents=True, exist_ok=True)
    made, data = shared / "mariadb.done", shared / "mariadb"
    with (shared / "mariadb.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(data, ignore_errors=True)
            own = shared / "tmp"  # a server that starts removes the temporary tables of others from a shared one
            own.mkdir(exist_ok=True)
            done = subprocess.run(
                [install, "--no-defaults", f"--user={_me()}", f"--datadir={data}", f"--tmpdir={own}",
                 "--skip-test-db", "--force", "--skip-name-resolve",
                 "--auth-root-authentication-method=normal", *SMALL],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            assert done.returncode == 0, f"{install} ended with {done.returncode}:\n{done.stdout[-3000:]}"
            made.touch()
    return data


def _me() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def die_with_the_tests() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Server:
    """One MariaDB server. Root comes in by the socket only; `ACCOUNT` by TCP, with all rights on what `create` made."""

    def __init__(self, root: Path, pattern: Path, options: Sequence[str] = ()) -> None:
        """Lay the data directory out below `root`, a short path: a socket's name has 107 bytes. Does not start."""
        self.root, self.data, self.socket = root, root / "data", root / "s"
        self.account, self.password = ACCOUNT, PASSWORD
        self.port = free_port()
        self.options = list(options)
        self._process: subprocess.Popen[bytes] | None = None
        self._accounts_made = False
        (root / "tmp").mkdir(parents=True, exist_ok=True)
        shutil.copytree(pattern, self.data)

    @property
    def pid(self) -> int:
        """Of the running server."""
        assert self._process is not None, "the server does not run"
        return self._process.pid

    @property
    def log(self) -> str:
        """What the server has written about itself."""
        return (self.root / "log").read_text(errors="replace")

    def start(self) -> Server:
        """Start on the same port as ever; → self, once it answers. It dies with the thread that calls this."""
        log = (self.root / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [program("mariadbd"), "--no-defaults", f"--user={_me()}", f"--datadir={self.data}",
                 f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={self.socket}",
                 f"--pid-file={self.root / 'pid'}", f"--tmpdir={self.root / 'tmp'}",
                 "--skip-name-resolve", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=2",
                 "--character-set-server=utf8mb4", *SMALL, *self.options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_the_tests,
            )  # fmt: skip
        wait_for(self._answers, f"mariadbd answers; its log:\n{self.log[-2000:]}", 30)
        if not self._accounts_made:
            secret = PASSWORD.replace("\\", "\\\\").replace("'", "''")
            self.sql(
                "DELETE FROM mysql.global_priv WHERE User = '' OR Host <> 'localhost'",
                "FLUSH PRIVILEGES",
                f"CREATE USER {ACCOUNT}@'127.0.0.1' IDENTIFIED BY '{secret}'",
            )
            self._accounts_made = True
        return self

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            pytest.fail(f"mariadbd ended with {self._process.returncode}:\n{self.log[-3000:]}")
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
            probe.connect(str(self.socket))
            self.sql()
            return True
        return False

    def sql(self, *texts: str) -> tuple[tuple[Any, ...], ...]:
        """Run statements as root; → the rows of the last one."""
        rows: tuple[tuple[Any, ...], ...] = ()
        with (
            pymysql.connect(
                unix_socket=str(self.socket), user="root", autocommit=True, sql_mode="", ssl_disabled=True
            ) as root,
            root.cursor() as cursor,
        ):
            for text in texts:
                cursor.execute(text)
                rows = tuple(cursor.fetchall())
        return rows

    def create(self, database: str) -> str:
        """A new database that `ACCOUNT` may do anything in; → its address."""
        self.sql(
            f"CREATE DATABASE `{database}` CHARACTER SET utf8mb4",
            f"GRANT ALL ON `{database.replace('_', chr(92) + '_')}`.* TO {ACCOUNT}@'127.0.0.1'",
        )
        return self.url(database)

    def drop(self, database: str) -> None:
        """Drop a database, whoever is still in it."""
        inside = self.sql(f"SELECT id FROM information_schema.processlist WHERE db = '{database}'")
        self.cut(number for (number,) in inside)
        self.sql(f"DROP DATABASE IF EXISTS `{database}`")

    def sessions(self, command: str = "") -> list[int]:
        """Numbers of the connections of `ACCOUNT`; only of those at `command`, as "Query": a statement runs."""
        sql = f"SELECT id FROM information_schema.processlist WHERE user = '{ACCOUNT}'"
        return [number for (number,) in self.sql(sql + (f" AND command = '{command}'" if command else ""))]

    def cut(self, numbers: Iterable[int]) -> None:
        """End these connections, where they have not ended meanwhile."""
        for number in numbers:
            with suppress(pymysql.err.OperationalError):
                self.sql(f"KILL {number}")

    def status(self, name: str) -> int:
        """One of the figures that the server counts."""
        return int(self.sql(f"SHOW GLOBAL STATUS LIKE '{name}'")[0][1])

    def url(self, database: str) -> str:
        """The address of a database as tenfold.toml has it; the password stands beside it."""
        return f"mysql://{quote(ACCOUNT)}@127.0.0.1:{self.port}/{database}"

    def pause(self) -> None:
        """Let it hang: it takes connections and bytes, and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Shut it down; nothing when it does not run."""
        if self._process is not None:
            self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Shut it down and start it again on the same port."""
        self.stop()
        self.start()

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        assert process is not None, "the server does not run"
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def server(pattern: Path, options: Sequence[str] = ()) -> Iterator[Server]:
    """A server of one's own, as for tests that stop, pause or break it; about a second."""
    # Its name is short: see `Server`.
    with tempfile.TemporaryDirectory(prefix="tenfold-", dir=memory(), ignore_cleanup_errors=True) as root:
        started = Server(Path(root), pattern, options)
        try:
            yield started.start()
        finally:
            started.stop()


def client(url: str, **more: Any) -> pymysql.Connection[pymysql.cursors.Cursor]:
    """A bare connection to a database by its address, as `ACCOUNT`; autocommit. more: for pymysql."""
    host, port, user, database = mysql_address(url)
    return pymysql.connect(
        host=host, port=port, user=user, password=PASSWORD, database=database, charset="utf8mb4", autocommit=True,
        ssl_disabled=True,  # to make a context takes longer than all the rest
        **more,
    )  # fmt: skip


def options_of(url: str, shard: str = "shard_0", **more: Any) -> MysqlOptions:
    """How Tenfold reaches a database by its address. more: other fields."""
    return MysqlOptions(shard, *mysql_address(url), PASSWORD.encode(), **more)


_numbers = itertools.count(1)


@contextmanager
def fresh_databases(servers: Sequence[Server], count: int) -> Iterator[list[str]]:
    """Addresses of `count` new, empty databases, on the servers in turn; dropped at the end."""
    made: list[tuple[Server, str]] = []
    try:
        urls = []
        for position in range(count):
            home, name = servers[position % len(servers)], f"t_{next(_numbers)}"
            urls.append(home.create(name))
            made.append((home, name))
        yield urls
    finally:
        for home, name in made:
            home.drop(name)


def on_mariadb(root: Path, file: str, urls: Sequence[str]) -> str:
    """The text of a tenfold.toml with SQLite shards, edited to have them on servers: `urls` in order of the shards.
    It is to stand in `root`, where the password that it names is put."""
    (root / "password").touch(0o600)
    (root / "password").write_text(PASSWORD)
    file = file.replace('engine = "sqlite"', 'engine = "mysql"')
    for position, url in enumerate(urls):
        lite = f'url = "sqlite:///var/shard_{position}.db"'
        assert lite in file
        file = file.replace(lite, f'url = "{url}", password = "file:password"')
    return file


def shared_directory(factory: pytest.TempPathFactory) -> Path:
    """A directory that all workers of one test run share."""
    base = factory.getbasetemp()
    return base.parent / "shared" if "PYTEST_XDIST_WORKER" in os.environ else base / "shared"
