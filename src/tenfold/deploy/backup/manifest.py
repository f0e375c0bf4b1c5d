"""What a backup says of itself: parts, rows, checksums, positions; one flipped byte of it shows. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from tenfold.errors import BackupError

FORMAT = 1
_SHARD = re.compile(r"[A-Za-z0-9_-]+")
NAME = "manifest.json"


@dataclass(frozen=True, slots=True)
class Table:
    """rows, and a keyed checksum over all of them (see dump.py); the key lies in the encrypted part."""

    rows: int
    checksum: str


@dataclass(frozen=True, slots=True)
class ShardPart:
    """One shard.

    server     what the engine calls itself; at_s: when its snapshot was opened, in seconds since 1970
    barrier    global (all writes of the server waited), tables (writes to its tables did), file, or "": none
    positions  of the binary log at the snapshot, where there is one
    prepared   branches of transactions that were prepared and not decided: they are not in the backup
    schema     what a table, view, trigger … is and its name → a keyed digest of its text; see Objects.schema
    """

    server: str
    at_s: float
    barrier: str
    tables: dict[str, Table]
    positions: dict[str, str] = field(default_factory=dict)
    prepared: int = 0
    schema: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the backup, as it lies there: encrypted."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that a backup says of itself.

    version     of the catalog; epoch: of the bucket map
    pause_s     how long writes waited
    consistent  whether all shards are of one moment
    moments     shards that are of moments of their own
    moves       moves that were under way: {"id", "phase"}
    notes       what is not in it, in sentences
    shards      name → what it holds; its file is parts[name + SQL_SUFFIX]
    """

    id: str
    platform: str
    environment: str | None
    cluster: str
    engine: str
    epoch: int
    version: int
    tenfold: str
    made_s: float
    took_s: float
    pause_s: float
    consistent: bool
    recipient: str
    shards: dict[str, ShardPart]
    parts: dict[str, Part]
    moments: list[str] = field(default_factory=list)
    moves: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: int = 0
    format: int = FORMAT

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.size for part in self.parts.values())

    @property
    def rows(self) -> int:
        """Of all tables on all shards."""
        return sum(table.rows for shard in self.shards.values() for table in shard.tables.values())

    def text(self) -> bytes:
        """As it is written; its last line is a digest over all before."""
        body = asdict(self)
        return _text(body | {"digest": _digest(body)})

    @property
    def digest(self) -> str:
        """Of all of it."""
        return _digest(asdict(self))


SQL_SUFFIX = ".sql.gz.age"
FILES_PART = "files.tar.gz.age"


def manifest_of(content: bytes, where: str) -> Manifest:
    """Read a manifest. Raises BackupError for one that is not, byte for byte, what was written."""
    try:
        raw = json.loads(content)
        digest = raw.pop("digest")
        if raw["format"] != FORMAT:
            raise BackupError(
                f"{where} has format {raw['format']}; this Tenfold knows {FORMAT}", hint="upgrade Tenfold"
            )
        whole = digest == _digest(raw) and content == _text(raw | {"digest": digest})
        raw["shards"] = {
            name: ShardPart(**one | {"tables": {table: Table(**sums) for table, sums in one["tables"].items()}})
            for name, one in raw["shards"].items()
        }
        raw["parts"] = {name: Part(**one) for name, one in raw["parts"].items()}
        found = Manifest(**raw)
        # They become names of files.
        whole = whole and all(_SHARD.fullmatch(shard) for shard in found.shards)
        whole = whole and found.parts.keys() - {FILES_PART} == {shard + SQL_SUFFIX for shard in found.shards}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole, found = False, None
    if not whole or found is None:
        raise BackupError(
            f"{where} is damaged: it is not what was written", hint="restore from another backup: `tenfold backup list`"
        )
    return found


def _text(body: dict[str, Any]) -> bytes:
    digest = {"digest": body["digest"]}
    rest = {name: value for name, value in body.items() if name != "digest"}
    # The digest last, as whoever reads the file expects it.
    return json.dumps(dict(sorted(rest.items())) | digest, indent=1, sort_keys=False).encode() + b"\n"


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
