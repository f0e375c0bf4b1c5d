"""Keeps the state of alerts over restarts, in a thread that a slow disk may hold up alone. Edge.

It is var/agent/alerts.json, replaced as one step. What was told is not in it: the outbox remembers that itself.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tenfold.monitor.alerts.book import Book
from tenfold.notify import outboxfile
from tenfold.runtime import agent_state

VERSION = 1
AGAIN_S, HANGS_S = 2.0, 10.0
LARGEST_BYTES = 8 << 20
log = logging.getLogger(__name__)


def restore(path: Path, book: Book, now_s: float) -> bool:
    """Have the book go on from what was kept; False: it cannot, and a damaged file was set aside."""
    try:
        with path.open("rb") as file:
            data = json.loads(file.read(LARGEST_BYTES))
        if data["version"] != VERSION:
            raise ValueError(f"it is of version {data['version']!r}")
        book.restore(data["book"])
    except FileNotFoundError:
        return True
    except OSError as error:
        log.warning("%s cannot be read: %s", path, error.strerror)
        return False
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        aside = path.with_name(f"{path.name}.damaged-{int(now_s)}")
        with suppress(OSError):
            path.replace(aside)
        log.warning("%s is damaged (%s: %s) and was set aside as %s", path, type(error).__name__, error, aside.name)
        return False
    return True


def damage(path: Path) -> str | None:
    """What is said of a file that was set aside, until somebody has seen it and removes it."""
    found = sorted(path.parent.glob(f"{path.name}.damaged-*"))
    if not found:
        return None
    return (
        f"{path.name} was damaged: acknowledgements and silences until then are in {found[-1].name}; "
        f"remove that file when you have seen this"
    )


def lost(outbox: Path) -> str | None:
    """What is said of an outbox that was set aside, until somebody has seen it and removes it."""
    found = outboxfile.aside(outbox)
    if not found:
        return None
    name = found[-1].name
    return f"{outbox.name} was damaged: notices that waited are in {name}; remove that file when you have seen this"


class AlertKeeper:
    """Writes the latest state; what could not be written is tried again, or its successor is.

    path  var/agent/alerts.json
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = threading.Condition()
        self._book: Mapping[str, Any] | None = None
        self._closing = False
        self._failed: str | None = None
        self._busy_s: float | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="alerts")
        self._thread.start()

    @property
    def trouble(self) -> str | None:
        """What is wrong and what to do; None when all is well."""
        busy_s = self._busy_s
        if busy_s is not None and time.monotonic() - busy_s > HANGS_S:
            return "alerts are not kept: the disk does not answer; look at it"
        return self._failed

    def keep(self, book: Mapping[str, Any]) -> None:
        """Have it written soon. Never waits."""
        with self._changed:
            self._book = book
            self._changed.notify()

    def close(self, within_s: float) -> None:
        """Write what waits, and end; not longer than `within_s`."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(within_s)

    def _run(self) -> None:
        last = False
        while not last:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._book is not None)
                last, book, self._book = self._closing, self._book, None
            if book is not None and not self._save(book):
                with self._changed:
                    self._book = self._book or book
                    self._changed.wait_for(lambda: self._closing, AGAIN_S)

    def _save(self, book: Mapping[str, Any]) -> bool:
        self._busy_s = time.monotonic()
        try:
            agent_state.replace(self._path, json.dumps({"version": VERSION, "book": book}).encode(), lasting=True)
        except OSError as error:
            said = f"alerts are not kept: {error.strerror}; make room on the disk"
            if self._failed != said:
                log.warning("%s", said)
            self._failed = said
            return False
        finally:
            self._busy_s = None
        self._failed = None
        return True
