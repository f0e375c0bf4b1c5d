"""Which packages have known holes, by records of the OSV format. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tenfold.pipeline.packages import Package, normal

# Order of what may follow a release's numbers: 1.0.dev1 < 1.0a1 < 1.0b1 < 1.0rc1 < 1.0 < 1.0.post1
SUFFIXES = {"dev": -4, "a": -3, "alpha": -3, "b": -2, "beta": -2, "c": -1, "rc": -1, "pre": -1, "post": 1, "patch": 1}


@dataclass(frozen=True, slots=True)
class Advisory:
    """A hole that a package has. fixed: the first release without it, where the record says."""

    id: str
    package: Package
    summary: str
    fixed: str | None

    def __str__(self) -> str:
        remedy = f"; fixed in {self.fixed}" if self.fixed else "; no release without it is known"
        return f"{self.package}: {self.id}: {self.summary or 'no summary'}{remedy}"


def matching(records: Iterable[Mapping[str, Any]], packages: Iterable[Package]) -> Iterator[Advisory]:
    """The advisories among `records` that hit one of `packages`; withdrawn ones hit nothing."""
    by_name: dict[tuple[str, str], list[Package]] = {}
    for package in packages:
        by_name.setdefault((package.ecosystem, _key(package.ecosystem, package.name)), []).append(package)
    for record in records:
        if record.get("withdrawn"):
            continue
        for affected in record.get("affected", ()):
            named = affected.get("package", {})
            ecosystem = str(named.get("ecosystem", "")).partition(":")[0]
            for package in by_name.get((ecosystem, _key(ecosystem, str(named.get("name", "")))), ()):
                if package.version in affected.get("versions", ()) or _in_ranges(package.version, affected):
                    yield advisory(record, package)


def advisory(record: Mapping[str, Any], package: Package) -> Advisory:
    """What a record says of a package that it hits."""
    fixed = [event["fixed"] for affected in record.get("affected", ()) for event in _events(affected)
             if "fixed" in event and order(str(event["fixed"])) > order(package.version)]  # fmt: skip
    return Advisory(
        str(record.get("id", "?")),
        package,
        str(record.get("summary", "")).partition("\n")[0][:200],
        min(map(str, fixed), key=order, default=None),
    )


def _key(ecosystem: str, name: str) -> str:
    return normal(name) if ecosystem == "PyPI" else name.lower()


def _events(affected: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for span in affected.get("ranges", ()):
        if span.get("type") in ("ECOSYSTEM", "SEMVER"):  # GIT ranges name commits
            yield from span.get("events", ())


def _in_ranges(version: str, affected: Mapping[str, Any]) -> bool:
    """OSV's own rule: the events in order of their versions, the last one at or before `version` decides."""
    here = order(version)
    events = sorted(_events(affected), key=lambda e: order(str(next(iter(e.values()), "0"))))
    inside = False
    for event in events:
        if "introduced" in event and here >= order(str(event["introduced"])):
            inside = True
        if "fixed" in event and here >= order(str(event["fixed"])):
            inside = False
        if "last_affected" in event and here > order(str(event["last_affected"])):
            inside = False
    return inside


def order(version: str) -> tuple[tuple[int, int], ...]:
    """A key that sorts releases as their ecosystems do, for numbers with an ordinary suffix.

    Exotic schemes (epochs, local versions) may sort wrongly; the advisory service compares by its own rules, and only
    `--offline-advisories` comes here.
    """
    tokens = re.findall(r"\d+|[a-z]+", version.lower().lstrip("v").partition("+")[0])
    numbers = list(itertools.takewhile(str.isdigit, tokens))
    rest = tokens[len(numbers) :]
    while numbers and not int(numbers[-1]):
        numbers.pop()  # 1.0 and 1.0.0 are one release
    parts = [(1 << 8, int(number)) for number in numbers]
    parts += [(1 << 8, int(token)) if token.isdigit() else (SUFFIXES.get(token, -1), 0) for token in rest]
    return (*parts, (0, 0))
