"""Give nginx its configuration: write beside, let nginx check it, swap, reload. Edge."""

from __future__ import annotations

import grp
import os
import pwd
import re
import resource
import signal
import stat
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tenfold.balancer.nginx import Nginx, find
from tenfold.balancer.render import ACCESS_LOG, ERROR_LOG, PID_FILE, Machine, render
from tenfold.balancer.states import ALL_READY, States
from tenfold.errors import BalancerError
from tenfold.topology.model import Topology

CHECK_TIMEOUT_S = 30.0
# New workers are there within some 50 ms; a machine short of breath may take longer.
RELOAD_TIMEOUT_S = 10.0
CONFIG = "nginx/nginx.conf"
# "Unlimited" still has to be a number; nobody reaches this one.
UNLIMITED_FILES = 1 << 20


@dataclass(frozen=True, slots=True)
class Prepared:
    """An nginx and a configuration that it has accepted.

    command   starts nginx in the foreground; SIGQUIT ends it after open requests, SIGTERM at once
    config    the file it reads; the one before is beside it as nginx.conf.previous
    var       its prefix: logs, pid file and temporary files are in here
    warnings  complete sentences for the user
    """

    command: list[str]
    config: Path
    var: Path
    nginx: Nginx
    warnings: list[str]

    @property
    def pid_file(self) -> Path:
        """Holds nginx's process id while it runs."""
        return self.var / PID_FILE

    @property
    def access_log(self) -> Path:
        """One line a request; columns: render.ACCESS_LOG_COLUMNS."""
        return self.var / ACCESS_LOG

    @property
    def error_log(self) -> Path:
        """What nginx complains about."""
        return self.var / ERROR_LOG


def prepare(topology: Topology, var: Path, states: States = ALL_READY) -> Prepared:
    """Find nginx, write its configuration under `var`, and put it in place if nginx accepts it.

    states  what is wanted of each backend; one that is not named takes its share
    A configuration that nginx refuses is left beside as nginx.conf.new; the one in place stays.
    Raises BalancerError.
    """
    var = Path(os.path.abspath(var))  # noqa: PTH100 - resolve() would follow the links that the user chose
    nginx = find(topology.balancer.nginx, root=Path(topology.root))
    config = var / CONFIG
    try:
        _make_directories(var)
        account, warning = _workers_account(config.parent)
        rendered = render(topology, nginx.features, Machine(_cpus(), _fd_limit(), account), states)
        fresh = config.with_name("nginx.conf.new")
        _write(fresh, rendered.text)
        complaints = _check(nginx, var, fresh)
        _swap(fresh, config)
    except OSError as error:
        raise BalancerError(
            f"cannot write nginx's files: {error.strerror}: {error.filename}",
            hint=f"make {var} writable for this account",
        ) from error
    warnings = [*rendered.warnings, *([warning] if warning else []), *complaints]
    return Prepared(_command(nginx, var, config), config, var, nginx, warnings)


def reload(prepared: Prepared, pid: int, timeout_s: float = RELOAD_TIMEOUT_S) -> None:
    """Make the nginx with process id `pid` (its master) read the configuration again, if nginx accepts it.

    Returns once new workers have taken over: a new connection meets the new configuration. A connection that a
    client kept open may still meet the old one, for 5 s at most (keepalive_min_timeout), or until its request ends.
    Raises BalancerError; then nginx goes on with what it had.
    """
    _check(prepared.nginx, prepared.var, prepared.config)
    try:
        master = psutil.Process(pid)
        old = set(master.children())
        os.kill(pid, signal.SIGHUP)
    except (ProcessLookupError, psutil.NoSuchProcess):
        raise BalancerError(f"nginx (process {pid}) is not running", hint="start the platform: tenfold up") from None
    except (PermissionError, psutil.AccessDenied):
        raise BalancerError(
            f"nginx (process {pid}) belongs to another account", hint="run this as the account that started it"
        ) from None
    deadline_s = time.monotonic() + timeout_s
    while not _has_new_workers(master, old):
        if time.monotonic() > deadline_s:
            raise BalancerError(
                f"nginx has not taken its new configuration within {timeout_s:g} s",
                hint=f"nginx's own words are in {prepared.error_log}",
            )
        time.sleep(0.01)


def leaving_workers(master: int | None) -> int | None:
    """How many workers of the nginx with process id `master` go on only with what they had before a reload.

    Returns None when that cannot be seen: nginx is away, or belongs to another account.
    """
    if master is None:
        return None
    count = 0
    try:
        for worker in psutil.Process(master).children():
            with suppress(psutil.NoSuchProcess):
                count += worker.status() != psutil.STATUS_ZOMBIE and "shutting down" in " ".join(worker.cmdline())
    except psutil.Error:
        return None
    return count


