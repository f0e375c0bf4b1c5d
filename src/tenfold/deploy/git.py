"""Git, asked without giving it anything that it could take for an option. Edge."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from tenfold.errors import DeployError

GIT_S = 120.0
FETCH_S = 600.0
# What a hook or an outer git has set would lead to another repository.
_LEAVE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR")


class Git:
    """Git in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def run(
        self, *arguments: str, to: IO[bytes] | None = None, well: Sequence[int] = (0,), within_s: float = GIT_S
    ) -> tuple[int, str, str]:
        """(exit code, output, errors). Raises DeployError where git is missing, hangs or ends otherwise."""
        environment = {name: value for name, value in os.environ.items() if name not in _LEAVE} | {
            "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0",
            "GIT_ALLOW_PROTOCOL": "file:https:ssh",
        }  # fmt: skip
        try:
            done = subprocess.run(
                ["git", "-C", str(self.directory), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=to or subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                timeout=within_s,
            )
        except FileNotFoundError as error:
            if error.filename == "git":
                raise DeployError("there is no git on this machine", hint="install it: apt install git") from None
            raise
        except subprocess.TimeoutExpired:
            raise DeployError(
                f"`git {arguments[0]}` did not end within {within_s:g} s", hint="see what it waits for", retryable=True
            ) from None
        errors = done.stderr.decode("utf-8", "backslashreplace").strip()
        if done.returncode not in well:
            raise self._failed(arguments, errors or f"exit code {done.returncode}")
        return done.returncode, (done.stdout or b"").decode("utf-8", "surrogateescape"), errors

    def _failed(self, arguments: Sequence[str], errors: str) -> DeployError:
        where = shlex.quote(str(self.directory))
        if "dubious ownership" in errors:
            return DeployError(
                f"git does not trust {self.directory}: it belongs to another account",
                hint=f"if you do: git config --global --add safe.directory {where}",
            )
        if "not a git repository" in errors:
            return DeployError(
                f"{self.directory} is in no git repository: a release is made of a commit",
                hint=f"cd {where} && git init && git add -A && git commit, or write deploy.repository",
            )
        if "cannot change to" in errors:
            return DeployError(f"{self.directory} is not there", hint="write another path into deploy.repository")
        last = errors.splitlines()[-1].removeprefix("fatal: ")
        return DeployError(f"git {arguments[0]}: {last}", hint=f"run it by hand in {where}")
