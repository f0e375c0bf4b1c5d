"""What can be wrong with [monitor] beyond its types: limits in the wrong order, shares above 1, certificates. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tenfold.topology import toml
from tenfold.topology.addresses import HOST_NAME, LONGEST_NAME
from tenfold.topology.mistakes import Mistake, Path, shown, table, texts
from tenfold.topology.operations import Monitor, Threshold

SHARES = ("error_ratio", "memory_ratio", "cpu_ratio", "disk_ratio")
THRESHOLDS = ("response_time_s", *SHARES, "slow_query_s")
LONGEST_DAYS = 3650
_SERVER = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^:/\s]+)):(?P<port>[0-9]+)")


def server_of(certificate: str) -> tuple[str, int] | None:
    """(host, port) of "db.example:443" or "[::1]:443"; None for a file."""
    found = _SERVER.fullmatch(certificate)
    return (found["six"] or found["host"], int(found["port"])) if found else None


def check(raw: dict[str, Any]) -> Iterator[Mistake]:
    """What is wrong with the section."""
    monitor = table(raw, "monitor")
    for name in THRESHOLDS:
        yield from _threshold(name, table(monitor, name))
    yield from _days(monitor.get("certificate_days"))
    yield from _certificates(monitor.get("certificates"))


def _threshold(name: str, given: Mapping[str, Any]) -> Iterator[Mistake]:
    shipped: Threshold = Monitor.model_fields[name].default
    limits = {level: given.get(level, getattr(shipped, level)) for level in ("warning", "critical")}
    known = {level: limit for level, limit in limits.items() if _is_number(limit)}
    if name in SHARES:
        for level, limit in known.items():
            if limit > 1:
                meant = f"{limit / 100:g}" if limit <= 100 else "0.9"
                yield Mistake(
                    ("monitor", name, level), f"is {shown(limit)}, more than all there is", f"write a share: {meant}"
                )
                return
    if len(known) == 2 and known["warning"] > known["critical"]:
        level = "warning" if "warning" in given else "critical"
        other = "critical" if level == "warning" else "warning"
        said = {each: shown(limit) + ("" if each in given else " as shipped") for each, limit in known.items()}
        yield Mistake(
            ("monitor", name, level),
            f"the warning, {said['warning']}, would come after critical, {said['critical']}",
            "write the lower limit as warning" if other in given else f"write {other} too",
        )


def _days(days: object) -> Iterator[Mistake]:
    path: Path = ("monitor", "certificate_days")
    if not isinstance(days, list) or len(days) != 2 or not all(type(day) is int for day in days):
        return  # the model says so
    warning, critical = days
    for position, day in enumerate(days):
        if not 0 <= day <= LONGEST_DAYS:
            remedy = f"write a whole number from 0 to {LONGEST_DAYS}"
            yield Mistake((*path, position), f"is {shown(day)}", remedy)
            return
    if warning < critical:
        yield Mistake(
            path, f"the warning, {warning} days before, would come after critical, {critical} days before",
            f"write [{critical}, {warning}]",
        )  # fmt: skip


def _certificates(given: object) -> Iterator[Mistake]:
    seen: set[str] = set()
    for position, name in texts(given):
        path: Path = ("monitor", "certificates", position)
        if name in seen:
            yield Mistake(path, f"{shown(name)} is there already", "leave it away")
        elif (mistake := _certificate(path, name)) is not None:
            yield mistake
        seen.add(name)


def _certificate(path: Path, name: str) -> Mistake | None:
    if "://" in name:
        host = re.sub(r"(?s)^.*://(?:.*@)?", "", name).partition("/")[0] or "db.example"
        meant = host if server_of(host) else f"{host}:443"
        meant = meant if HOST_NAME.fullmatch(meant.rpartition(":")[0]) else "db.example:443"
        return Mistake(path, f"{shown(name)} is an address of a page", f"write host and port: {toml.text(meant)}")
    if not name.strip() or "\0" in name or len(name) > 1000:
        return Mistake(path, f"{shown(name)} is no file", 'write the path of a PEM file, or "host:port"')
    server = server_of(name)
    if server is None:
        return None
    host, port = server
    if not 0 < port <= 65535:
        return Mistake(path, f"{shown(name)} has a port that is no number from 1 to 65535", "write host:443")
    if ":" not in host and not (HOST_NAME.fullmatch(host) and len(host) <= LONGEST_NAME and "*" not in host):
        return Mistake(path, f"{shown(name)} does not name a host", 'write a name or an address, as "db.example:443"')
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
