"""A platform on several hosts, which are directories and loopback addresses of this machine. Edge."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.runtime.platforms import APP, Platform
from tests.support import free_port

ENVIRONMENT = ("--env", "production")


class Fleet:
    """A host "lb" with the balancer, and "web_1" and "web_2" with two backends and one."""

    def __init__(self, root: Path, more: str = "") -> None:
        root.mkdir()
        addresses = {"lb": "127.0.0.1", "web_1": "127.0.0.2", "web_2": "127.0.0.3"}
        self.hosts = {name: Platform(root / name) for name in addresses}
        self.port, self.backend_port = free_port(), free_port()
        backends = [("web_1", self.backend_port), ("web_2", self.backend_port), ("web_1", free_port())]
        self.places = [(addresses[host], port) for host, port in backends]
        rows = "\n".join(f'{{ host = "{host}", port = {port} }},' for host, port in backends)
        lines = [
            f'{name} = {{ address = "{address}", path = "{root / name}", roles = [{roles(name)}] }}'
            for name, address in addresses.items()
        ]
        text = (
            '[platform]\nname = "tiny"\n[app]\ncommand = "{python} app.py --host {host} --port {port}"\n'
            'setup = "{python} -c \'import pathlib; pathlib.Path(\\"set_up\\").touch()\'"\n'
            f'[database.shards]\nshard_0 = {{ url = "sqlite:///{root}/shard_0.db" }}\n'
            f"[environments.production.app]\nbackends = [{rows}]\n"
            f'[environments.production.balancer]\nlisten = "127.0.0.1:{self.port}"\nsticky = "none"\n'
            "[environments.production.hosts]\n" + "\n".join(lines) + "\n" + more
        )
        for platform in self.hosts.values():
            (platform.root / "tenfold.toml").write_text(text)
            shutil.copy(APP, platform.root / "app.py")

    def up(self, *names: str) -> None:
        """`tenfold up` on these hosts, one after the other; on all of them, the first backend's first."""
        for name in names or ("web_1", "web_2", "lb"):
            self.hosts[name].up(*ENVIRONMENT, "--host", name)

    def close(self) -> None:
        for platform in self.hosts.values():
            platform.close()


def roles(name: str) -> str:
    return '"balancer"' if name == "lb" else '"app"'
