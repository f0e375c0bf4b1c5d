"""How much of the code a test run went through: reports of five kinds, read into one figure. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

COMMENT = re.compile(r"^\s*(//.*|/\*.*|\*.*)?$")


@dataclass(frozen=True, slots=True)
class Coverage:
    """Lines that a run went through, of those it could have; of code that was loaded at all."""

    covered: int
    lines: int

    @property
    def percent(self) -> float:
        return 100.0 * self.covered / self.lines if self.lines else 0.0

    def __str__(self) -> str:
        return f"{self.percent:.1f} % ({self.covered} of {self.lines} lines)"


def read(name: str, text: str) -> Coverage | None:
    """The figure of a report, by its name: coverage.xml or cobertura, clover.xml, lcov.info, coverage.py's JSON.

    None where the text is none of them, or counts no line at all.
    """
    found: Coverage | None
    if name.endswith((".info", ".lcov")):
        found = _lcov(text)
    elif name.endswith(".json"):
        found = _coverage_py(text)
    else:
        found = _cobertura(text) or _clover(text)
    return found if found and found.lines else None


def _lcov(text: str) -> Coverage:
    def total(key: str) -> int:
        return sum(int(n) for n in re.findall(rf"^{key}:(\d+)$", text, re.MULTILINE))

    return Coverage(total("LH"), total("LF"))


def _coverage_py(text: str) -> Coverage | None:
    try:
        totals = json.loads(text)["totals"]
        return Coverage(int(totals["covered_lines"]), int(totals["num_statements"]))
    except (ValueError, KeyError, TypeError):
        return None


def _cobertura(text: str) -> Coverage | None:
    root = re.search(r"<coverage\b[^>]*>", text)
    if root is None:
        return None
    valid, covered = (re.search(rf'\b{key}="(\d+)"', root[0]) for key in ("lines-valid", "lines-covered"))
    return Coverage(int(covered[1]), int(valid[1])) if valid and covered else None


def _clover(text: str) -> Coverage | None:
    # The figures of the whole project are the ones that count files.
    for metrics in re.findall(r"<metrics\b[^>]*>", text):
        counted, covered = (re.search(rf'\b{key}="(\d+)"', metrics) for key in ("statements", "coveredstatements"))
        if re.search(r'\bfiles="', metrics) and counted and covered:
            return Coverage(int(covered[1]), int(counted[1]))
    return None


def of_v8(runs: Iterable[Mapping[str, Any]], sources: Mapping[str, str]) -> tuple[Coverage, dict[str, list[int]]]:
    """What Node's NODE_V8_COVERAGE files say of `sources` (URL → text); → the figure, and by URL the lines missed.

    A line counts if it holds more than space, a bracket or a comment; it is covered when its first character was
    run by any of the processes. Node counts characters in UTF-16 units; beyond the BMP a line may be judged by its
    neighbour.
    """
    missed: dict[str, set[int]] = {}
    for run in runs:
        for script in run.get("result", ()):
            if script["url"] in sources:
                lines = _missed(script["functions"], sources[script["url"]])
                missed[script["url"]] = missed.get(script["url"], lines) & lines
    total = sum(len(_counted(sources[url])) for url in missed)
    left = sum(len(lines) for lines in missed.values())
    return Coverage(total - left, total), {url: sorted(lines) for url, lines in sorted(missed.items())}


def _counted(text: str) -> dict[int, int]:
    """Number of each line that counts → offset of its first character."""
    found, offset = {}, 0
    for number, line in enumerate(text.split("\n"), 1):
        if not COMMENT.match(line) and line.strip("(){}[];, \t\r"):
            found[number] = offset + len(line) - len(line.lstrip())
        offset += len(line) + 1
    return found


def _missed(functions: Iterable[Mapping[str, Any]], text: str) -> set[int]:
    ranges = [one for function in functions for one in function["ranges"]]
    ranges.sort(key=lambda one: one["startOffset"] - one["endOffset"])  # the widest first: inner ones speak last
    counts = [1] * (len(text) + 1)
    for one in ranges:
        start, end = one["startOffset"], min(one["endOffset"], len(counts))
        counts[start:end] = [one["count"]] * (end - start)
    return {number for number, offset in _counted(text).items() if not counts[offset]}
