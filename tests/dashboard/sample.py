"""A platform as the agent may find it, made up but plausible, the same for the same moment. Pure."""

from __future__ import annotations

import math

from tenfold.dashboard.view import (
    Agent,
    Alerts,
    Backend,
    Collector,
    History,
    Host,
    Inputs,
    Route,
    Service,
    Shard,
    Traffic,
)

NOW_S = 1_785_000_000.0
MIB = 2**20
ROUTES = (
    ("GET", "/history", 41.0, 0.021),
    ("POST", "/api/transfer", 12.5, 0.048),
    ("GET", "/", 88.0, 0.006),
    ("GET", "/posts/{slug}", 35.0, 0.009),
    ("POST", "/login", 3.1, 0.142),
    ("GET", "/api/accounts/{account_id}/entries", 22.0, 0.017),
    ("POST", "/deposit", 6.4, 0.033),
    ("POST", "/withdraw", 4.2, 0.036),
    ("GET", "/profile", 9.0, 0.008),
    ("PUT", "/api/profile", 1.2, 0.019),
    ("POST", "/posts/{slug}/comments", 0.8, 0.027),
    ("GET", "/pages/{slug}", 14.0, 0.005),
    ("GET", "/static/{path}", 51.0, 0.001),
    ("GET", "/search", 2.0, 0.081),
    ("GET", "__unmatched__", 0.3, 0.002),
)


def wave(t: float, period_s: float, low: float, high: float) -> float:
    """Something that goes up and down, never the same twice at once."""
    noise = 0.13 * math.sin(t * 1.7) + 0.2 * math.sin(t * 0.31) + 0.3 * math.sin(t * 0.043) + 0.1 * math.sin(t * t)
    return low + (high - low) * (math.sin(t / period_s * math.tau) + noise + 1.73) / 3.46


def traffic(rate: float, error_rate: float, typical_s: float, window_s: float = 60) -> Traffic:
    """Traffic of that rate whose times are spread as times are: P99 many times P50."""
    requests = round(rate * window_s)
    return Traffic(
        window_s=window_s,
        requests=requests,
        errors=round(requests * error_rate),
        p50_s=typical_s,
        p95_s=typical_s * 3.2,
        p99_s=typical_s * 7.5,
        min_s=typical_s / 9,
        max_s=typical_s * 21,
        sum_s=requests * typical_s * 1.4,
    )


