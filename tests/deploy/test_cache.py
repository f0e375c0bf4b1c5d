"""A deploy clears keys of the cache by pattern, in a real Redis, and waits for none that is away. Edge."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from tenfold.deploy import whole
from tenfold.deploy.fleet import Fleet
from tenfold.deploy.order import Kind, Order
from tenfold.deploy.plan import Item, planned
from tenfold.topology.load import load
from tests.deploy.releases import BASE
from tests.support import free_port, program, wait_for

PASSWORD = "tr0ub4dor-and-3"
ORDER = Order(Kind.ROLLBACK, "r1", "c1", "r1", {"backend_0": "r2"})


@dataclass
class Cache:
    """A Redis that asks for a password, and keeps nothing on disk."""

    port: int
    process: subprocess.Popen[bytes]
    client: redis.Redis

    def keys(self) -> int:
        return int(self.client.dbsize())

    def calls(self) -> dict[str, int]:
        """Command → how often it came since the last reset of the statistics."""
        told = self.client.info("commandstats")
        return {name.removeprefix("cmdstat_"): int(one["calls"]) for name, one in told.items()}


@contextmanager
def server(root: Path) -> Iterator[Cache]:
    port = free_port()
    # By its standard input, as a password in argv is everybody's.
    settings = f'port {port}\nbind 127.0.0.1\nsave ""\nappendonly no\nrequirepass {PASSWORD}\n'
    command = [program("redis-server"), "-"]
    process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stdin is not None
    process.stdin.write(settings.encode())
    process.stdin.close()
    client = redis.Redis(port=port, password=PASSWORD)

    def answers() -> bool:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False

    try:
        wait_for(answers, "redis-server answers")
        yield Cache(port, process, client)
    finally:
        client.close()
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cache]:
    with server(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture
def cache(running: Cache) -> Cache:
    """Empty, with its statistics at nothing."""
    running.client.flushall()
    running.client.config_resetstat()
    return running


def step(root: Path, port: int, patterns: Sequence[str], password: str | None = PASSWORD) -> whole.Cache:
    """The step of a platform whose file names the password by reference; None: has none."""
    more = 'password = "${REDIS_PASSWORD}"\n' if password else ""
    text = BASE + f'[cache]\nurl = "redis://127.0.0.1:{port}/0"\n{more}[deploy]\nclear_cache = {json.dumps(patterns)}\n'
    (root / "tenfold.toml").write_text(text)
    topology = load(root / "tenfold.toml", environ={"REDIS_PASSWORD": password or ""})
    (item,) = [one for phase in planned(topology, ORDER) for one in phase.items if one.name == "cache.clear"]
    return whole.Cache(Item(item.name, item.act, item.lane, item.said), Fleet(topology), ORDER)


def test_only_keys_that_match_are_cleared(cache: Cache, tmp_path: Path) -> None:
    stay = ["pages:1", "user:1:page", "session:a", "fragment"]
    cache.client.mset(dict.fromkeys(["page:1", "page:/a b", "page:", "fragment:é", *stay], "x"))
    clearing = step(tmp_path, cache.port, ["page:*", "fragment:*", "none:*"])
    asyncio.run(clearing.apply())
    assert clearing.told == "4 keys cleared"
    assert set(cache.client.scan_iter()) == {key.encode() for key in stay}
    cache.client.set("page:2", "x")
    asyncio.run(clearing.undo())
    assert cache.keys() == len(stay), "what the new release has put there goes when it is taken back"


def test_tens_of_thousands_of_keys_go_in_steps_that_hold_nobody_up(cache: Cache, tmp_path: Path) -> None:
    many, others = 30_000, 10_000
    cache.client.mset({f"page:{number}": "x" for number in range(many)})
    cache.client.mset({f"session:{number}": "x" for number in range(others)})
    cache.client.config_resetstat()
    clearing = step(tmp_path, cache.port, ["page:*"])
    asyncio.run(clearing.apply())
    assert clearing.told == f"{many} keys cleared"
    assert cache.keys() == others
    calls = cache.calls()
    assert calls["unlink"] == many / whole.BATCH
    # A step looks at `BATCH` keys, or a few more.
    assert calls["scan"] >= (many + others) / whole.BATCH / 2
    assert not {"keys", "del", "flushdb", "flushall"} & set(calls)


def test_a_redis_that_is_not_there_holds_up_nothing_and_the_step_says_what_stays(tmp_path: Path) -> None:
    clearing = step(tmp_path, free_port(), ["page:*", "fragment:*"])
    asyncio.run(clearing.apply())
    assert clearing.told.startswith("NOT cleared: page:*, fragment:* (ConnectionError of Redis; 0 keys were)")
    asyncio.run(clearing.undo())


def test_a_redis_that_hangs_is_waited_for_once(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "CACHE_S", 0.3)
    cache.client.set("page:1", "x")
    clearing = step(tmp_path, cache.port, ["page:*"])
    cache.process.send_signal(signal.SIGSTOP)
    try:
        asyncio.run(clearing.apply())
    finally:
        cache.process.send_signal(signal.SIGCONT)
    assert clearing.told.startswith("NOT cleared: page:* (TimeoutError of Redis; 0 keys were)")
    wait_for(lambda: cache.client.info("clients")["connected_clients"] == 1, "Redis has seen that we have gone")
    assert cache.client.info("stats")["total_connections_received"] <= 2, "a second try would wait as long again"


def test_of_several_patterns_those_that_were_not_cleared_are_named(cache: Cache, tmp_path: Path) -> None:
    # This account may remove pages and nothing else.
    cache.client.mset({"page:1": "x", "page:2": "x", "fragment:1": "x"})
    cache.client.acl_setuser("default", enabled=True, reset_keys=True, keys=["page:*"])
    try:
        clearing = step(tmp_path, cache.port, ["page:*", "fragment:*", "more:*"])
        asyncio.run(clearing.apply())
    finally:
        cache.client.acl_setuser("default", enabled=True, reset_keys=True, keys=["*"])
    assert "NOT cleared: fragment:*, more:* (NoPermissionError of Redis; 2 keys were)" in clearing.told
    assert cache.keys() == 1


@pytest.mark.parametrize("password", ["not-the-right-one", None])
def test_a_wrong_password_is_told_and_never_shown(cache: Cache, tmp_path: Path, password: str | None) -> None:
    cache.client.set("page:1", "x")
    clearing = step(tmp_path, cache.port, ["page:*"], password)
    asyncio.run(clearing.apply())
    assert clearing.told.startswith("NOT cleared: page:* (AuthenticationError of Redis")
    assert cache.keys() == 1
    told = clearing.told + repr(clearing._fleet.topology) + clearing.said
    assert password is None or password not in told


def test_the_password_comes_by_reference_and_is_never_shown(
    cache: Cache, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    cache.client.set("page:1", "x")
    clearing = step(tmp_path, cache.port, ["page:*"])
    asyncio.run(clearing.apply())
    assert clearing.told == "1 keys cleared"
    out, err = capfd.readouterr()
    shown = clearing.told + clearing.said + repr(clearing._fleet.topology) + out + err + caplog.text
    assert PASSWORD not in shown + (tmp_path / "tenfold.toml").read_text()
