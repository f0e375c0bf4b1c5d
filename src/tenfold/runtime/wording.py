"""Text for people: durations, sizes, endings, and lines of programs made safe to show. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

SIGNALS = {1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL"}
SIGNALS |= {11: "SIGSEGV", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM"}
# A line of a log may hold what a stranger sent. Shown raw, it could move the cursor, rename the window or worse.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def ending(returncode: int) -> str:
    """How a process ended: "exited with code 3", "was killed by SIGKILL"; `returncode` as of subprocess."""
    if returncode < 0:
        return f"was killed by {SIGNALS.get(-returncode, f'signal {-returncode}')}"
    return f"exited with code {returncode}"


def duration(seconds: float) -> str:
    """A span as a person says it, two units at most: "0.3 s", "42 s", "3 min 5 s", "2 h 10 min", "4 d 1 h"."""
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    for unit, size, below, name in ((86400, 86400, 3600, "d"), (3600, 3600, 60, "h"), (60, 60, 1, "min")):
        if whole >= unit:
            rest = whole % size // below
            lower = {3600: "h", 60: "min", 1: "s"}[below]
            return f"{whole // size} {name}" + (f" {rest} {lower}" if rest else "")
    return f"{whole} s"


def delay(seconds: float) -> str:
    """A short planned wait, without a needless decimal: "0.5 s", "4 s"."""
    return f"{seconds:g} s"


def size(count_bytes: int) -> str:
    """Bytes in MiB, the unit in which processes are compared: "48 MB"."""
    return f"{count_bytes / 2**20:.0f} MB"


def visible(line: str) -> str:
    """The line with control characters spelt out (\\x1b), tabs kept."""
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", line)


def redacted(line: str, secrets: Iterable[str]) -> str:
    """The line with each secret replaced by ***."""
    for secret in secrets:
        line = line.replace(secret, "***")
    return line


def quoted(lines: Sequence[str], secrets: Sequence[str] = ()) -> str:
    """Lines of a program as part of a message, indented; says so when there are none."""
    shown = [visible(redacted(line, secrets)).rstrip() for line in lines]
    return "\n".join(f"  {line}" for line in shown) or "  (it wrote nothing)"
