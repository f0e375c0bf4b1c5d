"""What became of the statements of a run, by shape. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.sharding.oracle.shapes import BY_NAME


@dataclass
class Tally:
    """By shape: how many statements there were, how many were refused, how many failed on both sides.

    why         the refusals, by (shape, sentence)
    mismatches  what was answered wrongly, ready to be read and replayed
    """

    asked: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    why: Counter[tuple[str, str]] = field(default_factory=Counter)
    mismatches: list[str] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=Counter)

    def refused_share(self) -> float:
        """Of all statements."""
        return sum(self.refused.values()) / max(1, sum(self.asked.values()))

    def core_refused(self) -> dict[str, int]:
        """Shapes of the core that were refused, and how often."""
        return {name: count for name, count in self.refused.items() if BY_NAME[name].part and count}

    def table(self, *, whole: bool = True) -> str:
        """A line for each shape, the refused ones first. Not `whole`: one line for all that were never refused."""
        order = sorted(self.asked, key=lambda name: (-self.refused[name] / self.asked[name], name))
        shown = order if whole else [name for name in order if self.refused[name]]
        lines = [f"{'shape':46} {'part':22} {'asked':>6} {'refused':>8} {'failed on both':>15}"]
        for name in shown:
            asked, share = self.asked[name], self.refused[name] / self.asked[name]
            part = BY_NAME[name].part or "-"
            lines.append(f"{name:46} {part:22} {asked:6} {share:8.0%} {self.failed[name]:15}")
        rest = [self.asked[name] for name in order if name not in shown]
        if rest:
            lines.append(f"{f'{len(rest)} others':69} {min(rest):2} to {max(rest):<4}     0%")
        asked = sum(self.asked.values())
        lines.append(
            f"{asked} statements of {len(order)} shapes, {self.refused_share():.1%} refused, "
            f"{sum(self.failed.values())} failed on both sides, {sum(self.wrong.values())} answered wrongly"
        )
        lines += [f"refused {count:4} × {shape}: {said[:160]}" for (shape, said), count in self.why.most_common(60)]
        return "\n".join(lines)
