"""How every benchmark speaks: the machine, medians, ratios. Edge."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil


def machine() -> str:
    """One line that names where the figures were made."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{platform.system()} {platform.release()}, {model} × {psutil.cpu_count()}, {memory:.0f} GiB, "
        f"Python {platform.python_version()}"
    )


def heading(question: str) -> None:
    print(f"\n## {question}\n{machine()}\n")


def alternate(rounds: int, sides: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Run the sides in turn, A B A B …, so that a slow spell of the machine meets all; → figures by side."""
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side()  # warm-up, not counted
    for _ in range(rounds):
        for name, side in sides.items():
            figures[name].append(side())
    return figures


def per_call_us(call: Callable[[int], object], count: int) -> float:
    """Microseconds for one of `count` calls in a row."""
    started = time.perf_counter()
    for number in range(count):
        call(number)
    return (time.perf_counter() - started) / count * 1e6


def spread(values: Sequence[float], unit: str, digits: int = 1) -> str:
    """median (min–max) of several rounds."""
    middle = statistics.median(values)
    return f"{middle:.{digits}f} {unit} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def percentile(values: Sequence[float], share: float) -> float:
    """The exact quantile of what was measured, nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
