"""Real SSH servers on loopback ports: own host keys and lists of keys, gone with whoever started them. Edge.

All of them run as the account of the tests, which logs in by key; what a "host" has of its own is its directory.
"""

from __future__ import annotations

import getpass
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncssh
import psutil

from tests.mariadb import die_with_the_tests
from tests.support import free_port, program, wait_for

ADDRESS = "127.0.0.1"


class Keyring:
    """What a deployer has: a key of its own, and the keys of the hosts it knows."""

    def __init__(self, root: Path) -> None:
        """Make a key below `root`; no host is known yet."""
        root.mkdir(parents=True, exist_ok=True)
        self.key, self.known_hosts = root / "id_ed25519", root / "known_hosts"
        self.public = _make_key(self.key)
        self.known_hosts.touch()

    def trust(self, host: Sshd) -> None:
        """Know `host` by the key it has now."""
        with self.known_hosts.open("a") as file:
            file.write(host.known_line + "\n")

    @property
    def deploy(self) -> dict[str, str]:
        """The keys of [deploy] that use it."""
        return {"ssh_key": str(self.key), "known_hosts": str(self.known_hosts)}


class Sshd:
    """One host: an SSH server, and a directory that is its PATH."""

    def __init__(self, root: Path, *may_enter: str, options: tuple[str, ...] = ()) -> None:
        """Lay it out below `root`; does not start.

        may_enter  lines of authorized_keys
        options    more lines of sshd_config, before ours: the first one counts
        """
        self.root, self.path = root, root / "platform"
        self.address, self.port, self.user = ADDRESS, free_port(), getpass.getuser()
        self._process: subprocess.Popen[bytes] | None = None
        self.path.mkdir(parents=True)
        self.home = root / "home"
        self.home.mkdir()
        self.host_key = root / "host_key"
        self.public = _make_key(self.host_key)
        self.authorized_keys = root / "authorized_keys"
        self.authorized_keys.write_text("".join(line + "\n" for line in may_enter))
        lines = [
            *options,
            f"ListenAddress {ADDRESS}",
            f"Port {self.port}",
            f"HostKey {self.host_key}",
            f"AuthorizedKeysFile {self.authorized_keys}",
            f"AllowUsers {self.user}",
            f"SetEnv HOME={self.home}",  # start-up files of whoever runs the tests are no part of them
            "PermitRootLogin prohibit-password",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "StrictModes no",  # /tmp may be written by all, which it would not like above the list of keys
            "MaxStartups 100",
            "PidFile none",
            "LogLevel VERBOSE",
            "PrintMotd no",
            "PrintLastLog no",
        ]
        (root / "sshd_config").write_text("\n".join(lines) + "\n")

    @property
    def known_line(self) -> str:
        """The line of known_hosts for the key that it has now."""
        return f"[{self.address}]:{self.port} {self.public}"

    @property
    def table(self) -> dict[str, Any]:
        """The host as [environments.NAME.hosts] has it."""
        return {"address": self.address, "port": self.port, "user": self.user, "path": str(self.path)}

    @property
    def log(self) -> str:
        """What it has written about itself."""
        return (self.root / "log").read_text(errors="replace")

    def change_key(self) -> None:
        """Have another host key from the next start on."""
        self.host_key.unlink()
        self.public = _make_key(self.host_key)

    def start(self) -> Sshd:
        """Start on the same port as ever; → self, once it answers. It dies with the thread that calls this."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        server = program("sshd")
        (self.root / "log").touch()
        before = len(self.log)
        with (self.root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [server, "-D", "-e", "-f", str(self.root / "sshd_config")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_the_tests,
            )  # fmt: skip
        wait_for(lambda: "Server listening" in self.log[before:] or self._dead(), f"sshd listens:\n{self.log}")
        assert not self._dead(), self.log
        return self

    def _dead(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def connections(self) -> list[psutil.Process]:
        """The processes that serve connections, the privileged one of each."""
        assert self._process is not None
        return psutil.Process(self._process.pid).children()

    def commands(self) -> list[psutil.Process]:
        """What was started through it and still runs."""
        servers = [server for child in self.connections() for server in (child, *_servers(child))]
        found = [process for server in servers for process in server.children() if process.name() != "sshd"]
        return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]

    def cut(self) -> None:
        """Kill what serves the connections: to the client, the host has hung up. Commands go on unless they notice."""
        for child in self.connections():
            for process in [*_servers(child), child]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()

    def freeze(self) -> None:
        """Stop what serves the connections: to the client, the host has vanished. Until `thaw`."""
        for child in self.connections():
            for process in [child, *_servers(child)]:
                process.suspend()

    def thaw(self) -> None:
        """Undo `freeze`."""
        for child in self.connections():
            for process in [child, *_servers(child)]:
                process.resume()

    def stop(self) -> None:
        """End it and all connections; a host that is down."""
        if self._process is None:
            return
        with suppress(psutil.NoSuchProcess):
            self.cut()
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process = None


def _servers(process: psutil.Process) -> list[psutil.Process]:
    """sshd's own processes below one, without the commands that they started."""
    with suppress(psutil.NoSuchProcess):
        return [child for child in process.children() if child.name() == "sshd"]
    return []


def _make_key(path: Path) -> str:
    """A new Ed25519 key at `path`; → its public half, as one line."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    path.touch(0o600)
    path.write_bytes(key.export_private_key("openssh"))
    public = " ".join(key.export_public_key("openssh").decode().split()[:2])
    path.with_name(path.name + ".pub").write_text(public + "\n")
    return public


@contextmanager
def hosts(root: Path, count: int) -> Iterator[tuple[Keyring, list[Sshd]]]:
    """`count` hosts that run and are known, and the keyring that opens them."""
    keyring = Keyring(root / "deployer")
    with ExitStack() as stack:
        machines = []
        for number in range(1, count + 1):
            machine = Sshd(root / f"host_{number}", keyring.public)
            stack.callback(machine.stop)
            machines.append(machine.start())
            keyring.trust(machine)
        yield keyring, machines
