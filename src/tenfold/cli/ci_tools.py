"""Finds the tools of a job: the project's own, else Tenfold's, installed in a place of their own. Edge."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from tenfold.cli import ci_place
from tenfold.cli.options import Invocation
from tenfold.errors import PlatformError
from tenfold.pipeline.tools import PINS

INSTALL_S = 900
FROM_THE_SYSTEM = {
    "node": "install Node", "npm": "install Node", "php": "apt-get install php-cli",
    "phpunit": "composer require --dev phpunit/phpunit, or apt-get install phpunit",
    "composer": "apt-get install composer", "git": "apt-get install git",
}  # fmt: skip


class Workshop:
    """The tools of one repository."""

    def __init__(self, base: Path, run: Invocation) -> None:
        self.base, self.run = base, run
        self.own = ci_place.own_directory(base)
        self.reports = self.own / "reports"
        # One place for many repositories, or one that a cache keeps, where the variable names it.
        self.tools = Path(os.environ.get("TENFOLD_CI_TOOLS") or self.own / "tools").absolute()
        # Where what npm brought lies; commands find it on their PATH.
        self.brought: list[Path] = []

    @property
    def python(self) -> Path:
        """The environment that the project's own code runs in: its .venv where it has one."""
        theirs = self.base / ".venv"
        return theirs if (theirs / "bin" / "python").exists() else self.own / "python"

    def find(self, name: str) -> str:
        """Path of a program. Raises PlatformError, with the remedy, where it is nowhere and cannot be installed."""
        places = [self.python / "bin", self.base / "node_modules" / ".bin", self.base / "vendor" / "bin"]
        places += [*self.brought, self.tools / "bin", Path(sys.executable).parent]
        for place in places:
            if os.access(place / name, os.X_OK) and (place / name).is_file():
                return str(place / name)
        # detect-secrets-hook comes with detect-secrets.
        wanted = PINS.get(name) or PINS.get(name.removesuffix("-hook"))
        if wanted:
            self._bring(name, wanted)
            return str(self.tools / "bin" / name)
        found = shutil.which(name)
        if found:
            return found
        remedy = FROM_THE_SYSTEM.get(name, f"add {name} to what the project installs for development")
        raise PlatformError(f"{name} is not installed", hint=remedy)

    def bring_with_npm(self, name: str, package: str) -> str:
        """Path of a program that comes from npm's registry: the project's own, else this release of the package."""
        theirs = self.base / "node_modules" / ".bin" / name
        if os.access(theirs, os.X_OK):
            return str(theirs)
        place = self.tools / re.sub(r"\W+", "-", package).strip("-")
        program = place / "node_modules" / ".bin" / name
        if not program.exists():
            quiet = ["--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--loglevel", "error"]
            self.must([self.find("npm"), "install", *quiet, "--prefix", str(place), package],
                      f"{package} could not be installed")  # fmt: skip
        if program.parent not in self.brought:
            self.brought.append(program.parent)
        return str(program)

    def _bring(self, name: str, wanted: str) -> None:
        """Install a tool of Tenfold's choice; jobs that run side by side wait for one another."""
        try:
            self.tools.mkdir(parents=True, exist_ok=True)
            with (self.tools / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not (self.tools / "bin" / name).exists():
                    self.install(self.tools, [wanted])
        except OSError as error:
            raise PlatformError(f"{self.tools} cannot be used: {error.strerror}", hint=f"ls -ld {self.tools}") from None

    def environment(self) -> dict[str, str]:
        """Of the commands: the project's programs come first."""
        places = [self.python / "bin", self.base / "node_modules" / ".bin", self.base / "vendor" / "bin", *self.brought]
        return {**os.environ, "PATH": ":".join([*map(str, places), os.environ.get("PATH", os.defpath)]),
                "VIRTUAL_ENV": str(self.python), "UV_PROJECT_ENVIRONMENT": str(self.python)}  # fmt: skip

    def make_environment(self, place: Path) -> None:
        """A virtual environment, where there is none."""
        if (place / "bin" / "python").exists():
            return
        bare = [] if importlib.util.find_spec("pip") is None else ["--without-pip"]
        self.must([sys.executable, "-m", "venv", *bare, str(place)], "a virtual environment could not be made")

    def install(self, place: Path, what: Sequence[str]) -> None:
        """Install packages, or `-r FILE`s, into a virtual environment. Raises PlatformError with pip's last lines."""
        self.make_environment(place)
        quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
        # pip of Tenfold's own Python where it has one: making another for each environment takes seconds.
        outside = importlib.util.find_spec("pip") is not None
        pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python")]
        command = pip if outside else [str(place / "bin" / "python"), "-m", "pip"]
        self.must([*command, "install", *quiet, *what], f"{' '.join(what)} could not be installed")

    def must(self, command: Sequence[str], otherwise: str) -> None:
        """Run a command of the preparation; what it prints is shown only where it fails."""
        self.run.say(f"$ {' '.join(command)}")
        try:
            done = subprocess.run(
                command, cwd=self.base, env=self.environment(), capture_output=True, text=True, timeout=INSTALL_S,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PlatformError(f"{otherwise}: {error}", hint="look at the command above") from None
        if done.returncode:
            last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
            raise PlatformError(f"{otherwise}:\n{last}", hint="the network, the name and the release of what is named")

    def show(self, command: Sequence[str], extra: dict[str, str], timeout_s: float) -> int:
        """Run a command of a job and let its output through; → its exit code, 124 where it took too long.

        Raises PlatformError where it cannot be started. With --json or --quiet the output goes to stderr.
        """
        self.run.say(f"$ {' '.join(command)}")
        sys.stdout.flush()
        aside = sys.stderr if self.run.json or self.run.quiet else None
        try:
            return subprocess.run(
                command, cwd=self.base, env=self.environment() | extra, timeout=timeout_s, stdin=subprocess.DEVNULL,
                stdout=aside,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            click.echo(f"{command[0]} took more than {timeout_s:.0f} s and was ended", err=True)
            return 124
        except OSError as error:
            raise PlatformError(f"{command[0]} cannot be started: {error.strerror}", hint="install it") from None
