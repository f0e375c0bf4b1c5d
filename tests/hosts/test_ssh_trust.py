"""A host over SSH: who is believed, who gets in, and what is told to whom it does not reach. Edge."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from tenfold.errors import HostError
from tenfold.hosts.port import Host, Ran
from tenfold.hosts.ssh import SshHost
from tests.hosts.conftest import login, reached
from tests.hosts.sshd import Keyring, Sshd
from tests.support import free_port, program, wait_for

On = Callable[[Callable[[Host], Awaitable[Any]]], Any]
Own = tuple[Keyring, Sshd]
Shared = tuple[Keyring, list[Sshd]]


def told(keyring: Keyring, machine: Sshd, **other: Any) -> HostError:
    """What somebody is told who cannot get in."""

    async def attempt() -> None:
        async with reached(keyring, machine, **other) as host:
            ran = await host.run(["true"])
            pytest.fail(f"it got in: {ran}")

    with pytest.raises(HostError) as refused:
        asyncio.run(attempt())
    assert str(refused.value).startswith("web_1: ") and refused.value.hint
    return refused.value


def works(keyring: Keyring, machine: Sshd, **other: Any) -> None:
    async def attempt() -> Ran:
        async with reached(keyring, machine, **other) as host:
            return await host.run(["true"])

    assert asyncio.run(attempt()).code == 0


def commands_there(machine: Sshd) -> int:
    """How many commands the host has been asked for."""
    return machine.log.count("Starting session")


# --- who is believed


def test_an_unknown_host_is_refused_and_the_remedy_lets_it_in(own: Own) -> None:
    keyring, machine = own
    keyring.known_hosts.write_text("")
    refused = told(keyring, machine)
    assert "is not known" in str(refused) and not refused.retryable
    shown = subprocess.run(["ssh-keygen", "-lf", f"{machine.host_key}.pub"], capture_output=True, text=True).stdout
    assert shown.split()[1] in str(refused), "the fingerprint, as ssh-keygen prints it on the host"
    assert commands_there(machine) == 0
    assert keyring.known_hosts.read_text() == "", "nobody is believed because he was the first to answer"
    add = re.search(r"echo .* >> \S+", refused.hint)
    assert add and subprocess.run(["sh", "-c", add[0].removesuffix(" (or see them all")], check=True)
    works(keyring, machine)


def test_a_host_that_shows_another_key_is_refused_and_the_remedy_lets_it_in(own: Own) -> None:
    keyring, machine = own
    machine.stop()
    machine.change_key()
    machine.start()
    refused = told(keyring, machine)
    assert "another host key" in str(refused) and "in between" in str(refused) and not refused.retryable
    assert str(refused).count("SHA256:") == 2, "the one it shows, and the one that is known"
    assert commands_there(machine) == 0
    remedy = re.search(r"ssh-keygen -R .*", refused.hint)
    assert remedy and subprocess.run(["sh", "-c", remedy[0]], capture_output=True).returncode == 0
    works(keyring, machine)


def test_a_key_that_is_known_for_another_host_does_not_count(own: Own) -> None:
    keyring, machine = own
    other = free_port()
    keyring.known_hosts.write_text(
        f"[127.0.0.1]:{other} {machine.public}\n[localhost]:{machine.port} ssh-ed25519 AAAA\n"
    )
    assert "is not known" in str(told(keyring, machine))
    # A name that resolves to the number of a known machine is not thereby that machine.
    keyring.known_hosts.write_text(machine.known_line + "\n")
    assert "is not known" in str(told(keyring, machine, address="localhost"))


def test_a_revoked_key_is_refused(own: Own) -> None:
    keyring, machine = own
    keyring.known_hosts.write_text(f"{machine.known_line}\n@revoked * {machine.public}\n")
    assert "revoked" in str(told(keyring, machine))
    assert commands_there(machine) == 0


def test_hashed_names_are_understood(own: Own) -> None:
    keyring, machine = own
    subprocess.run(["ssh-keygen", "-H", "-f", keyring.known_hosts], check=True, capture_output=True)
    assert "127.0.0.1" not in keyring.known_hosts.read_text()
    works(keyring, machine)


def test_a_key_of_another_kind_than_the_known_one_is_refused(own: Own) -> None:
    keyring, machine = own
    rsa = asyncssh.generate_private_key("ssh-rsa").export_public_key("openssh").decode().strip()
    keyring.known_hosts.write_text(f"[127.0.0.1]:{machine.port} {rsa}\n")
    refused = told(keyring, machine)
    assert "shows another host key" in str(refused) and "ED25519" in str(refused) and "RSA" in str(refused)
    assert commands_there(machine) == 0


def test_a_file_of_the_account_cannot_turn_the_verification_off(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring, machine = own
    home = keyring.key.parent / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "config").write_text("Host *\n StrictHostKeyChecking no\n UserKnownHostsFile none\n")
    monkeypatch.setenv("HOME", str(home))
    keyring.known_hosts.write_text("")
    assert "is not known" in str(told(keyring, machine))


@pytest.mark.parametrize("text", ["only-one-word\n", "@strange a b\n"])
def test_a_file_that_is_no_known_hosts_is_named(own: Own, text: str) -> None:
    keyring, machine = own
    keyring.known_hosts.write_text(text)
    with pytest.raises(HostError, match="is no known_hosts file"):
        asyncio.run(SshHost("web_1", login(keyring, machine)).run(["true"]))
    keyring.known_hosts.unlink()
    assert "is not known" in str(told(keyring, machine))
    keyring.known_hosts.mkdir()
    with pytest.raises(HostError, match="cannot be read"):
        asyncio.run(SshHost("web_1", login(keyring, machine)).run(["true"]))


# --- who gets in


def test_a_key_that_the_host_does_not_list_is_refused(own: Own) -> None:
    keyring, machine = own
    stranger = Keyring(machine.root / "stranger")
    refused = told(keyring, machine, key=stranger.key)
    assert "takes none of the keys" in str(refused) and "authorized_keys" in refused.hint and not refused.retryable
    assert commands_there(machine) == 0


def test_an_account_that_may_not_enter_is_refused(own: Own) -> None:
    keyring, machine = own
    assert "nobody@127.0.0.1 takes none" in str(told(keyring, machine, user="nobody"))


@pytest.mark.parametrize("way", ["PasswordAuthentication yes", "KbdInteractiveAuthentication yes"])
def test_a_host_that_would_take_a_password_gets_none(tmp_path: Path, way: str) -> None:
    keyring = Keyring(tmp_path / "deployer")
    machine = Sshd(tmp_path / "host", options=(way,)).start()
    try:
        keyring.trust(machine)
        assert "Passwords are not used" in told(keyring, machine).hint
    finally:
        machine.stop()


def test_a_key_that_is_missing_broken_or_locked_is_named(own: Own, tmp_path: Path) -> None:
    keyring, machine = own

    def refused(key: Path) -> HostError:
        with pytest.raises(HostError) as why:
            asyncio.run(SshHost("web_1", login(keyring, machine, key=key)).run(["true"]))
        assert str(key) in str(why.value) and not why.value.retryable
        return why.value

    assert "No such file" in str(refused(tmp_path / "none"))
    (tmp_path / "broken").write_text("-----BEGIN nothing-----")
    assert "cannot be used" in str(refused(tmp_path / "broken"))
    locked = asyncssh.read_private_key(keyring.key).export_private_key("openssh", passphrase="hunter2", rounds=50)
    (tmp_path / "locked").write_bytes(locked)
    assert "passphrase" in str(refused(tmp_path / "locked")) and "ssh-add" in refused(tmp_path / "locked").hint


def test_without_a_key_file_the_agent_of_ssh_is_asked(
    own: Own, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keyring, machine = own
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    assert "takes none of the keys" in str(told(keyring, machine, key=None))
    door = tmp_path / "agent"
    with subprocess.Popen([program("ssh-agent"), "-D", "-a", door], stdout=subprocess.DEVNULL) as agent:
        try:
            wait_for(door.exists, "ssh-agent listens")
            monkeypatch.setenv("SSH_AUTH_SOCK", str(door))
            subprocess.run(["ssh-add", "-q", keyring.key], check=True, env={**os.environ})
            works(keyring, machine, key=None)
        finally:
            agent.terminate()


def test_an_account_without_a_shell_is_named(tmp_path: Path) -> None:
    keyring = Keyring(tmp_path / "deployer")
    machine = Sshd(tmp_path / "host", f'command="echo no entry" {keyring.public}').start()
    try:
        keyring.trust(machine)
        refused = told(keyring, machine)
        assert "gets no shell there: no entry" in str(refused) and not refused.retryable
    finally:
        machine.stop()


def test_what_the_account_prints_at_log_in_is_no_part_of_an_answer(own: Own) -> None:
    keyring, machine = own
    (machine.home / ".bashrc").write_text("echo Welcome; echo and a warning >&2\n")

    async def ask() -> tuple[Ran, bytes | None]:
        async with reached(keyring, machine) as host:
            await host.write(str(machine.path / "file"), b"content")
            return await host.run(["echo", "hello"]), await host.read(str(machine.path / "file"))

    ran, content = asyncio.run(ask())
    assert ran.out == b"hello\n" and content == b"content"


# --- who cannot be reached


def test_a_port_that_nobody_listens_on_is_named(own: Own) -> None:
    keyring, machine = own
    machine.stop()
    refused = told(keyring, machine)
    assert f"127.0.0.1 port {machine.port} cannot be reached: Connection refused" in str(refused) and refused.retryable


def test_a_name_that_does_not_exist_is_named(own: Own) -> None:
    keyring, machine = own
    assert "cannot be reached" in str(told(keyring, machine, address="no-such-host.invalid"))


def test_a_port_that_takes_the_connection_and_says_nothing_is_given_up(own: Own) -> None:
    keyring, machine = own
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        refused = told(keyring, machine, port=silent.getsockname()[1], connect_s=0.5)
    assert "takes the connection, but says nothing within 0.5 s" in str(refused) and refused.retryable


def test_a_port_that_hangs_up_is_named(own: Own) -> None:
    keyring, machine = own

    async def attempt() -> None:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, reached(keyring, machine, port=port) as host:
            await host.run(["true"])

    with pytest.raises(HostError, match="takes the connection, but hangs up"):
        asyncio.run(attempt())


def test_what_listens_there_may_be_no_ssh_server(own: Own) -> None:
    keyring, machine = own

    async def http(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 200)
        with suppress(OSError):
            await writer.drain()
        writer.close()

    async def attempt() -> None:
        server = await asyncio.start_server(http, "127.0.0.1", 0)
        async with server, reached(keyring, machine, port=server.sockets[0].getsockname()[1]) as host:
            await host.run(["true"])

    with pytest.raises(HostError, match="web_1: "):
        asyncio.run(attempt())
