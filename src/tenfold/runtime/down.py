"""`tenfold down`: ask the running `up` to stop, and end what a killed one left. Edge."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

from tenfold.errors import PlatformError
from tenfold.runtime import record
from tenfold.runtime.place import Lock, Place

WAIT_S = 15.0


@dataclass(frozen=True, slots=True)
class Stopped:
    """What was done.

    pid        of the `up` that was stopped; None when none ran
    processes  names of what ended with it, or was left by a killed one
    seconds    how long it took
    """

    platform: str
    pid: int | None
    processes: list[str]
    seconds: float


def down(place: Place, wait_s: float = WAIT_S) -> Stopped | None:
    """Stop the platform; None when nothing of it runs.

    Raises PlatformError when it belongs to another user or does not stop within `wait_s` seconds.
    """
    if not place.run.is_dir():
        return None
    begun_s, lock = time.monotonic(), Lock(place.lock)
    try:
        about = record.read(place.state)
        free = lock.take()
    except OSError as error:
        raise PlatformError(
            f"{place.run}: {error.strerror}", hint="run it as the user who started the platform"
        ) from None
    if free:  # and held by us, so that no `up` starts while we clear
        try:
            left = record.end_left_over(about) if about else []
            place.forget()
        finally:
            lock.release()
        return Stopped(about.platform, None, left, time.monotonic() - begun_s) if about and left else None
    return _ask_to_stop(about, place, begun_s, wait_s)


def _ask_to_stop(about: record.Record | None, place: Place, begun_s: float, wait_s: float) -> Stopped:
    if about is None:
        raise PlatformError("`tenfold up` is just starting", hint="try again in a second", retryable=True)
    if not about.supervisor.is_alive():
        raise PlatformError(
            f"{about.platform} runs where this command cannot see it: in a container, or on another machine",
            hint="stop it there",
        )
    try:
        os.kill(about.pid, signal.SIGTERM)
    except PermissionError:
        raise PlatformError(
            f"{about.platform} was started by another user (pid {about.pid})", hint="run tenfold down as that user"
        ) from None
    except ProcessLookupError:
        pass
    while about.supervisor.is_alive():
        if time.monotonic() - begun_s > wait_s:
            raise PlatformError(
                f"{about.platform} (pid {about.pid}) has not stopped within {wait_s:g} s",
                hint=f"kill -9 {about.pid}; then tenfold down ends what it leaves",
            )
        time.sleep(0.03)
    names = [entry.name for entry in about.processes if entry.pid]
    return Stopped(about.platform, about.pid, names, time.monotonic() - begun_s)
