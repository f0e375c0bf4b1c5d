"""A place where a backup is restored to be looked at: a directory, a server of its own, or a database on one. Edge."""

from __future__ import annotations

import ctypes
import fcntl
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import SecretStr

from tenfold.errors import BackupError, NodeError, TenfoldError
from tenfold.sharding.engine.mysql import MysqlDriver
from tenfold.sharding.engine.mysqloptions import mysql_options
from tenfold.topology.addresses import mysql_address
from tenfold.topology.model import Engine, Shard, Tls, Topology

_SEARCH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin"
_START_S, _STOP_S = 60.0, 30.0
_PROGRAMS = ("mariadbd", "mariadb-install-db")
PREFIX, _DIRECTORY = "tenfold_scratch", "tenfold-verify-"
_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
_LEAST = (
    "--innodb-log-file-size=64M", "--innodb-buffer-pool-size=128M", "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0", "--max-allowed-packet=1G", "--skip-log-bin", "--skip-name-resolve",
    "--performance-schema=OFF", "--character-set-server=utf8mb4",
)  # fmt: skip


@contextmanager
def scratch(topology: Topology, shards: list[str]) -> Iterator[tuple[Topology, str]]:
    """The platform with empty databases of its own for `shards`, and what they are in words. Gone at the end."""
    if topology.database.engine is Engine.SQLITE:
        with _directory() as root:
            urls = {shard: f"sqlite:///{root / (shard + '.db')}" for shard in shards}
            yield _elsewhere(topology, urls, None), "SQLite files of its own"
    elif topology.backup.scratch is not None:
        with _database(topology, topology.backup.scratch, shards) as found:
            yield found, f"databases on the server of {topology.backup.scratch}"
    else:
        with _server(topology, shards) as found:
            yield found, "a MariaDB server of its own"


@contextmanager
def _directory() -> Iterator[Path]:
    """A directory for rows that anybody who may read it can read; those of verifications that were killed go first."""
    for old in Path(tempfile.gettempdir()).glob(_DIRECTORY + "*"):
        with suppress(OSError):
            fd = os.open(old, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(fd).st_uid == os.geteuid():
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(old, ignore_errors=True)
            finally:
                os.close(fd)
    with tempfile.TemporaryDirectory(prefix=_DIRECTORY, ignore_cleanup_errors=True) as name:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH)
            yield Path(name)
        finally:
            os.close(fd)


def _die_with_us() -> None:
    """In the child: a server full of rows does not outlive whoever knows its password (Linux)."""
    if _libc is not None:
        _libc.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _elsewhere(topology: Topology, urls: dict[str, str], password: str | None, *, tls: Tls | None = None) -> Topology:
    secret = None if password is None else SecretStr(password)
    shards = {shard: Shard(url=url, password=secret) for shard, url in urls.items()}
    database = topology.database.model_copy(update={"shards": shards, "catalog": None, "tls": tls})
    return topology.model_copy(update={"database": database})


@contextmanager
def _database(topology: Topology, home: str, shards: list[str]) -> Iterator[Topology]:
    """Databases on the server of a shard, named so that nobody takes them for anything else."""
    entry = topology.database.shards[home]
    host, port, user, _ = mysql_address(entry.url)
    place = entry.url.rpartition("/")[0]
    names = {shard: f"{PREFIX}_{topology.platform.name[:20]}_{number}" for number, shard in enumerate(shards)}
    driver = MysqlDriver(mysql_options(topology, home))
    try:
        lock = f"{PREFIX}_{topology.platform.name}"
        if driver.execute("SELECT GET_LOCK(?, 0)", (lock,)).rows[0][0] != 1:
            raise BackupError(f"another verification runs on {home}", hint="try again", retryable=True)
        try:
            for name in names.values():
                driver.execute(f"DROP DATABASE IF EXISTS `{name}`", ())  # of one that was killed
                driver.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4", ())
        except NodeError as error:
            pattern = f"{PREFIX}_%".replace("_", r"\_")
            raise BackupError(
                f"no scratch database can be made on {host} port {port}: {error}",
                hint=f"GRANT ALL ON `{pattern}`.* TO '{user}'@…, or leave backup.scratch out",
            ) from None
        database = topology.database
        copies = {shard: entry.model_copy(update={"url": f"{place}/{name}"}) for shard, name in names.items()}
        yield topology.model_copy(
            update={"database": database.model_copy(update={"shards": copies, "catalog": None})}
        )  # fmt: skip
    finally:
        for name in names.values():
            with suppress(TenfoldError):
                driver.execute(f"DROP DATABASE IF EXISTS `{name}`", ())
        driver.close()


@contextmanager
def _server(topology: Topology, shards: list[str]) -> Iterator[Topology]:
    """A MariaDB server that only this process knows the password of."""
    found = {name: shutil.which(name, path=_SEARCH) for name in _PROGRAMS}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise BackupError(
            f"to verify takes a scratch server, and {' and '.join(missing)} is not installed here",
            hint="install mariadb-server, or name a shard in backup.scratch whose server may hold a scratch database",
        )
    with _directory() as root:
        password, port = secrets.token_hex(16), _free_port()
        _install(str(found["mariadb-install-db"]), root)
        names = {shard: f"s_{number}" for number, shard in enumerate(shards)}
        init = root / "init.sql"
        init.touch(0o600)
        init.write_text(
            "".join(f"CREATE DATABASE `{one}` CHARACTER SET utf8mb4;\n" for one in names.values())
            + f"CREATE USER scratch@'127.0.0.1' IDENTIFIED BY '{password}';\nGRANT ALL ON *.* TO scratch@'127.0.0.1';\n"
        )
        with (root / "log").open("wb") as log:
            process = subprocess.Popen(  # found on PATH
                [str(found["mariadbd"]), "--no-defaults", f"--user={_account()}", f"--datadir={root / 'data'}",
                 f"--port={port}", "--bind-address=127.0.0.1", f"--socket={root / 's'}", f"--pid-file={root / 'pid'}",
                 f"--tmpdir={root / 'tmp'}", f"--init-file={init}", *_LEAST],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_die_with_us,
            )  # fmt: skip
        try:
            urls = {shard: f"mysql://scratch@127.0.0.1:{port}/{one}" for shard, one in names.items()}
            elsewhere = _elsewhere(topology, urls, password, tls=Tls.OFF)
            _await(elsewhere, shards[-1], process, root / "log")
            yield elsewhere
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _install(program: str, root: Path) -> None:
    (root / "tmp").mkdir()
    done = subprocess.run(  # found on PATH
        [program, "--no-defaults", f"--user={_account()}", f"--datadir={root / 'data'}", f"--tmpdir={root / 'tmp'}",
         "--skip-test-db", "--force", "--skip-name-resolve", "--auth-root-authentication-method=socket"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_START_S, check=False,
    )  # fmt: skip
    if done.returncode:
        said = done.stdout.decode(errors="replace").strip().splitlines()[-1:]
        raise BackupError(f"no scratch server can be made: {' '.join(said)}", hint=f"see that {program} works")


def _await(topology: Topology, shard: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the last database is there."""
    deadline_s = time.monotonic() + _START_S
    while True:
        try:
            MysqlDriver(mysql_options(topology, shard)).close()
            return
        except NodeError:
            if process.poll() is not None or time.monotonic() > deadline_s:
                said = log.read_text(errors="replace").strip().splitlines()[-1:]
                raise BackupError(
                    f"the scratch server does not start: {' '.join(said)}", hint="see its words"
                ) from None
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _account() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name
