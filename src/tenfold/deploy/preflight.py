"""Whether a deploy may begin: every host looked at, and everything that is wrong told at once. Edge."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from tenfold.deploy import onfitness
from tenfold.deploy.fitness import Finding, Needs, judged, of_backup, of_certificate
from tenfold.deploy.fleet import Fleet
from tenfold.deploy.installs import asked_for
from tenfold.deploy.keepers import Right
from tenfold.deploy.order import Kind, Order
from tenfold.deploy.plan import LOCAL, Item, app_hosts, balancer_host, every_host
from tenfold.deploy.samefile import meaning, of_file
from tenfold.deploy.source import Source
from tenfold.deploy.whole import client_of
from tenfold.errors import DeployError, HostError, TenfoldError
from tenfold.hosts.certificates import end_of
from tenfold.sharding.moves.connections import Shards
from tenfold.topology.commands import arguments
from tenfold.topology.monitoring import server_of

MEASURE_S = 60.0
DAY_S = 86_400.0
FILE = "tenfold.toml"
_SCRIPT = Path(onfitness.__file__).read_text(encoding="utf-8")
BackupAge = Callable[[], float | None]
"""Seconds since the data of the last verified backup; None: there is none."""


class Inspection:
    """One look at all hosts, whoever of several steps asks first."""

    def __init__(self, fleet: Fleet, order: Order, source: Source | None, backup_age: BackupAge) -> None:
        """source: None where nothing is brought onto the hosts."""
        self._fleet, self._order, self._source, self._backup_age = fleet, order, source, backup_age
        self._settings = fleet.topology.deploy
        self._look: asyncio.Task[tuple[list[Finding], float]] | None = None

    async def findings(self) -> tuple[list[Finding], float]:
        """(everything that was looked at, seconds that it took)."""
        if self._look is None:
            self._look = asyncio.create_task(self._looked())
        return await asyncio.shield(self._look)

    async def _looked(self) -> tuple[list[Finding], float]:
        began_s = time.monotonic()
        names = every_host(self._fleet.topology)
        of_hosts = await asyncio.gather(*(self._host(name) for name in names))
        found = [finding for findings in of_hosts for finding in findings]
        away = {finding.host for finding in found if finding.what == "host"}
        found += await self._files([name for name in names if name not in away and name != LOCAL])
        found += await self._databases() + await self._cache()
        found += await self._certificates()
        limit_h = self._settings.backup_age_h
        if limit_h is not None and self._order.kind is Kind.DEPLOY:
            found += of_backup(await asyncio.to_thread(self._backup_age), limit_h)
        return found, time.monotonic() - began_s

    async def _host(self, name: str) -> list[Finding]:
        try:
            running, right = await self._kept(name)
            needs = replace(self._needs(name), rights=right.line if right else "")
            before_s = time.time()
            python = sys.executable if name == LOCAL else "python3"
            told = running or {}
            order = {
                "path": needs.path, "programs": list(needs.programs), "pid": told.get("pid"),
                "python": told.get("python"),
            }  # fmt: skip
            ran = await self._fleet.host(name).run(
                [python, "-I", "-c", _SCRIPT, json.dumps(order)], timeout_s=MEASURE_S
            )
            after_s = time.time()
            if ran.code:
                remedy = f"install python3 (3.8 or newer) on {name}"
                return [Finding(name, "python3", False, ran.last_lines(1), "runs", remedy)]
            seen: dict[str, Any] = json.loads(ran.out)
        except (HostError, ValueError) as error:
            return [Finding(name, "host", False, str(error), "answers", getattr(error, "hint", ""))]
        # Somewhere between question and answer: what lies within that is no skew.
        skew_s = min(0.0, seen["time_s"] - before_s) or max(0.0, seen["time_s"] - after_s)
        found = {"skew_s": skew_s, "programs": told.get("programs"), "rights": right.refused if right else ""}
        return list(judged(name, {**seen, **found}, needs))

    async def _kept(self, name: str) -> tuple[dict[str, Any] | None, Right | None]:
        if self._order.cold:
            return None, None
        try:
            return await self._fleet.keeper.status(name), await self._fleet.keeper.right(name)
        except TenfoldError:
            # A host that cannot be reached at all is told by what comes next.
            return None, None

    def _needs(self, name: str) -> Needs:
        serves = name in app_hosts(self._fleet.topology)
        size_mb = self._source.archive.nbytes / 2**20 if self._source and serves else 0.0
        return Needs(
            self._fleet.path(name), self._settings.min_disk_mb, self._settings.min_memory_mb, size_mb,
            self._programs() if serves else {}, runs=not self._order.cold, version=version("tenfold"),
            start=self._fleet.keeper.start(name),
        )  # fmt: skip

    def _programs(self) -> dict[str, str]:
        if self._source is None:
            return {}
        if self._settings.install is None:
            installs = asked_for(self._source.content.top, self._source.content.project)
            return {program: one.because for one in installs for program in one.programs}
        words = arguments(self._settings.install)
        # What lies in the release itself, or is the Python of either, is there once it is unpacked.
        return {words[0]: "deploy.install"} if words and "/" not in words[0] and "{" not in words[0] else {}

    async def _files(self, names: Sequence[str]) -> list[Finding]:
        """Whether tenfold.toml of hosts is the one that this deploy goes by."""
        ours = meaning(await asyncio.to_thread(Path(self._fleet.topology.file).read_bytes)) if names else {}
        if ours is None:
            raise DeployError("tenfold.toml has been changed since it was read", hint="tenfold check")

        async def looked(name: str) -> Finding:
            path = f"{self._fleet.path(name)}/{FILE}"
            try:
                return of_file(
                    name, path, self._fleet.keeper.start(name), ours, await self._fleet.host(name).read(path)
                )
            except HostError as error:
                return Finding(name, FILE, False, str(error), "the deployer's", error.hint)

        return list(await asyncio.gather(*(looked(name) for name in names)))

    async def _databases(self) -> list[Finding]:
        """Whether every shard answers: a release that is well at its gates may need the one that does not."""
        topology = self._fleet.topology

        def looked(shard: str) -> Finding:
            shards = Shards(topology)
            try:
                shards.rows(shard, "SELECT 1")
                return Finding("database", shard, True, "answers", "answers")
            except TenfoldError as error:
                why = str(error).removeprefix(f"{shard}: ")
                return Finding("database", shard, False, why, "answers", error.hint)
            finally:
                shards.close()

        names = topology.database.shards
        return list(await asyncio.gather(*(asyncio.to_thread(looked, name) for name in names)))

    async def _cache(self) -> list[Finding]:
        """Whether Redis answers; the platform goes on without it, so that is only told."""
        if (cache := self._fleet.topology.cache) is None:
            return []
        client = client_of(cache)
        try:
            await client.ping()
            measured = "answers"
        except (RedisError, OSError) as error:
            measured = f"does NOT answer ({type(error).__name__})"
        finally:
            await client.aclose()
        return [Finding("cache", "Redis", True, measured, "answers")]

    async def _certificates(self) -> list[Finding]:
        topology, name = self._fleet.topology, balancer_host(self._fleet.topology)
        wanted, limit = topology.monitor.certificates, topology.monitor.certificate_days[1]
        host, path, now_s = self._fleet.host(name), self._fleet.path(name), time.time()

        async def looked(one: str) -> Finding:
            file = one if one.startswith("/") else f"{path}/{one}"
            try:
                end_s, why = await end_of(server_of(one), lambda: host.read(file))
            except HostError as error:
                end_s, why = None, str(error)
            return of_certificate(one, None if end_s is None else (end_s - now_s) / DAY_S, limit, why)

        return list(await asyncio.gather(*(looked(one) for one in wanted)))


class Preflight:
    """What one host shows; where anything anywhere is wrong, everything that is."""

    def __init__(self, item: Item, order: Order, inspection: Inspection) -> None:
        self.name, self.said, self.host, self.told = item.name, item.said, item.host, ""
        self._order, self._inspection = order, inspection

    async def check(self) -> bool:
        """Never known before it is looked at."""
        return False

    async def apply(self) -> None:
        """Raises DeployError with every finding. A roll-back goes on with all but a host that does not answer."""
        findings, took_s = await self._inspection.findings()
        wrong = [one for one in findings if not one.well]
        if self._order.kind is Kind.ROLLBACK:
            wrong = [one for one in wrong if one.what in ("host", "python3", "supervisor", "rights")]
        if wrong:
            raise DeployError(
                "not fit for a deploy:\n" + "\n".join(f"  {one.line()}" for one in wrong),
                hint="; ".join(dict.fromkeys(f"{one.host}: {one.remedy}" for one in wrong if one.remedy)),
                retryable=False,
            )
        mine = [
            one for one in findings if one.host in (self.host or LOCAL, "database", "cache", "backup", "certificate")
        ]
        self.told = ", ".join(f"{one.what} {one.measured}" for one in mine) + f"; looked at in {took_s:.1f} s"

    async def undo(self) -> None:
        """Nothing was changed."""