def history(now_s: float, seconds: int = 900) -> History:
    """One point a second until now, with a gap of twelve seconds in the middle."""
    t = [now_s - seconds + 1 + n for n in range(seconds)]
    gap = range(seconds // 2, seconds // 2 + 12)

    def line(period_s: float, low: float, high: float) -> list[float | None]:
        return [None if n in gap else wave(at, period_s, low, high) for n, at in enumerate(t)]

    p50 = line(310, 0.006, 0.011)
    return History(
        t=t,
        rate=line(420, 190, 330),
        error_rate=[None if v is None else max(0.0, v) for v in line(170, -0.006, 0.009)],
        p50_s=p50,
        p95_s=[None if v is None else v * 3 + wave(at, 130, 0, 0.012) for v, at in zip(p50, t, strict=True)],
        p99_s=[None if v is None else v * 6 + wave(at, 90, 0, 0.05) for v, at in zip(p50, t, strict=True)],
        cpu=line(380, 0.22, 0.47),
        memory_bytes=[wave(at, 800, 1_480, 1_530) * MIB for at in t],
    )


def backends(now_s: float) -> list[Backend]:
    """Three backends, weights 3/3/2, all well."""
    return [
        Backend(
            name=f"backend_{n}",
            address=f"127.0.0.1:{8101 + n}",
            weight=weight,
            state="up",
            traffic=traffic(wave(now_s, 420, 25, 42) * weight, 0.003, 0.0085),
            sessions=round(wave(now_s + 7 * n, 200, 30, 60) * weight),
            cpu=wave(now_s + 50 * n, 90, 0.1, 0.35),
            memory_bytes=round(wave(now_s + 90 * n, 700, 92, 99) * MIB),
            since_s=now_s - 86_400,
        )
        for n, weight in enumerate((3, 3, 2))
    ]


def alerts(now_s: float) -> Alerts:
    """One grave, one taken on, one that waits, one explained by the first; and a silence."""

    def item(
        rule: str, target: str, severity: str, state: str, summary: str,
        figures: tuple[float | None, float | None, str], **more: object,
    ) -> dict[str, object]:  # fmt: skip
        value, limit, unit = figures
        plain = dict.fromkeys(("acked_by", "ack_note", "silenced_until_s", "inhibited_by"))
        return {
            "id": f"{rule}:{target}", "rule": rule, "severity": severity, "state": state, "target": target,
            "summary": summary, "value": value, "limit": limit, "unit": unit, "since_s": now_s - 754.2, **plain,
            "runbook": f"docs/runbooks/{rule}.md", **more,
        }  # fmt: skip

    slow = "one statement in twenty on shard_1 takes longer than 2.41 s"
    return Alerts(
        counts={"critical": 1, "warning": 2, "info": 0},
        items=[
            item("shard_down", "shard_1", "critical", "firing", "shard_1 is down (no such file)",
                 (None, None, "state")),
            item("response_time", "platform", "warning", "recovering", "one request in twenty takes longer than 1.71 s",
                 (1.71, 2.0, "seconds"), acked_by="ann@web-1", ack_note="a report runs until noon"),
            item("disk", "var", "warning", "firing", "the disk of var is 81.3 % full", (0.813, 0.8, "ratio"),
                 silenced_until_s=now_s + 5400.0),
            item("cpu", "host", "warning", "pending", "77.0 % of the CPU is in use", (0.77, 0.7, "ratio")),
            item("slow_query", "shard_1", "warning", "firing", slow, (2.41, 1.0, "seconds"),
                 inhibited_by="shard_down:shard_1"),
        ],
        silences=[
            {"id": "s3", "matches": {"rule": "disk", "target": "var"}, "until_s": now_s + 5400.0, "who": "bob@web-1",
             "comment": "a larger disk comes at four"},
        ],
    )  # fmt: skip


def sample(now_s: float = NOW_S) -> Inputs:
    """A platform that is well."""
    return Inputs(
        platform="ledger",
        environment="production",
        now_s=now_s,
        totals=traffic(wave(now_s, 420, 190, 330), 0.004, 0.0083),
        history=history(now_s),
        backends=backends(now_s),
        routes=[Route(m, r, traffic(rate * wave(now_s, 420, 0.7, 1.2), 0.004, typ)) for m, r, rate, typ in ROUTES],
        shards=[
            Shard(f"shard_{n}", "up", 0.0004 * (n + 1), (812 + 91 * n) * MIB, traffic(210 + 20 * n, 0.0, 0.0011))
            for n in range(3)
        ],
        services=[Service("nginx", "up", 0.0009, essential=True), Service("redis", "up", 0.0003)],
        host=Host(
            cpu=wave(now_s, 380, 0.22, 0.47),
            cpu_count=2,
            memory_used_bytes=round(wave(now_s, 800, 1_480, 1_530)) * MIB,
            memory_limit_bytes=4096 * MIB,
            disk_used_bytes=31_400 * MIB,
            disk_total_bytes=81_920 * MIB,
            load1=0.83,
        ),
        agent=Agent(
            since_s=now_s - 93_784,
            cpu=0.031,
            memory_bytes=74 * MIB,
            dropped=0,
            broken_lines=0,
            store_bytes=183 * MIB,
            collectors=[
                Collector("nginx_log", True, 0.4, 1.9),
                Collector("host", True, 0.7, 3.2),
                Collector("probes", True, 1.2, 6.8),
            ],
        ),
        alerts=alerts(now_s),
    )
