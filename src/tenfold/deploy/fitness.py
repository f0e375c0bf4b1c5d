"""Whether a host is fit for a deploy: what was measured, against what is needed. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tenfold.deploy.unit_states import MISSING

MOST_SKEW_S = 5.0
FILES = 4096
"""Descriptors that an app with its connections, or a small nginx, may need."""
INODES = 10_000
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. limit: what it must hold; remedy: what to do where it does not."""

    host: str
    what: str
    well: bool
    measured: str
    limit: str
    remedy: str = ""

    def line(self) -> str:
        """For a person."""
        return f"{self.host}: {self.what} {self.measured} (needed: {self.limit})"


@dataclass(frozen=True, slots=True)
class Needs:
    """What a deploy asks of a host.

    programs  that must be there, with what asks for them
    runs      whether the supervisor must answer
    version   of Tenfold; "": not compared
    start     the command that starts what keeps the programs there
    rights    the line for sudoers that lets the account restart them; "": it needs none
    """

    path: str
    disk_mb: int
    memory_mb: int
    release_mb: float = 0.0
    programs: Mapping[str, str] = field(default_factory=dict)
    runs: bool = True
    version: str = ""
    start: str = "tenfold up"
    rights: str = ""


def judged(host: str, seen: Mapping[str, Any], needs: Needs) -> Iterator[Finding]:
    """Everything that was measured on one host, with a verdict each.

    seen  what onfitness.py found: free_bytes, free_inodes (None: not counted there), memory_bytes, files, missing,
          writable ("" or why not), skew_s, version (None: not found), programs (None: no supervisor),
          rights ("" or why units may not be restarted; read where needs.rights asks)
    """
    disk = max(needs.disk_mb * MIB, int(3 * needs.release_mb * MIB))
    yield Finding(
        host, "free disk", seen["free_bytes"] >= disk, _mib(seen["free_bytes"]), _mib(disk),
        f"free some space below {needs.path} on {host}, or lower deploy.min_disk_mb",
    )  # fmt: skip
    if seen["free_inodes"] is not None:
        yield Finding(
            host, "free inodes", seen["free_inodes"] >= INODES, str(seen["free_inodes"]), str(INODES),
            f"remove small files on that file system of {host} (df -i)",
        )  # fmt: skip
    if seen["memory_bytes"] is not None:
        yield Finding(
            host, "free memory", seen["memory_bytes"] >= needs.memory_mb * MIB, _mib(seen["memory_bytes"]),
            _mib(needs.memory_mb * MIB), f"end what {host} can do without, or lower deploy.min_memory_mb",
        )  # fmt: skip
    yield Finding(
        host, "open files", seen["files"] < 0 or seen["files"] >= FILES,
        "unlimited" if seen["files"] < 0 else str(seen["files"]), str(FILES),
        f"raise the hard limit of the account on {host}: LimitNOFILE= of the unit, or limits.conf",
    )  # fmt: skip
    yield Finding(
        host, "directory", not seen["writable"], seen["writable"] or f"{needs.path} may be written", "may be written",
        f"on {host}, as root: mkdir -p {needs.path} && chown -R ACCOUNT {needs.path}",
    )  # fmt: skip
    yield Finding(
        host, "clock", abs(seen["skew_s"]) <= MOST_SKEW_S, f"{seen['skew_s']:+.1f} s off ours",
        f"within {MOST_SKEW_S:g} s", f"keep the time of {host} by NTP (timedatectl set-ntp true)",
    )  # fmt: skip
    missing = {name: needs.programs[name] for name in seen["missing"]}
    if needs.programs:
        told = ", ".join(f"{name} is not there ({why})" for name, why in missing.items())
        yield Finding(
            host, "programs", not missing, told or "all there", ", ".join(needs.programs),
            f"install on {host}: {' '.join(missing)}",
        )  # fmt: skip
    yield from _running(host, seen, needs)


def _running(host: str, seen: Mapping[str, Any], needs: Needs) -> Iterator[Finding]:
    if needs.version and (seen["version"] is not None or not needs.runs):
        yield Finding(
            host, "Tenfold", seen["version"] == needs.version, seen["version"] or "is not there", needs.version,
            f"on {host}: pip install tenfold=={needs.version}, then restart it there (tenfold down; tenfold up)",
        )  # fmt: skip
    if not needs.runs:
        return
    programs: Sequence[Mapping[str, Any]] | None = seen["programs"]
    if programs is None:
        yield Finding(
            host, "supervisor", False, "does not answer", "runs", f"on {host}: {needs.start}; its logs say why not"
        )
        return
    ill = [one for one in programs if one["state"] != "up"]
    told = ", ".join(f"{one['name']} is {one['state']}" for one in ill) or f"{len(programs)} programs are up"
    # A backend that is down may be what this deploy is to mend.
    well = all(one["kind"] == "backend" and one["state"] != MISSING for one in ill)
    yield Finding(
        host,
        "services",
        well,
        told,
        "balancer and agent up",
        f"see the logs on {host}; {needs.start} starts it anew"
        + ("; `tenfold units` writes units" if MISSING in {one["state"] for one in ill} else ""),
    )
    if needs.rights:
        yield Finding(
            host, "rights", not seen["rights"], seen["rights"] or "may restart the units",
            "may restart the units",
            f"on {host}, in /etc/sudoers.d/tenfold: {needs.rights}",
        )  # fmt: skip


def of_backup(age_s: float | None, limit_h: float | None) -> Iterator[Finding]:
    """Whether the last verified backup is young enough; nothing where that is not asked."""
    if limit_h is None:
        return
    measured = "there is none" if age_s is None else f"is {age_s / 3600:.1f} h old"
    yield Finding(
        "backup", "the last verified one", age_s is not None and age_s <= limit_h * 3600, measured,
        f"at most {limit_h:g} h", "tenfold backup create && tenfold backup verify",
    )  # fmt: skip


def of_certificate(where: str, days: float | None, limit: int, why: str = "") -> Finding:
    """Whether a certificate is valid for long enough. days None: it cannot be read, as `why` says."""
    measured = f"ends in {days:.0f} days" if days is not None and days >= 0 else f"ended {-(days or 0):.0f} days ago"
    return Finding(
        "certificate", where, days is not None and days >= limit, measured if days is not None else why,
        f"{limit} days", "renew it, or take it out of monitor.certificates",
    )  # fmt: skip


def _mib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / MIB:.0f} MiB"