def restore(prepared: Prepared) -> None:
    """Put the configuration before the last one back in place, for the next start of nginx. Raises OSError."""
    with suppress(FileNotFoundError):
        prepared.config.with_name("nginx.conf.previous").replace(prepared.config)


def _has_new_workers(master: psutil.Process, old: set[psutil.Process]) -> bool:
    """Tell whether the master has new workers and none of the `old` ones accepts connections any more."""
    try:
        workers = set(master.children())
    except psutil.NoSuchProcess:
        return False
    return bool(workers - old) and all(_is_leaving(worker) for worker in workers & old)


def _is_leaving(worker: psutil.Process) -> bool:
    # nginx writes so in the title of its process, once it has closed its listening sockets.
    try:
        return worker.status() == psutil.STATUS_ZOMBIE or "shutting down" in " ".join(worker.cmdline())
    except psutil.NoSuchProcess:
        return True


def _command(nginx: Nginx, var: Path, config: Path) -> list[str]:
    # Without -e nginx first opens the log that it was built with, which only root can write.
    early = ["-e", "stderr"] if nginx.features.early_error_log else []
    return [str(nginx.path), "-p", str(var), "-c", str(config), *early]


def _make_directories(var: Path) -> None:
    root = os.geteuid() == 0
    # Started as root, nginx's workers are another account, which must be able to pass through (not list).
    for directory, mode in (
        (var, 0o711 if root else 0o750),
        (var / "log", 0o750),
        (var / "run", 0o750),
        (var / "nginx", 0o711 if root else 0o700),
    ):
        if not directory.is_dir():
            directory.mkdir(parents=True, mode=0o755)
            directory.chmod(mode)
    # This one is ours alone, whoever made it.
    (var / "nginx").chmod(0o711 if root else 0o700)


def _workers_account(directory: Path) -> tuple[tuple[str, str] | None, str | None]:
    """Who the workers are: only root has a choice. They must reach `directory` for bodies too large for memory."""
    if os.geteuid() != 0:
        return None, None
    closed = next((d for d in (directory, *directory.parents) if not d.stat().st_mode & stat.S_IXOTH), None)
    if closed is None:
        return None, None
    account = pwd.getpwuid(0).pw_name, grp.getgrgid(0).gr_name
    return account, (
        f"nginx's workers run as root, because {closed} is closed to other accounts; "
        "start Tenfold as an ordinary account"
    )


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _fd_limit() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UNLIMITED_FILES if hard in (resource.RLIM_INFINITY, -1) else hard


def _write(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _swap(fresh: Path, config: Path) -> None:
    """Put `fresh` in place; at any moment there is a whole file under the name."""
    if config.exists() and config.read_bytes() != fresh.read_bytes():
        beside = config.with_name("nginx.conf.previous.new")
        beside.unlink(missing_ok=True)
        os.link(config, beside)
        beside.replace(config.with_name("nginx.conf.previous"))
    fresh.replace(config)
    descriptor = os.open(config.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check(nginx: Nginx, var: Path, config: Path) -> list[str]:
    """Let nginx read `config`; its warnings. Raises BalancerError with nginx's words and our line."""
    try:
        answer = subprocess.run(
            [*_command(nginx, var, config), "-t"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=CHECK_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BalancerError(
            f"{nginx.name} did not finish checking its configuration within {CHECK_TIMEOUT_S:.0f} s",
            hint=f"look at {config}",
            retryable=True,
        ) from None
    finally:
        # nginx -t makes an empty pid file to see whether it may; a running nginx's is not empty.
        pid_file = var / PID_FILE
        if pid_file.is_file() and pid_file.stat().st_size == 0:
            pid_file.unlink(missing_ok=True)
    said = answer.stderr.decode(errors="replace")
    if answer.returncode != 0:
        raise _refusal(nginx, config, said)
    return [line.removeprefix("nginx: [warn] ") for line in said.splitlines() if "[warn]" in line]


def _refusal(nginx: Nginx, config: Path, said: str) -> BalancerError:
    lines = [line for line in said.splitlines() if "[emerg]" in line or "[crit]" in line] or said.splitlines()[:3]
    text = "\n".join(line.removeprefix("nginx: ") for line in lines) or "it gave no reason"
    found = re.search(re.escape(str(config)) + r":(\d+)$", lines[0]) if lines else None
    if found:
        source = config.read_text(encoding="utf-8").splitlines()
        number = int(found[1])
        text += f"\n  {number:>4} | {source[min(number, len(source)) - 1].strip()}"
    hint = f"change the value in tenfold.toml that this comes from; the whole file is {config}"
    if "bind()" in text and "Permission denied" in text:
        hint = "ports below 1024 need root or CAP_NET_BIND_SERVICE; listen on one above, for example 127.0.0.1:8080"
    elif "bind()" in text:
        hint = "write an address of this machine in balancer.listen"
    return BalancerError(f"{nginx.name} refuses its configuration: {text}", hint=hint)
