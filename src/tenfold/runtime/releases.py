"""Which release a backend runs, as its link in backends/ says at this moment. Edge."""

from __future__ import annotations

import os
from pathlib import Path

from tenfold.errors import PlatformError
from tenfold.runtime.programs import Release

LINKS, RELEASES = "backends", "releases"
PYTHON = ".venv/bin/python"


def release_of(root: Path, backend: str) -> Release | None:
    """The release that `backends/<backend>` below `root` leads to; None where there is no such link.

    Raises PlatformError for a link that leads nowhere, or not to a directory.
    """
    link = root / LINKS / backend
    if not os.path.lexists(link):
        return None
    remedy = f"tenfold deploy, or by hand: ln -sfn ../{RELEASES}/ID {link}"
    try:
        directory = link.resolve(strict=True)
    except (OSError, RuntimeError):  # a link onto itself
        there = f", which leads to {os.readlink(link)}" if link.is_symlink() else ""  # noqa: PTH115  as it is written
        raise PlatformError(f"the release of {backend} is not there: {link}{there}", hint=remedy) from None
    if not directory.is_dir():
        raise PlatformError(f"the release of {backend} is no directory: {directory}", hint=remedy)
    python = directory / PYTHON
    # Not resolved: a Python in a virtual environment knows it by its link.
    return Release(directory.name, str(directory), str(python) if os.access(python, os.X_OK) else None)
