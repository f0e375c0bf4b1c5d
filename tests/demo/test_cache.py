"""Redis in front of the database: faster with it, right without it. Edge."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from tenfold.demo.ledger.store.cache import MARK_S, TTL_S, Cache
from tests.demo.platform import Backend, Member, Platform
from tests.support import free_port, program, wait_for


class RedisServer:
    """A Redis that keeps nothing on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis.from_url(self.url, decode_responses=True)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(
            [program("redis-server"), *options], cwd=self.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

        def answers() -> bool:
            try:
                return bool(self.client.ping())
            except redis.RedisError:
                return False

        wait_for(answers, "redis-server answers")

    def send(self, what: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(what)
        if what is signal.SIGKILL:
            self.process.wait(10)

    def keys(self, pattern: str) -> list[str]:
        return [str(key) for key in self.client.scan_iter(pattern)]

    def close(self) -> None:
        self.client.close()
        assert self.process
        self.process.kill()
        self.process.wait(10)


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Whoever stops it starts it again."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def cached(platform: Platform, redis_server: RedisServer) -> Iterator[Backend]:
    """A backend with that Redis."""
    backend = platform.start(TENFOLD_CACHE_URL=redis_server.url).wait()
    yield backend
    backend.stop()


@pytest.fixture
def one(platform: Platform, cached: Backend) -> Iterator[Member]:
    person = Member(platform, cached, 3)
    yield person
    person.http.close()


def test_what_is_read_often_comes_from_redis(one: Member, platform: Platform, redis_server: RedisServer) -> None:
    title = one.get("/posts/1")["post"]["title"]
    assert redis_server.keys("ledger:local:session:*") and redis_server.keys("ledger:local:person:*")
    assert 0 < redis_server.client.ttl("ledger:local:post:1") <= TTL_S
    platform.db.execute("UPDATE posts SET title = ? WHERE id = 1", ("changed behind the app's back",))
    assert one.get("/posts/1")["post"]["title"] == title
    platform.db.execute("UPDATE posts SET title = ? WHERE id = 1", (title,))


def test_a_write_is_seen_at_once(one: Member, redis_server: RedisServer) -> None:
    for name in ("First", "Second"):
        assert one.http.patch("/api/me", json={"name": name, "meta": {"city": name}}).status_code == 200
        user = one.get("/me")["user"]
        assert (user["name"], user["meta"]) == (name, {"city": name})
    said = [one.post("/posts/4/comments", body=f"remark {n}").status_code for n in range(2)]
    with one.browser() as mine:
        assert said == [201, 201] and "remark 1" in mine.get("/posts/4").text
        assert one.post("/posts/4/comments", body="remark 3").status_code == 201
        assert "remark 3" in mine.get("/posts/4").text


def test_signing_out_reaches_redis(one: Member, redis_server: RedisServer) -> None:
    one.get("/me")
    assert redis_server.client.get(redis_server.keys(f"ledger:local:session:{one.id}:*")[0])
    assert one.post("/logout").status_code == 204
    assert one.http.get("/api/me").status_code == 401


def test_money_is_never_read_from_redis(one: Member, platform: Platform) -> None:
    before = one.balance()
    one.post("/deposits", amount=10)
    assert one.balance() == before + 10
    assert one.get("/transactions", limit=1)["transactions"][0]["amount"] == 10


def test_redis_holds_no_token(one: Member, redis_server: RedisServer) -> None:
    one.get("/me")
    secret = one.token.partition(".")[2]
    keys = redis_server.keys("*")
    assert keys and not any(secret in key or secret in str(redis_server.client.get(key)) for key in keys)


def test_redis_dies_and_comes_back_and_nobody_notices(one: Member, redis_server: RedisServer) -> None:
    assert one.post("/deposits", amount=1).status_code == 201
    redis_server.send(signal.SIGKILL)
    for _ in range(10):
        assert one.get("/me") and one.post("/deposits", amount=1).status_code == 201
    assert one.http.patch("/api/me", json={"name": "Changed without Redis"}).status_code == 200
    assert one.get("/me")["user"]["name"] == "Changed without Redis"
    redis_server.start()

    def used_again() -> bool:
        assert one.get("/me")["user"]["name"] == "Changed without Redis"
        return bool(redis_server.keys("ledger:local:session:*"))

    wait_for(used_again, "the cache is used again")


def test_a_redis_that_hangs_costs_a_moment_now_and_then(one: Member, redis_server: RedisServer) -> None:
    one.get("/me")
    redis_server.send(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        for _ in range(20):
            one.get("/me")
        # Each of these asks Redis several times; without a pause 20 of them would wait 4 s and more.
        assert time.monotonic() - begun < 3
        assert one.http.patch("/api/me", json={"name": "While it hung"}).status_code == 200
        assert one.post("/logout").status_code == 204
        assert one.http.get("/api/me").status_code == 401
    finally:
        redis_server.send(signal.SIGCONT)

    def forgotten() -> bool:
        assert one.http.get("/api/me").status_code == 401  # the old copy of the session is owed, and paid first
        return redis_server.client.get(f"ledger:local:person:{one.id}") in ("", None)

    wait_for(forgotten, "what was owed to Redis is paid")


def test_a_slow_reader_does_not_bring_an_old_row_back(redis_server: RedisServer) -> None:
    async def scene() -> None:
        cache = Cache(redis_server.url, "scene:")
        loaded, written = asyncio.Event(), asyncio.Event()

        async def slow() -> str:
            loaded.set()
            await written.wait()
            return "old"

        async def fresh() -> str:
            return "new"

        reader = asyncio.create_task(cache.read_through("row", slow))
        await loaded.wait()
        await cache.forget("row")  # the writer has committed
        written.set()
        assert await reader == "old"
        assert await cache.read_through("row", fresh) == "new"
        assert 0 < redis_server.client.ttl("scene:row") <= MARK_S
        await cache.close()

    asyncio.run(scene())


def test_without_redis_nothing_is_asked() -> None:
    async def scene() -> None:
        cache = Cache("", "scene:")

        async def load() -> int:
            return 7

        assert [await cache.read_through("row", load) for _ in range(2)] == [7, 7]
        await cache.forget("row")
        await cache.close()

    asyncio.run(scene())


def test_an_unreachable_redis_is_left_alone_for_a_while() -> None:
    async def scene() -> None:
        now_s = 0.0
        cache = Cache(f"redis://127.0.0.1:{free_port()}/0", "scene:", clock=lambda: now_s)
        asked = 0

        async def load() -> int:
            nonlocal asked
            asked += 1
            return asked

        assert [await cache.read_through("row", load) for _ in range(3)] == [1, 2, 3]
        await cache.forget("row")
        await cache.close()

    asyncio.run(scene())


def test_health_does_not_depend_on_redis(cached: Backend, redis_server: RedisServer) -> None:
    redis_server.send(signal.SIGKILL)
    assert httpx.get(f"{cached.url}/healthz").json() == {"ok": True, "backend": "backend_7"}
    redis_server.start()
