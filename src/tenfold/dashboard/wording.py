"""Figures as a person reads them; page/figures.js says the same, and a test holds the two together. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable

UNKNOWN = "–"
NBSP = "\u00a0"  # a figure and its unit stay on one line


def fixed(value: float, digits: int) -> str:
    """`value` with so many decimals, halves away from nought as JavaScript can do them too (not to even)."""
    scale = 10**digits
    return f"{math.floor(value * scale + 0.5) / scale:.{digits}f}"


def rate(value: float) -> str:
    """A number of things a second, without the unit."""
    if value == 0:
        return "0"
    if value < 0.005:
        return "<0.01"
    if value < 0.995:
        return fixed(value, 2)
    if value < 9.95:
        return fixed(value, 1)
    return count(value)


def count(value: float) -> str:
    """A number of things: 1,234, then 12.3k, 4.5M."""
    if value < 9_999.5:
        return f"{math.floor(value + 0.5):,}"
    for limit, unit in ((999_500, "k"), (999_500_000, "M"), (math.inf, "G")):
        if value < limit:
            scaled = value / {"k": 1e3, "M": 1e6, "G": 1e9}[unit]
            return fixed(scaled, 1 if scaled < 99.95 else 0) + unit
    return UNKNOWN


def number(value: float) -> str:
    """A plain number, of two decimals at most."""
    return fixed(value, 2).rstrip("0").rstrip(".")


def ratio(value: float) -> str:
    """A share 0..1 in per cent; above 1 it goes on (150 % is a core and a half)."""
    percent = value * 100
    if percent == 0:
        return f"0{NBSP}%"
    if percent < 0.05:
        return f"<0.1{NBSP}%"
    return f"{fixed(percent, 1 if percent < 9.95 else 0)}{NBSP}%"


def seconds(value: float) -> str:
    """A time, in the unit that leaves two or three digits."""
    if value < 0.000_999_5:
        return f"{fixed(value * 1e6, 0)}{NBSP}µs"
    if value < 0.9995:
        return f"{fixed(value * 1e3, 1 if value < 0.00995 else 0)}{NBSP}ms"
    if value < 59.95:
        return f"{fixed(value, 2 if value < 9.995 else 1)}{NBSP}s"
    return duration(value)


def milliseconds(value: float) -> str:
    """The same for a figure in milliseconds."""
    return seconds(value / 1e3)


def duration(value: float) -> str:
    """How long, in its two largest units: "42 s", "3 min", "2 h 5 min", "6 d 3 h"; never negative."""
    whole = max(0, math.floor(value + 0.5))
    if whole < 60:
        return f"{whole}{NBSP}s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if minutes < 60:
        return f"{minutes}{NBSP}min"
    if hours < 24:
        return f"{hours}{NBSP}h {minutes % 60}{NBSP}min" if minutes % 60 else f"{hours}{NBSP}h"
    return f"{days}{NBSP}d {hours % 24}{NBSP}h" if hours % 24 else f"{days}{NBSP}d"


def size(value: float) -> str:
    """Bytes in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1023.5:
            return f"{fixed(value, 0 if unit == 'B' or value >= 9.95 else 1)}{NBSP}{unit}"
        value /= 1024
    return f"{fixed(value, 1)}{NBSP}TiB"


KINDS: dict[str, Callable[[float], str]] = {
    "rate": rate,
    "count": count,
    "number": number,
    "ratio": ratio,
    "seconds": seconds,
    "milliseconds": milliseconds,
    "duration": duration,
    "bytes": size,
}


def said(kind: str, value: object) -> str:
    """`value` in the words of its kind; a dash for what is not known; kind "text" is shown as it is."""
    if value is None:
        return UNKNOWN
    if kind in KINDS:
        if not isinstance(value, int | float):
            raise TypeError(f"{kind} is a number, not {type(value).__name__}")
        return KINDS[kind](value)
    return str(value)
