"""What systemd says of a unit, in the words of a supervisor; and what its refusals mean. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

UP = "up"
MISSING = "without a unit"
_STATES = {"active": UP, "reloading": UP, "activating": "starting", "deactivating": "stopping", "failed": "failed"}
_PROGRAM = re.compile(r"\{ path=(.+?) ; argv\[\]=")
_NO_RIGHT = re.compile(
    r"^sudo: |is not allowed to execute|interactive authentication required|access denied|permission denied",
    re.I | re.M,
)


@dataclass(frozen=True, slots=True)
class Unit:
    """How a unit stands.

    state     "up" (it runs; whether it answers well is not systemd's to know), "starting", "backing off", "stopping",
              "failed", "stopped", or MISSING
    restarts  how often systemd has started it again by itself; a restart by hand need not set it back
    program   path of what it starts; None: not said
    """

    state: str
    pid: int | None = None
    restarts: int = 0
    program: str | None = None

    @property
    def is_kept(self) -> bool:
        """Whether somebody has started it and nobody has stopped it: it runs, or systemd starts it again."""
        return self.state not in (MISSING, "stopped", "failed")

    def has_ended(self, first: int | None) -> bool:
        """Whether what somebody has just started did not stay. first: the pid that was seen first since; None: none.

        Another process than that is one that systemd has started after it.
        """
        return self.state not in (UP, "starting") or (first is not None and self.pid != first)


def parsed(text: str) -> Unit:
    """A unit from what `systemctl show` prints: NAME=value lines in any order; what is missing is taken as not said."""
    told = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if told.get("LoadState") != "loaded":
        return Unit(MISSING)
    # It has ended by itself, and waits for RestartSec.
    waiting = told.get("SubState", "").startswith("auto-restart")
    state = "backing off" if waiting else _STATES.get(told.get("ActiveState", ""), "stopped")
    program = _PROGRAM.search(told.get("ExecStart", ""))
    return Unit(state, _count(told.get("MainPID")) or None, _count(told.get("NRestarts")), program and program.group(1))


def _count(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def is_no_right(said: str) -> bool:
    """Whether sudo or systemctl refused a restart to the account, or sudo is not there; else the unit itself failed."""
    return bool(_NO_RIGHT.search(said))


def sudoers(user: str, units: Sequence[str]) -> str:
    """The line that lets an account restart these units, and nothing else."""
    return f"{user} ALL=(root) NOPASSWD: " + ", ".join(f"/usr/bin/systemctl restart {unit}" for unit in units)
