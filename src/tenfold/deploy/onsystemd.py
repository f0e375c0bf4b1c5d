"""What is asked of systemd on a host itself: sent there as text, run by its Python, standard library only. Edge.

It must run on every Python from 3.8 on, and imports nothing of Tenfold. The units are the system manager's; where that
does not know them, or does not run, those of the account's own manager (systemctl --user).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

Order = dict[str, Any]
SHOW_S = 15.0
SHOWN = "LoadState,ActiveState,SubState,MainPID,NRestarts,ExecStart"


def run(argv: list[str], within_s: float) -> tuple[int, str, str]:
    """(exit code, output, what it complained of); 127: not there, 124: its time was over. It is not ended then: what
    systemd was told goes on anyway, and sudo's child is not ours."""
    environ = dict(os.environ, LC_ALL="C", SYSTEMD_COLORS="0", SYSTEMD_PAGER="")
    environ.setdefault("XDG_RUNTIME_DIR", "/run/user/%d" % os.geteuid())
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ
        )
    except OSError as error:
        return 127, "", "%s: %s" % (argv[0], error.strerror)
    try:
        out, err = process.communicate(timeout=within_s)
    except subprocess.TimeoutExpired:
        return 124, "", "%s did not end within %g s" % (" ".join(argv), within_s)
    return process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")


def show(order: Order) -> Order:
    """What systemd says of units → {"user", "units": {unit: its lines}, "releases": {unit: of its process}, "said"}.

    said  why no manager answers; "": one does
    """
    found: Order | None = None
    said = ""
    for user in (False, True):
        words = ["systemctl"] + (["--user"] if user else []) + ["show", "--property=" + SHOWN]
        code, out, err = run(words + ["--"] + order["units"], SHOW_S)
        if code:
            said = said or err.strip() or "systemctl ended with %d" % code
            continue
        units = dict(zip(order["units"], out.strip("\n").split("\n\n")))  # noqa: B905  Python 3.8 knows no strict
        if found is None or "LoadState=loaded" in out:
            found = {"user": user, "units": units, "said": ""}
        if "LoadState=loaded" in out:
            break
    if found is None:
        return {"user": False, "units": {}, "releases": {}, "said": said}
    found["releases"] = {unit: release(order["path"], text) for unit, text in found["units"].items()}
    return found


def release(path: str, text: str) -> str | None:
    """The release that the process of a unit runs in: by its directory, else by what its environment names."""
    pids = [line[8:] for line in text.splitlines() if line.startswith("MainPID=")]
    if not pids or not pids[0].isdigit() or pids[0] == "0":
        return None
    releases = os.path.join(os.path.realpath(path), "releases", "")
    try:
        place = os.readlink("/proc/%s/cwd" % pids[0])
        if place.startswith(releases):
            return place[len(releases) :].split("/")[0]
        with open("/proc/%s/environ" % pids[0], "rb") as file:
            for pair in file.read().split(b"\0"):
                if pair.startswith(b"TENFOLD_RELEASE="):
                    return os.fsdecode(pair[16:])
    except OSError:
        pass
    return None


def restart(order: Order) -> Order:
    """Have systemd end a unit's program and start it anew → how that ended; by: "sudo" or "systemctl"."""
    began_s = time.time()
    words = ["systemctl"] + (["--user"] if order["user"] else []) + ["restart", order["unit"]]
    if not order["user"] and os.geteuid() != 0:
        words = ["sudo", "-n", *words]
    code, _, said = run(words, order["within_s"])
    return {"code": code, "said": said.strip()[-2000:], "by": words[0], "began_s": began_s}


def rights(order: Order) -> Order:
    """The units that this account may not restart, with what sudo says."""
    if order["user"] or os.geteuid() == 0:
        return {"asked": False, "refused": [], "said": ""}
    refused, said = [], ""
    for unit in order["units"]:
        code, out, err = run(["sudo", "-n", "-l", "systemctl", "restart", unit], SHOW_S)
        if code:
            refused.append(unit)
            said = (err or out).strip()[-500:] or "sudo ended with %d" % code
    return {"asked": bool(order["units"]), "refused": refused, "said": said}


def lines(order: Order) -> list[str]:
    """What a unit has written last, and systemd about it, where this account may read the journal."""
    # Which of the two fields of the journal a unit of the account's own gets depends on its control group.
    words = ["journalctl", "--unit=" + order["unit"]] + (["--user-unit=" + order["unit"]] if order["user"] else [])
    words += ["--since=@%d" % int(order["since_s"]), "-n", "20", "-o", "cat", "-q"]
    code, out, _ = run([*words, "--no-pager"], SHOW_S)
    return [line[:500] for line in out.splitlines() if line.strip()] if not code else []


def main() -> None:
    """Do what the first argument says, and print the answer as JSON."""
    order = json.loads(sys.argv[1])
    print(json.dumps({"show": show, "restart": restart, "rights": rights, "lines": lines}[order["do"]](order)))


if __name__ == "__main__":
    main()
