"""How many history pages a second, and how much of a page is Tenfold's routing? Edge.

The example platform as it ships, its limits on: nginx, three backends, three SQLite shards, 10,000 users. Clients
are 256 addresses of 127.0.0.0/8, each with a kept connection, in this process, on the same cores. Then the SQL of
one page is replayed in one process, through Tenfold and by bare sqlite3 that knows the shard of each row.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx

import tenfold
from benchmarks.report import heading, percentile, spread

PORT, USERS, CONNECTIONS, WORKERS = 18_080, 10_000, 256, 16
ROUNDS, ROUND_S, REPLAYS = 5, 4.0, 300
PASSWORD = "correct horse battery staple"


def main() -> None:
    heading("How many history pages a second, and how much of one is routing?")
    with tempfile.TemporaryDirectory() as directory:
        environment = os.environ | {"LEDGER_SEED_USERS": str(USERS)}
        up = subprocess.Popen(
            [sys.executable, "-m", "tenfold.cli.main", "demo", directory, "--port", str(PORT), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        try:
            assert up.stdout is not None
            ready = b""
            while b'"backends"' not in ready:
                line = up.stdout.readline()
                assert line, "the platform did not start"
                ready += line
            asyncio.run(measure(Path(directory)))
        finally:
            up.send_signal(signal.SIGTERM)
            up.wait(20)


async def measure(root: Path) -> None:
    tokens = await log_in(16)
    rates, latencies = [], []
    for round_ in range(ROUNDS + 1):
        taken = await load(tokens)
        if round_:  # the first is the warm-up
            rates.append(len(taken) / ROUND_S)
            latencies.append([seconds * 1000 for seconds in taken])
    print(f"requests/s through the balancer      {spread(rates, '/s', 0)}")
    for name, share in (("P50", 0.5), ("P99", 0.99)):
        print(f"{name}, {WORKERS} at a time               {spread([percentile(x, share) for x in latencies], 'ms')}")
    alone = [seconds * 1e6 for seconds in await load(tokens[:1], workers=1)]
    page_us = statistics.median(alone)
    print(f"one at a time, median                {page_us:.0f} µs for a page through the balancer")
    await replay(root, tokens[0], page_us)


async def log_in(count: int) -> list[str]:
    """Sessions of the first users; each log-in comes from an address of its own."""
    tokens = []
    for number in range(1, count + 1):
        transport = httpx.AsyncHTTPTransport(local_address=f"127.200.{number}.1", verify=False)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://127.0.0.1:{PORT}") as client:
            answer = await client.post(
                "/api/login", json={"email": f"user{number:05d}@ledger.example", "password": PASSWORD}, timeout=30
            )
            tokens.append(answer.json()["token"])
    return tokens


async def load(tokens: list[str], workers: int = WORKERS) -> list[float]:
    """Ask for history pages for ROUND_S; → seconds of each. A page that is not 200 ends the benchmark."""
    taken: list[float] = []
    ends = time.perf_counter() + ROUND_S

    async def worker(number: int) -> None:
        mine = [f"127.{100 + n // 250}.{n % 250 + 1}.1" for n in range(number, CONNECTIONS, workers)]
        wires = [await asyncio.open_connection("127.0.0.1", PORT, local_addr=(address, 0)) for address in mine]
        token = tokens[number % len(tokens)]
        request = f"GET /history HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: ledger_session={token}\r\n\r\n".encode()
        at = 0
        while time.perf_counter() < ends:
            reader, writer = wires[at % len(wires)]
            at += 1
            started = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = next(
                int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
            )
            await reader.readexactly(length)
            taken.append(time.perf_counter() - started)
        for _, writer in wires:
            writer.close()

    await asyncio.gather(*(worker(number) for number in range(workers)))
    return taken


def fetch(shard: sqlite3.Connection, sql: str, params: Any) -> list[Any]:
    return shard.execute(sql, params).fetchall()


async def replay(root: Path, token: str, page_us: float) -> None:
    """The SQL of one page, as the app sends it, through Tenfold and past it."""
    os.environ["TENFOLD_FILE"] = str(root / "tenfold.toml")
    from tenfold.demo.ledger.app import build

    app = build()

    asked: list[tuple[str, tuple[object, ...]]] = []
    plain = tenfold.AsyncDatabase.execute

    async def noted(self: tenfold.AsyncDatabase, sql: str, params: Any = ()) -> tenfold.Result:
        asked.append((sql, tuple(params)))
        return await plain(self, sql, params)

    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ledger") as client,
    ):
        await client.get("/history", headers={"Cookie": f"ledger_session={token}"})
        tenfold.AsyncDatabase.execute = noted  # type: ignore[method-assign]
        answer = await client.get("/history", headers={"Cookie": f"ledger_session={token}"})
        tenfold.AsyncDatabase.execute = plain  # type: ignore[method-assign]
        assert answer.status_code == 200
    user = int(token.partition(".")[0])
    with ExitStack() as stack:
        shards = {
            name: stack.enter_context(closing(sqlite3.connect(root / "var" / f"{name}.db", check_same_thread=False)))
            for name in ("shard_0", "shard_1", "shard_2")
        }
        bucket = int(hashlib.md5(str(user).encode()).hexdigest()[:3], 16)
        home = shards["shard_0"].execute("SELECT shard FROM tf_bucket WHERE bucket = ?", (bucket,)).fetchone()[0]
        bare, threaded, routed = [], [], []
        async with await tenfold.connect_async(root / "tenfold.toml") as db:
            for _ in range(REPLAYS):
                started = time.perf_counter()
                for sql, params in asked:
                    shards[home if user in params else "shard_2"].execute(sql, params).fetchall()
                on_a_thread = time.perf_counter()
                for sql, params in asked:
                    shard = shards[home if user in params else "shard_2"]
                    await asyncio.to_thread(fetch, shard, sql, params)
                between = time.perf_counter()
                for sql, params in asked:
                    await db.execute(sql, params)
                bare.append((on_a_thread - started) * 1e6)
                threaded.append((between - on_a_thread) * 1e6)
                routed.append((time.perf_counter() - between) * 1e6)
    bare_us, threaded_us, routed_us = (statistics.median(figures) for figures in (bare, threaded, routed))
    print(f"its {len(asked)} statements, bare sqlite3, blocking     {bare_us:.0f} µs")
    print(f"its {len(asked)} statements, bare sqlite3 on a thread   {threaded_us:.0f} µs")
    print(
        f"its {len(asked)} statements, tenfold (asyncio)          {routed_us:.0f} µs  × {routed_us / threaded_us:.2f}"
    )
    print(f"share of the page: Tenfold in all {(routed_us - bare_us) / page_us:.1%}, of which beyond the thread that")
    print(f"keeps SQLite off the event loop {(routed_us - threaded_us) / page_us:.1%}")


if __name__ == "__main__":
    main()
