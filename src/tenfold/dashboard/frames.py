"""What goes over the live stream: all at first, then only what is new. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def event(name: str, data: object) -> bytes:
    """One server-sent event; JSON has no raw line ends, so one data line holds it."""
    return f"event: {name}\ndata: {as_json(data)}\n\n".encode()


def as_json(data: object) -> str:
    """Compact JSON; NaN is refused, for browsers refuse it too."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def newest(view: Mapping[str, Any], after_s: float) -> dict[str, Any]:
    """The view with only those points of its history that are later than `after_s`."""
    history = view["history"]
    start = next((n for n, t in enumerate(history["t"]) if t > after_s), len(history["t"]))
    return {**view, "history": {name: values[start:] for name, values in history.items()}}


def last_point(view: Mapping[str, Any]) -> float:
    """Unix seconds of the newest point of the history; minus infinity when there is none."""
    return max(view["history"]["t"], default=float("-inf"))
