"""Which keys a host may show: what known_hosts says, and what to do when it says something else. Edge."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

from tenfold.errors import HostError

SSH_PORT = 22


@dataclass
class KnownKeys:
    """The keys of one address, and the one that it showed when it was none of them.

    Only entries for the name that is dialled count: were those for the number that it resolves to taken as well,
    whoever answers for the name could send us to another of our own machines.
    """

    file: Path
    address: str
    port: int
    seen: asyncssh.SSHKey | None = None
    keys: list[asyncssh.SSHKey] = field(default_factory=list)
    revoked: list[asyncssh.SSHKey] = field(default_factory=list)
    trust: tuple[list[object], ...] = ()
    """As asyncssh takes them."""

    def read(self) -> KnownKeys:
        """Read the file anew; → self. Raises HostError when it cannot be read or understood."""
        try:
            text = self.file.read_text(encoding="utf-8", errors="surrogateescape")
        except FileNotFoundError:
            text = ""
        except OSError as error:
            raise HostError(
                f"the host keys in {self.file} cannot be read: {error.strerror}",
                hint="write the path of a known_hosts file into deploy.known_hosts",
                retryable=False,
            ) from None
        try:
            found = asyncssh.import_known_hosts(text).match(
                self.address, "", self.port if self.port != SSH_PORT else None
            )
        except ValueError as error:
            raise HostError(
                f"{self.file} is no known_hosts file: {error}", hint="mend or remove that line", retryable=False
            ) from None
        self.keys, self.revoked = list(found[0]), list(found[2])
        self.trust = tuple(list(part) for part in found)
        self.seen = None
        return self

    @property
    def name(self) -> str:
        """The address as known_hosts writes it."""
        return self.address if self.port == SSH_PORT else f"[{self.address}]:{self.port}"

    def refusal(self, host: str, seen: asyncssh.SSHKey | None) -> HostError:
        """The error for a host that showed `seen`; None: one that is revoked."""
        if seen is None:
            return HostError(
                f"{host}: {self.name} shows a host key that {self.file} says is revoked",
                hint=f"give the host a new key, and put that one there; see what it shows: {self._scan()}",
                retryable=False,
            )
        line = f"{self.name} {_line(seen)}"
        shows = f"{kind(seen)} {seen.get_fingerprint()}"
        compare = f"on the host itself, run `ssh-keygen -lf /etc/ssh/ssh_host_{kind(seen).lower()}_key.pub` and compare"
        add = f"echo {shlex.quote(line)} >> {shlex.quote(str(self.file))}"
        if not self.keys:
            return HostError(
                f"{host}: the host key of {self.name} is not known (it shows {shows}); nothing was sent",
                hint=f"{compare}; only if it is the same: {add} (or see them all: {self._scan()})",
                retryable=False,
            )
        known = ", ".join(f"{kind(key)} {key.get_fingerprint()}" for key in self.keys)
        return HostError(
            f"{host}: {self.name} shows another host key than the one that is known: {shows} instead of {known}; "
            "somebody may stand in between. Nothing was sent",
            hint=f"was the host set up anew? {compare}; only if it is the same: "
            f"ssh-keygen -R {shlex.quote(self.name)} -f {shlex.quote(str(self.file))} && {add}",
            retryable=False,
        )

    def _scan(self) -> str:
        return f"ssh-keyscan -p {self.port} {self.address}"


def kind(key: asyncssh.SSHKey) -> str:
    """As ssh-keygen calls it: ED25519, RSA, ECDSA."""
    algorithm = key.get_algorithm()
    for name in ("ED25519", "ECDSA", "RSA", "DSA"):
        if name.lower() in algorithm or (name == "DSA" and algorithm == "ssh-dss"):
            return name
    return algorithm


def _line(key: asyncssh.SSHKey) -> str:
    return " ".join(key.export_public_key("openssh").decode().split()[:2])
