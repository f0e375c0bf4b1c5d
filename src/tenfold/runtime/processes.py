"""Start, name and end processes by group, so that none is missed and no stranger is hit. Edge."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
# Loaded before any fork: the child of a fork may do little more than one system call.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
# psutil counts from the time of boot, which the kernel itself reports a second off now and then.
SAME_START_S = 2.0


@dataclass(frozen=True, slots=True)
class Identity:
    """A process, safe against its number being given to another: pid, and start time in seconds since 1970."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """Who has this pid now; None when nobody does, or it is a zombie that somebody has yet to collect."""
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return cls(pid, process.create_time())
        except psutil.Error:
            return None

    def is_alive(self) -> bool:
        """Tell whether the very same process still runs."""
        now = Identity.of(self.pid)
        return now is not None and abs(now.started - self.started) < SAME_START_S


def adopt_orphans() -> None:
    """Become the parent of what our children leave behind, as pid 1 of a container is anyway (Linux)."""
    if _libc is not None:
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def spawn(
    argv: Sequence[str],
    environment: Mapping[str, str],
    directory: Path,
    *,
    stdout: int,
    stderr: int | None,
) -> subprocess.Popen[bytes]:
    """Start a program as leader of a session of its own, with nothing on stdin, that dies when we do (Linux).

    Call it in the main thread: the kernel counts the end of the *thread* that forked as the end of the parent.
    Raises OSError when the program cannot be run.
    """
    return subprocess.Popen(
        argv,
        env=dict(environment),
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        # A session of its own: Ctrl-C in the terminal reaches `up` alone, which stops things in order.
        start_new_session=True,
        preexec_fn=die_with(os.getpid()),
    )


def die_with(parent: int) -> Callable[[], None]:
    """What a forked child does so that it gets SIGTERM when its parent, process `parent`, ends (Linux)."""

    def ask() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
            if os.getppid() != parent:  # it died before we had asked: no signal will come
                os._exit(1)

    return ask


def ended_with(process: subprocess.Popen[bytes]) -> int | None:
    """How a process of ours ended, as subprocess has it (negative: by that signal); None while it runs.

    It is not collected: until `end` does so, its number, and its group's, cannot be given to another.
    """
    if process.returncode is not None:
        return process.returncode
    try:
        found = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        # Its leader was a zombie already while a thread of it still ended, and it was collected as an orphan since.
        return process.poll()
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def members(group: int) -> list[int]:
    """Pids of the running processes of a process group; zombies have ended."""
    found = []
    for pid in psutil.pids():
        with suppress(OSError, psutil.Error):
            if os.getpgid(pid) == group and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


def signal_group(group: int, number: int) -> None:
    """Send a signal to every process of the group; nobody left is no error."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


async def end(
    process: subprocess.Popen[bytes], steps: Sequence[tuple[int, float]], hurry: asyncio.Event | None = None
) -> bool:
    """End a process of ours with its whole group.

    steps   (signal, seconds to wait for the end) in turn; with `hurry` set, the last step at once
    Returns whether all of it ended; its exit code has been collected.

    SIGQUIT, with which nginx is asked to finish its requests, goes to the leader alone; others to the group.
    """
    if process.returncode is not None:  # collected: the number may be another's by now
        return True
    group, hurry = process.pid, hurry or asyncio.Event()
    gone = ended_with(process) is not None and not members(group)
    for number, wait_s in steps:
        last = number == steps[-1][0]
        if gone or (hurry.is_set() and not last):
            continue
        if number == signal.SIGQUIT and ended_with(process) is None:
            os.kill(group, number)
        elif number != signal.SIGQUIT:
            signal_group(group, number)
        gone = await _emptied(group, wait_s, asyncio.Event() if last else hurry)
    if ended_with(process) is not None:
        process.wait()
    return gone


async def _emptied(group: int, within_s: float, hurry: asyncio.Event) -> bool:
    deadline = time.monotonic() + within_s
    while members(group):
        if hurry.is_set() or time.monotonic() >= deadline:
            return False
        with suppress(TimeoutError):
            await asyncio.wait_for(hurry.wait(), 0.03)
    return True


def end_now(targets: Sequence[Identity], grace_s: float) -> None:
    """End processes that need not be our children: SIGTERM, and SIGKILL to those that stay for `grace_s`."""
    for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 1.0)):
        for who in filter(Identity.is_alive, targets):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(who.pid, number)
        deadline = time.monotonic() + wait_s
        while (targets := [who for who in targets if who.is_alive()]) and time.monotonic() < deadline:
            time.sleep(0.03)


def descendants() -> list[Identity]:
    """All running processes below us, adopted ones among them."""
    found = [Identity.of(child.pid) for child in psutil.Process().children(recursive=True)]
    return [who for who in found if who]


def collect_orphans(ours: set[int]) -> None:
    """Collect adopted processes that have ended, never those whose exit code somebody waits for (`ours`)."""
    for child in psutil.Process().children():
        with suppress(psutil.Error, ChildProcessError):
            if child.pid not in ours and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)
