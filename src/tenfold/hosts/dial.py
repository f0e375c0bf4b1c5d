"""Connects to an SSH server and logs in by key; says by name why it could not. Edge."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from tenfold.errors import HostError
from tenfold.hosts.known import KnownKeys

CONNECT_S = 20.0
"""For the connection, the exchange of keys and the log-in together."""
# A host that has vanished (no power, a cut cable) is noticed after about 15 s; TCP alone would wait for minutes.
KEEPALIVE_S = 5.0
KEEPALIVE_COUNT = 3


@dataclass(frozen=True, slots=True)
class Login:
    """Whom to reach, as whom, and by which keys.

    key          private key file; None: what ssh-agent holds and the usual files in ~/.ssh
    known_hosts  the keys that hosts may show
    """

    address: str
    user: str
    port: int
    key: Path | None
    known_hosts: Path
    connect_s: float = CONNECT_S
    keepalive_s: float = KEEPALIVE_S


class _Client(asyncssh.SSHClient):
    """Remembers the key that was not known, so that the refusal can name it."""

    def __init__(self) -> None:
        self.seen: asyncssh.SSHKey | None = None
        self.reached = False

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self.reached = True

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        # Never on first use: whoever answers first would be believed from then on.
        self.seen = key
        return False


async def dial(name: str, login: Login) -> asyncssh.SSHClientConnection:
    """A connection, logged in. Raises HostError, which says what failed and what to do."""
    known = await asyncio.to_thread(KnownKeys(login.known_hosts, login.address, login.port).read)
    keys = await asyncio.to_thread(_keys, login.key)
    client = _Client()
    try:
        async with asyncio.timeout(login.connect_s):
            # Everything is said here, so that no file of the account (~/.ssh/config) turns the verification off.
            return await asyncssh.connect(
                login.address,
                login.port,
                config=None,
                known_hosts=known.trust,
                client_factory=lambda: client,
                username=login.user,
                client_keys=keys,
                agent_path=None if login.key else os.environ.get("SSH_AUTH_SOCK", ""),
                preferred_auth=["publickey"],
                password_auth=False,
                kbdint_auth=False,
                host_based_auth=False,
                gss_auth=False,
                gss_kex=False,
                gss_host=None,
                agent_forwarding=False,
                x11_forwarding=False,
                disable_trivial_auth=True,
                keepalive_interval=login.keepalive_s,
                keepalive_count_max=KEEPALIVE_COUNT,
            )
    except (TimeoutError, asyncssh.ConnectionLost, ConnectionResetError) as error:
        if known.keys and client.reached and not isinstance(error, TimeoutError):
            # A server that has no key of the kind that we know hangs up.
            await _other_kind(name, login, known)
        raise _silent(name, login, client.reached, error) from None
    except asyncssh.HostKeyNotVerifiable:
        raise known.refusal(name, client.seen) from None
    except asyncssh.KeyExchangeFailed as error:
        await _other_kind(name, login, known)
        raise _refused(name, login, str(error), "update the SSH server there") from None
    except asyncssh.PermissionDenied as error:
        raise _no_entry(name, login, error) from None
    except asyncssh.DisconnectError as error:
        raise _refused(name, login, error.reason or str(error), "see its log: journalctl -u ssh") from None
    except OSError as error:
        raise _unreachable(name, login, error) from None


def _keys(path: Path | None) -> list[asyncssh.SSHKey] | tuple[()]:
    """The key to log in with; (): the usual ones. Raises HostError."""
    if path is None:
        return ()
    try:
        return [asyncssh.read_private_key(path)]
    except (OSError, ValueError) as error:
        why = (isinstance(error, OSError) and error.strerror) or str(error)
        remedy = "write the path of a private key (OpenSSH or PEM) into deploy.ssh_key"
        if "passphrase" in why.lower():
            why = "it is locked by a passphrase"
            remedy = f"ssh-add {path}, and leave deploy.ssh_key out: then ssh-agent is asked"
        raise HostError(f"the key {path} cannot be used: {why}", hint=remedy, retryable=False) from None


async def _other_kind(name: str, login: Login, known: KnownKeys) -> None:
    """Raise the refusal of a host whose key is not even of the kind that we know."""
    with suppress(asyncssh.Error, OSError):
        async with asyncio.timeout(login.connect_s):
            seen = await asyncssh.get_server_host_key(login.address, login.port, config=None)
        if seen is not None and seen not in known.keys:
            raise known.refusal(name, seen)


def _at(login: Login) -> str:
    return f"{login.address} port {login.port}"


def _silent(name: str, login: Login, reached: bool, error: Exception) -> HostError:
    if not reached:
        return HostError(
            f"{name}: {_at(login)} does not answer within {login.connect_s:g} s",
            hint="see that the machine runs and that no firewall swallows the connection",
        )
    how = f"says nothing within {login.connect_s:g} s" if isinstance(error, TimeoutError) else "hangs up"
    return HostError(
        f"{name}: {_at(login)} takes the connection, but {how}",
        hint="see that an SSH server listens there, and whether it takes more connections (MaxStartups)",
    )


def _unreachable(name: str, login: Login, error: OSError) -> HostError:
    # asyncio words errors of the kernel as "Connect call failed ('10.0.0.5', 22)".
    why = error.strerror or str(error)
    if error.errno and not isinstance(error, socket.gaierror):
        why = os.strerror(error.errno)
    return HostError(
        f"{name}: {_at(login)} cannot be reached: {why}",
        hint="see that the machine runs, its SSH server listens there, and hosts.*.address and port are right",
    )


def _refused(name: str, login: Login, why: str, remedy: str) -> HostError:
    return HostError(f"{name}: the SSH server at {_at(login)} refused: {why}", hint=remedy)


def _no_entry(name: str, login: Login, error: asyncssh.PermissionDenied) -> HostError:
    keys = str(login.key) if login.key else "ssh-agent and ~/.ssh"
    public = f"{login.key}.pub" if login.key else "the public key"
    return HostError(
        f"{name}: {login.user}@{login.address} takes none of the keys of {keys}",
        hint=f"add {public} to ~{login.user}/.ssh/authorized_keys there (ssh-copy-id); "
        "the account must not be locked nor left out by AllowUsers. Passwords are not used",
        retryable=False,
    )
