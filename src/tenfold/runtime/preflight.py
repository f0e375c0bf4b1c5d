"""What must hold before anything is started: programs exist, ports are free, files may be opened. Edge."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from tenfold.errors import PlatformError
from tenfold.runtime.place import Place
from tenfold.runtime.programs import Address
from tenfold.runtime.record import read

# Enough for an app with its connections; nginx raises its own further.
WANTED_FILES = 4096
NEEDED_FILES = 256


def find_program(word: str, environment: Mapping[str, str], directory: Path, where: str) -> str:
    """The path of the program that `word` names, as the app's environment and directory have it.

    Raises PlatformError, naming the key `where` of the file, when there is none that may be run.
    """
    path = environment.get("PATH", os.defpath)
    candidate = str(directory / word) if "/" in word else word
    found = shutil.which(candidate, path=path)
    if found:
        return os.path.abspath(found)  # noqa: PTH100  not resolved: a Python in a venv knows its venv by its link
    if "/" in word and os.path.lexists(candidate):
        raise PlatformError(f"{where}: {candidate} may not be run", hint=f"chmod u+x {candidate}")
    raise PlatformError(
        f"{where}: there is no program {word!r}" + ("" if "/" in word else " on PATH"),
        hint=f"install it beside Tenfold or write its full path in {where}; {{python}} is the Python that runs Tenfold",
    )


def check_ports(wanted: Mapping[str, Address], hint: str) -> None:
    """Raise PlatformError unless every address is free; it names each that is not and, where visible, who has it."""
    taken = [line for name, address in wanted.items() if (line := _taken(name, address))]
    if taken:
        raise PlatformError("\n".join(taken), hint=hint)


def _taken(name: str, address: Address) -> str | None:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as attempt:
        # Connections of an earlier run that the kernel has yet to forget do not stand in the way of a server.
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((address.host, address.port))
            attempt.listen(1)
        except PermissionError:
            return f"{name}: port {address.port} is for root only on this machine; choose one above 1023"
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return f"{name}: cannot listen on {address}: {error.strerror}"
            return f"{name}: port {address.port} is taken by {_holder(address.port)}"
    return None


def _holder(port: int) -> str:
    try:
        connections = psutil.net_connections("tcp")
    except (psutil.Error, OSError):  # macOS lets root alone look
        connections = []
    for connection in connections:
        local = connection.laddr
        if connection.status == psutil.CONN_LISTEN and connection.pid and local and local.port == port:
            return describe(connection.pid)
    return "a process of another user"


def describe(pid: int) -> str:
    """A process as a person recognises it: name, pid and, where that can be seen, the Tenfold platform it is of."""
    try:
        process = psutil.Process(pid)
        text = f"{process.name()} (pid {pid})"
    except psutil.Error:
        return f"a process that has just ended (pid {pid})"
    with suppress(psutil.Error, OSError):
        # Our programs run in the directory of their file, beside which their supervisor keeps its record, or in
        # releases/ID below it.
        here = Path(process.cwd())
        record = read(Place(here).state) or read(Place(here.parent.parent).state)
        line = {pid, *(parent.pid for parent in process.parents())}
        if record and any(entry.pid in line for entry in record.processes):
            return f"{text} of another platform (to end it: tenfold down -f {record.file})"
    return text


def raise_file_limit() -> None:
    """Let this process and its children open enough files, as far as the hard limit allows.

    Raises PlatformError when that is not enough to run at all.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= WANTED_FILES:
        return
    limit = WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, WANTED_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    if limit < NEEDED_FILES:
        raise PlatformError(
            f"a process may open only {limit} files here; {NEEDED_FILES} are needed",
            hint=f"raise the hard limit in the shell (ulimit -Hn {WANTED_FILES}) or in limits.conf, then log in again",
        )
