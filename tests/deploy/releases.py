"""Git repositories and hosts for the tests of releases. Edge."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tenfold.deploy.fleet import Fleet
from tenfold.deploy.order import Kind, Order
from tenfold.deploy.plan import LOCAL, Act, Item
from tenfold.deploy.release import release_step
from tenfold.deploy.source import Source, resolve
from tenfold.topology.load import load
from tenfold.topology.model import Topology
from tests.hosts.sshd import Keyring, Sshd

GIT = {
    "GIT_AUTHOR_NAME": "Ann", "GIT_AUTHOR_EMAIL": "ann@example.com", "GIT_COMMITTER_NAME": "Ann",
    "GIT_COMMITTER_EMAIL": "ann@example.com", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
}  # fmt: skip
BASE = """
[platform]
name = "shop"
[app]
command = "true"
[database.shards]
shard_0 = { url = "sqlite:///var/shard_0.db" }
"""
NOW_S = 1_800_000_000.0


class Repository:
    """A repository whose first directory holds tenfold.toml."""

    def __init__(self, root: Path, **settings: Any) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.git("init", "-q", "-b", "main")
        self.settings(**settings)
        self.write({".gitignore": "var/\n", "app.py": "print('hello')\n"})
        self.commit()

    def settings(self, **deploy: Any) -> None:
        """Write the file with these keys in [deploy]."""
        lines = [f"{name} = {_toml(value)}" for name, value in deploy.items()]
        (self.root / "tenfold.toml").write_text(BASE + "[deploy]\n" + "\n".join(lines) + "\n")

    def on(self, keyring: Keyring, machine: Sshd, **deploy: Any) -> Topology:
        """The platform with one host, `machine`; committed."""
        self.settings(**deploy, **keyring.deploy)
        with (self.root / "tenfold.toml").open("a") as file:
            file.write("[environments.production.hosts.web_1]\nroles = ['app', 'balancer']\n")
            file.writelines(f"{name} = {_toml(value)}\n" for name, value in machine.table.items())
        self.commit()
        return self.topology("production")

    def topology(self, environment: str | None = None) -> Topology:
        return load(self.root / "tenfold.toml", environment)

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.root, env={**os.environ, **GIT}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def write(self, files: Mapping[str, str | bytes]) -> None:
        """Files by path; text or bytes."""
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, why: str = "a change") -> str:
        """Commit everything; → the commit."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", why)
        return self.git("rev-parse", "HEAD")


def _toml(value: Any) -> str:
    return json.dumps(value)  # texts, numbers, yes, no and lists of them are written as in TOML


def order_of(source: Source, before: Mapping[str, str | None] | None = None) -> Order:
    return Order(Kind.DEPLOY, source.release, source.commit, source.ref, before or {"backend_0": None})


ACTS = (Act.UNPACK, Act.SHARED, Act.INSTALL, Act.BUILD, Act.SEAL)


def items(host: str, acts: tuple[Act, ...] = ACTS) -> Iterator[Item]:
    for act in acts:
        yield Item(f"{host}.release.{act.value}", act, host, "", None if host == LOCAL else host)


async def make(
    topology: Topology,
    source: Source,
    host: str = LOCAL,
    acts: tuple[Act, ...] = ACTS,
    before: Mapping[str, str | None] | None = None,
) -> list[str]:
    """Make a release, as a deploy does; → what the steps told."""
    fleet, told = Fleet(topology), []
    try:
        for item in items(host, acts):
            step = release_step(item, fleet, order_of(source, before), source)
            if not await step.check():
                await step.apply()
            told.append(getattr(step, "told", ""))
    finally:
        await fleet.close()
    return told


async def take_back(topology: Topology, source: Source, host: str = LOCAL) -> None:
    """Take it back, as another process does that has the journal only."""
    fleet = Fleet(topology)
    try:
        for item in reversed(list(items(host))):
            await release_step(item, fleet, order_of(source), None).undo()
    finally:
        await fleet.close()


def sourced(topology: Topology, ref: str = "HEAD", now_s: float = NOW_S) -> Source:
    return resolve(topology, ref, now_s)
