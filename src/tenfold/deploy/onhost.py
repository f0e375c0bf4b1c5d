"""What is done on a host itself: sent there as text, run by its Python, standard library only. Edge.

It must run on every Python from 3.8 on, and imports nothing of Tenfold.

Links and fence change under one lock of the file system, and only for a deployer whose fence is the largest that this
host has seen: one that was stopped, and wakes up after another has taken over, changes nothing here.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import sys
import time
from typing import Any, Callable, Dict, List, Optional

Order = Dict[str, Any]
MARKER = ".tenfold-release.json"
MOST_BODY = 1 << 20


def fenced(order: Order, act: Optional[Callable[[Order], str]] = None) -> Order:
    """Run `act` while nobody else changes links, if no larger fence was seen here; the answer says so."""
    run = os.path.join(order["path"], "var", "deploy")
    os.makedirs(run, mode=0o750, exist_ok=True)
    lock = os.open(os.path.join(run, "fence"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        seen = int(os.pread(lock, 32, 0).split(b"\n")[0] or b"0")
        if seen > order["fence"]:
            return {"fence": seen}
        if seen < order["fence"]:
            os.pwrite(lock, b"%d\n" % order["fence"], 0)
            os.fsync(lock)
        return {"fence": order["fence"], "did": act(order) if act else None}
    finally:
        os.close(lock)


def switch(order: Order) -> str:
    """Lead a backend's link to a release, or remove it; at once, and on the disk when it returns."""
    folder = os.path.join(order["path"], "backends")
    link = os.path.join(folder, order["backend"])
    if order["release"] is None:
        if os.path.islink(link):
            os.unlink(link)
    else:
        release = os.path.join(order["path"], "releases", order["release"])
        if not os.path.isfile(os.path.join(release, MARKER)):
            return "no such release"
        os.makedirs(folder, mode=0o755, exist_ok=True)
        new = link + ".new"
        if os.path.lexists(new):
            os.unlink(new)
        os.symlink(os.path.join("..", "releases", order["release"]), new)
        os.replace(new, link)
    if os.path.isdir(folder):
        held = os.open(folder, os.O_RDONLY)
        os.fsync(held)
        os.close(held)
    return "switched"


def look(order: Order) -> Order:
    """Which release each backend's link names, and which releases are complete here."""
    links = {}
    for backend in order["backends"]:
        link = os.path.join(order["path"], "backends", backend)
        links[backend] = os.path.basename(os.readlink(link)) if os.path.islink(link) else None
    releases: Dict[str, Order] = {}
    folder = os.path.join(order["path"], "releases")
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        try:
            with open(os.path.join(folder, name, MARKER), encoding="utf-8") as file:
                told = json.loads(file.read(1 << 16))
        except (OSError, ValueError):
            continue
        if isinstance(told, dict) and told.get("complete") is True:
            releases[name] = {"commit": str(told.get("commit", "")), "ref": str(told.get("ref", ""))}
    return {"links": links, "releases": releases}


def ask(order: Order) -> List[Any]:
    """Ask a path again and again → [[status or 0, seconds, what went wrong]].

    count     how often at most; passes: until so many answers in a row were good
    within_s  and for how long at most
    """
    answers: List[Any] = []
    good, until = 0, time.monotonic() + order["within_s"]
    while len(answers) < order["count"] and time.monotonic() < until:
        began = time.monotonic()
        status, wrong = 0, ""
        try:
            status = once(order, min(order["each_s"], max(0.1, until - began)))
        except (OSError, http.client.HTTPException) as error:
            wrong = str(error) or type(error).__name__
        answers.append([status, time.monotonic() - began, wrong])
        good = good + 1 if status in order["well"] else 0
        if order["passes"] and good >= order["passes"]:
            break
        if status not in order["well"]:
            time.sleep(order["pause_s"])
    return answers


def once(order: Order, timeout_s: float) -> int:
    """One request on a connection of its own → its status. Raises OSError, HTTPException."""
    line = http.client.HTTPConnection(order["host"], order["port"], timeout=timeout_s)
    try:
        line.request("GET", order["target"], headers=order["headers"])
        answer = line.getresponse()
        left = MOST_BODY
        while left > 0:
            part = answer.read(min(left, 1 << 16))
            if not part:
                break
            left -= len(part)
        return answer.status
    finally:
        line.close()


def main() -> None:
    """Do what the first argument says, and print the answer as JSON."""
    order = json.loads(sys.argv[1])
    acts: Dict[str, Callable[[], Any]] = {
        "fence": lambda: fenced(order),
        "switch": lambda: fenced(order, switch),
        "look": lambda: look(order),
        "ask": lambda: ask(order),
    }
    print(json.dumps(acts[order["do"]]()))


if __name__ == "__main__":
    main()
