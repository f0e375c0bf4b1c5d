"""Puts notices and sends them until it is killed: `python -m tests.notify.sending OUTBOX URL CA BEGAN_S`. Edge."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tenfold.notify.grouping import Firing
from tenfold.notify.outbox import Outbox
from tenfold.notify.sender import Sender, takers
from tenfold.runtime.agent_notify import Teller
from tenfold.topology.operations import Severity
from tests.notify.samples import NOW_S, notice, webhook


def fast() -> float:
    """A clock on which the pauses between tries are milliseconds; one for all who are killed in turn: no two of their
    alerts begin at the same moment, which is part of a notice's key."""
    return NOW_S + (time.time() - float(sys.argv[4])) * 1000


def main() -> None:
    """Notices of two kinds: numbered ones, and those of an alert that begins and ends with every other number."""
    outbox, channel = Outbox(Path(sys.argv[1])), webhook(sys.argv[2], Path(sys.argv[3]), clock=fast)
    sender = Sender(outbox, channel, 1e9, clock=fast, chance=lambda: 1.0)
    teller = Teller(outbox, 0.0, 1e9)
    print("begun", flush=True)
    while True:
        number = int(outbox.recall("number") or 0) + 1
        alert = Firing("a", "g", Severity.CRITICAL, f"alert {number}", "", fast())
        teller.step(fast(), [alert] if number % 2 else [])
        outbox.put(notice(f"number/{number}", title=f"number {number}"), remember={"number": number})
        outbox.assign(takers([channel], Severity.INFO), fast())
        print(number, flush=True)
        sender.round()


if __name__ == "__main__":
    main()
