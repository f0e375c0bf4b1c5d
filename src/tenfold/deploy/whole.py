"""The steps that are about the whole fleet: migrations, the cache, the final verification. Edge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import redis.asyncio
from redis.exceptions import RedisError

from tenfold.balancer.upstreams import backend_name
from tenfold.deploy import gates
from tenfold.deploy.backends import Started, no_ending
from tenfold.deploy.backup.prune import prune
from tenfold.deploy.backup.shelf import Shelf
from tenfold.deploy.claim import By
from tenfold.deploy.fleet import Fleet
from tenfold.deploy.migrate import Migrating
from tenfold.deploy.migrations import File
from tenfold.deploy.order import Order
from tenfold.deploy.plan import Item, balancer_host, gate_path
from tenfold.errors import DeployError, GateError
from tenfold.topology.addresses import listen_address
from tenfold.topology.model import Cache as CacheOf

T = TypeVar("T")
REQUESTS = 10
"""Through the balancer; fewer than any burst of the shipped limits."""
CACHE_S, BATCH = 5.0, 500
WATCH_S = 1.0


class WholeStep:
    """What these steps have in common."""

    def __init__(self, item: Item, fleet: Fleet, order: Order) -> None:
        self.name, self.said, self.host, self.told = item.name, item.said, item.host, ""
        self._item, self._fleet, self._order = item, fleet, order

    async def check(self) -> bool:
        """A step that is always done."""
        return False

    async def undo(self) -> None:
        """Nothing is to be taken back."""


class Migrations(WholeStep):
    """A step of the migrations. From the first to the last no move begins; whoever takes one back lets them again."""

    async def undo(self) -> None:
        """What it did stays: it only adds, and the release before goes on with it."""
        await self._with(Migrating.end)

    async def _with(self, act: Callable[[Migrating], T]) -> T:
        migrating = Migrating(self._fleet.topology, By(self._order.release, self._fleet.fence))
        try:
            return await _to_its_end(lambda: act(migrating))
        finally:
            migrating.close()


class Migrate(Migrations):
    """Runs one file on the shards."""

    files: Mapping[str, File]
    """Set by whoever has read them; those who only undo need none."""

    async def apply(self) -> None:
        """Run what is left to do of it."""
        self.told = await self._with(lambda migrating: migrating.run(self.files[self._item.about]))
        if (self._item.about,) == self._order.contracts[-1:]:
            await self._with(Migrating.end)


class Tables(Migrations):
    """Enters new tables into the catalog."""

    async def apply(self) -> None:
        """As `tenfold up` does it."""
        self.told = await self._with(Migrating.enter_tables)
        await self._with(Migrating.end)


async def _to_its_end(act: Callable[[], T]) -> T:
    """Run it in a thread, and wait for its end even when we are cancelled: a statement cannot be called back, and
    whoever undoes must not meet it."""
    work = asyncio.ensure_future(asyncio.to_thread(act))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise


def client_of(cache: CacheOf) -> redis.asyncio.Redis:
    """A client of the platform's Redis, which waits for CACHE_S and no longer; not connected yet."""
    more: dict[str, Any] = {"password": cache.password.get_secret_value()} if cache.password else {}
    return redis.asyncio.Redis.from_url(cache.url, socket_timeout=CACHE_S, socket_connect_timeout=CACHE_S, **more)


class Cache(WholeStep):
    """Keys of the release before are cleared, by pattern."""

    async def apply(self) -> None:
        """Look through all keys, and unlink those that match. A cache that is away holds up nothing."""
        self.told = await self._clear()

    async def undo(self) -> None:
        """What the new release has put there must not be read by the one before."""
        await self._clear()

    async def _clear(self) -> str:
        cache = self._fleet.topology.cache
        assert cache is not None  # noqa: S101  the plan has asked
        client = client_of(cache)
        left, count = list(self._fleet.topology.deploy.clear_cache), 0
        try:
            while left:
                batch: list[bytes] = []
                async for key in client.scan_iter(match=left[0], count=BATCH):
                    batch.append(key)
                    if len(batch) == BATCH:
                        count += await client.unlink(*batch)
                        batch.clear()
                if batch:
                    count += await client.unlink(*batch)
                left.pop(0)
        except (RedisError, OSError) as error:
            # Only its kind: a server's own words may quote what it was sent.
            kind = type(error).__name__
            return f"NOT cleared: {', '.join(left)} ({kind} of Redis; {count} keys were): clear them by hand"
        finally:
            await client.aclose()
        return f"{count} keys cleared"


class Prune(WholeStep):
    """Backups that nobody needs any more are removed; the newest and the last verified one always stay."""

    async def check(self) -> bool:
        """Whether none lie here: somebody else, or another machine, makes them."""
        return not Shelf(self._fleet.topology).path.is_dir()

    async def apply(self) -> None:
        """As `tenfold backup prune` does it."""
        found = await _to_its_end(lambda: prune(self._fleet.topology))
        self.told = f"{len(found.removed)} removed, {len(found.kept)} stay"
        if found.damaged:
            self.told += f"; damaged, and left alone: {', '.join(found.damaged)}"


class Verify(WholeStep):
    """The final verification: what a client gets, and that every backend runs the release and takes clients."""

    started: Started
    """Set by Making."""

    async def apply(self) -> None:
        """Watch them for a while; ask through the balancer; ask what keeps the backends, and the agent."""
        await self._settled()
        await self._every_backend()
        topology = self._fleet.topology
        host, port = listen_address(topology.balancer.listen)
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  asked, not listened on
        path = gate_path(topology)
        answers = await self._fleet.do(
            balancer_host(topology), "ask", host=host, port=port, target=path,
            headers=gates.plain(gates.domain_of(topology, f"{host}:{port}")), count=REQUESTS, passes=0,
            within_s=REQUESTS * 5.0, each_s=5.0, pause_s=0.0, well=list(range(200, 400)),
        )  # fmt: skip
        asked = [(int(status), float(seconds), str(wrong)) for status, seconds, wrong in answers]
        bad = [answer for answer in asked if not 200 <= answer[0] < 400]
        if bad or not asked:
            raise GateError(
                f"final verification: {len(bad)} of {len(asked)} requests to {path} through the balancer failed"
                f" (the last: {gates.last(bad)})",
                hint="the backends answer well by themselves: see `tenfold logs nginx-error`",
            )
        self.told = f"{len(asked)} of {len(asked)} requests to {path} through the balancer were well"

    async def _settled(self) -> None:
        until_s = max((at for _, at in self.started.values()), default=0.0) + self._fleet.topology.deploy.settle_s
        while True:
            await no_ending(self._fleet, self.started)
            if (left_s := until_s - time.monotonic()) <= 0:
                return
            await asyncio.sleep(min(WATCH_S, left_s))

    async def _every_backend(self) -> None:
        topology = self._fleet.topology
        told = await self._fleet.agent({"do": "balancer"})
        wanted = {str(one["name"]): str(one["wanted"]) for one in told["backends"]}
        for position in range(len(topology.app.backends)):
            name = backend_name(position)
            one = await self._fleet.program(position)
            if one is None or one["state"] != "up" or one["release"] != self._order.release:
                state = f"is {one['state']} with {one['release']}" if one else "is not kept by anything"
                raise GateError(f"final verification: {name} {state}", hint=self._fleet.keeper.logs(position))
            if wanted.get(name) != "ready":
                raise DeployError(
                    f"final verification: {name} is {wanted.get(name)}, told so by somebody else",
                    hint=f"tenfold balancer ready {name}, then deploy again",
                )
