"""The page's own files under one address that changes with their content, so that browsers may keep them. Edge."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parent / "page"
TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, as it is and gzipped."""

    content_type: str
    plain: bytes
    gzipped: bytes


class Assets:
    """Scripts and styles of the page, read once.

    One hash stands for all: the modules import each other by relative names, so a change of one must change the
    address of those that import it.
    """

    def __init__(self, folder: Path = PAGE) -> None:
        paths = sorted(path for path in folder.rglob("*") if path.suffix in TYPES)
        self._assets = {path.relative_to(folder).as_posix(): _read(path) for path in paths}
        sums = hashlib.sha256()
        for name, asset in self._assets.items():
            sums.update(name.encode() + b"\0" + hashlib.sha256(asset.plain).digest())
        self.version = sums.hexdigest()[:16]

    def address(self, name: str) -> str:
        """Where the page finds an asset; KeyError for one that is not there."""
        self._assets[name]
        return f"/assets/{self.version}/{name}"

    def get(self, version: str, name: str) -> Asset | None:
        """The asset at an address; None when there is none, or the page is of another version."""
        return self._assets.get(name) if version == self.version else None


def _read(path: Path) -> Asset:
    plain = path.read_bytes()
    return Asset(TYPES[path.suffix], plain, gzip.compress(plain, 9, mtime=0))
