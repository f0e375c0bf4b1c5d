"""What a gate makes of the answers it was given. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tenfold.topology.model import Topology

Answer = tuple[int, float, str]
"""(status or 0, seconds, what went wrong)"""


def as_proxied(domain: str, address: str) -> dict[str, str]:
    """Headers of a request that asks a backend as the balancer would: what fails only behind it fails at the gate."""
    return {
        "Host": domain,
        "X-Real-IP": address,
        "X-Forwarded-For": address,
        "X-Forwarded-Proto": "http",
    } | plain(domain)


def plain(domain: str) -> dict[str, str]:
    """Headers of a request as anybody sends it."""
    return {"Host": domain, "User-Agent": "tenfold-deploy", "Accept": "*/*", "Connection": "close"}


def domain_of(topology: Topology, address: str) -> str:
    """The name by which clients ask; the address where the platform answers to any."""
    domains = topology.platform.domains
    return domains[0].replace("*", "www") if domains else address


@dataclass(frozen=True, slots=True)
class Verdict:
    """opened: whether the gate lets the release by; said: with the values that were measured."""

    opened: bool
    said: str


def health(answers: Sequence[Answer], passes: int, path: str) -> Verdict:
    """The health gate: the last `passes` answers are good."""
    good = 0
    for status, _, _ in reversed(answers):
        if status != 200:
            break
        good += 1
    asked = f"{len(answers)} asked"
    if good >= passes:
        return Verdict(True, f"{good} good answers in a row of {path} ({asked})")
    return Verdict(False, f"{good} of {passes} good answers in a row of {path} ({asked}; the last: {last(answers)})")


def last(answers: Sequence[Answer]) -> str:
    """The last answer in words."""
    if not answers:
        return "none in time"
    status, _, wrong = answers[-1]
    return str(status) if status else wrong


def p95(seconds: Sequence[float]) -> float:
    """The 95th percentile by nearest rank (no interpolation: with 20 values the 19th). Raises ValueError for none."""
    if not seconds:
        raise ValueError("of nothing")
    ranked = sorted(seconds)
    return ranked[max(0, -(-95 * len(ranked) // 100) - 1)]


def timing(
    answers: Sequence[Answer], before_s: float | None, slower: float, floor_s: float, default_s: float
) -> Verdict:
    """The response-time gate.

    before_s   p95 of the same backend before; None where it did not answer: then `default_s` is the limit
    slower     how many times it may be
    floor_s    what is never too slow
    An answer of 400 and above, or none, keeps the gate shut whatever its time.
    """
    bad = [answer for answer in answers if not 200 <= answer[0] < 400]
    if bad or not answers:
        return Verdict(False, f"{len(bad)} of {len(answers)} requests failed (the last: {last(bad or answers)})")
    now_s = p95([seconds for _, seconds, _ in answers])
    limit_s = max(floor_s, default_s) if before_s is None else max(floor_s, slower * before_s)
    before = "nothing to compare with" if before_s is None else f"{ms(before_s)} before"
    said = f"p95 {ms(now_s)} of {len(answers)} requests, {before}; at most {ms(limit_s)}"
    return Verdict(now_s <= limit_s, said)


def ms(seconds: float) -> str:
    """ "12 ms", "1,250 ms"; below 10 ms with one decimal."""
    return f"{seconds * 1000:,.1f} ms" if seconds < 0.01 else f"{seconds * 1000:,.0f} ms"
