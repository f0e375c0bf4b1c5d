"""What each writer intended and was told, line by line, on disk before anything is sent. Edge."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OK, NOT, DOUBT = "ok", "not", "doubt"


class Log:
    """An append-only file of one writer or reader."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def line(self, **words: Any) -> None:
        """Write one line, with the time."""
        words["at"] = round(time.monotonic(), 6)
        os.write(self._file, json.dumps(words, separators=(",", ":")).encode() + b"\n")


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """All lines; the last may have been cut off with its process."""
    for line in path.read_bytes().split(b"\n") if path.exists() else ():
        if line.endswith(b"}"):
            yield json.loads(line)


def wrongs(root: Path) -> list[str]:
    """What writers and readers found to be wrong."""
    return [
        f"{path.stem}: {line['wrong']} (at {line['at']:.3f})"
        for path in sorted(root.glob("*.log"))
        for line in lines(path)
        if "wrong" in line
    ]


def counts(root: Path) -> dict[str, int]:
    """How many writes ended how, and how much was read."""
    found: dict[str, int] = {}
    for path in sorted(root.glob("*.log")):
        for line in lines(path):
            for name in ("end", "done"):
                if name in line:
                    what = str(line[name]) if name == "end" else path.stem.partition("_")[0] + "s did"
                    found[what] = found.get(what, 0) + (1 if name == "end" else int(line[name]))
    return found
