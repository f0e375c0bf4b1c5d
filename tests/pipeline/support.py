"""Small things that tests of the pipeline share: git, and a call of `tenfold ci`. Edge."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

REPOSITORIES = Path(__file__).resolve().parent.parent / "cases" / "repositories"
WORKFLOW = ".github/workflows/tenfold.yml"


def git(place: Path, *arguments: str) -> str:
    """What git prints; by an author of its own."""
    author = ["-c", "user.name=Sample", "-c", "user.email=sample@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(place), *author, *arguments], check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip()


def ci(place: Path, *arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """`tenfold ci ARGUMENTS` in a directory; no variable of the tests' own reaches it."""
    base = {k: v for k, v in os.environ.items() if not k.startswith(("TENFOLD", "GITHUB", "RESULT_"))}
    given: Mapping[str, str] = {**base, **environment}
    return subprocess.run(
        [sys.executable, "-m", "tenfold.cli.main", "ci", *arguments],
        cwd=place, input=stdin, env=given, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
