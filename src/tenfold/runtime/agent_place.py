"""How far nginx's log has been counted: the place and the counts, kept as one, so that they cannot disagree. Edge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenfold.monitor.collect.tail import Cursor
from tenfold.runtime import agent_state
from tenfold.runtime.agent_tally import Tally


@dataclass(frozen=True, slots=True)
class Counted:
    """The place after the last line that `tally` has counted; None: no line has been."""

    cursor: Cursor | None = None
    tally: Mapping[str, Any] = field(default_factory=lambda: Tally().as_json())


def load(path: Path) -> tuple[Cursor | None, Tally]:
    """What `save` wrote; nothing counted where there is none that can be read."""
    with suppress(OSError, ValueError, RecursionError):
        data = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(data, dict):
            return Cursor.of(data.get("cursor")), Tally.of(data.get("tally"))
    return None, Tally()


def save(path: Path, counted: Counted) -> None:
    """Replace the record as one step. Raises OSError."""
    if counted.cursor is not None:
        agent_state.replace(path, json.dumps({"cursor": counted.cursor.as_json(), "tally": counted.tally}).encode())
