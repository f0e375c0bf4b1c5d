"""A command on a host: what happens when time is up, or the line, the host, the disk or the caller goes away. Edge."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tenfold.errors import HostError, PlatformError, TenfoldError
from tenfold.hosts.connect import connect
from tenfold.hosts.local import LocalHost
from tenfold.hosts.port import Host, Ran
from tenfold.hosts.ssh import SshHost
from tenfold.runtime.agent_socket import Door, listen
from tenfold.topology.load import load
from tests.hosts.conftest import login, reached
from tests.hosts.sshd import Keyring, Sshd, hosts
from tests.support import free_port, wait_for, wait_in_task

On = Callable[[Callable[[Host], Awaitable[Any]]], Any]
Own = tuple[Keyring, Sshd]
Shared = tuple[Keyring, list[Sshd]]


def commands_there(machine: Sshd) -> int:
    """How many commands the host has been asked for."""
    return machine.log.count("Starting session")


@contextmanager
def marked(stubborn: bool = False) -> Iterator[tuple[list[str], Callable[[], list[psutil.Process]]]]:
    """A command that never ends, and a look at what is left of it and its child; nothing, at the end."""
    word = f"41{free_port()}"
    left: Callable[[], list[psutil.Process]] = lambda: [  # noqa: E731
        process for process in psutil.process_iter(["cmdline"])
        if process.info["cmdline"] and process.info["cmdline"][-1] == word
    ]  # fmt: skip
    try:
        heed = "trap '' TERM; " if stubborn else ""
        yield ["sh", "-c", f"{heed}sleep {word} & sleep {word}"], left
    finally:
        for process in left():
            process.kill()


@pytest.mark.parametrize(
    ("input", "stubborn"), [(b"", False), (b"", True), (b"some", True)], ids=["", "heeds no TERM", "with input"]
)
def test_a_command_that_never_ends_is_ended_there_when_time_is_up(on: On, input: bytes, stubborn: bool) -> None:
    with marked(stubborn) as (command, left):

        async def wait(host: Host) -> None:
            seen = asyncio.create_task(wait_in_task(lambda: len(left()) == 2, "it runs"))
            with pytest.raises(HostError, match=r"did not end within 1\.5 s, and was stopped") as late:
                await host.run(command, input=input, timeout_s=1.5)
            assert seen.done() and late.value.retryable
            assert left() == [], "it and what it started are gone when the caller is told"
            assert (await host.run(["echo", "on"])).out == b"on\n", "the host is of use afterwards"

        on(wait)


@pytest.mark.parametrize("input", [b"", b"some"], ids=["", "with input"])
def test_a_caller_that_is_cancelled_leaves_nothing_running(on: On, input: bytes) -> None:
    with marked() as (command, left):

        async def cancel(host: Host) -> None:
            task = asyncio.create_task(host.run(command, input=input))
            await wait_in_task(lambda: len(left()) == 2, "it runs")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await wait_in_task(lambda: not left(), "it has ended")

        on(cancel)


@pytest.mark.parametrize("where", ["local", "ssh"])
def test_a_deployer_that_is_killed_leaves_nothing_running(own: Own, where: str) -> None:
    keyring, machine = own
    with marked() as (command, left):
        program = (
            "import asyncio, sys; from pathlib import Path; from tenfold.hosts.dial import Login\n"
            "from tenfold.hosts.local import LocalHost; from tenfold.hosts.ssh import SshHost\n"
            "where, user, port, key, known, *command = sys.argv[1:]\n"
            "login = Login('127.0.0.1', user, int(port), Path(key), Path(known))\n"
            "host = LocalHost() if where == 'local' else SshHost('web_1', login)\n"
            "asyncio.run(host.run(command, timeout_s=100))\n"
        )
        given = [where, machine.user, str(machine.port), str(keyring.key), str(keyring.known_hosts)]
        with subprocess.Popen([sys.executable, "-c", program, *given, *command]) as deployer:
            wait_for(lambda: len(left()) == 2, "it runs", 30)
            deployer.kill()
        wait_for(lambda: not left(), "nobody waits for it, so it has ended")


def test_what_was_given_up_before_it_began_does_not_begin_afterwards(own: Own) -> None:
    keyring, machine = own
    (machine.home / ".bashrc").write_text(
        f"touch {machine.path}/entered; while ! test -e {machine.path}/go; do :; done\n"
    )

    async def give_up() -> None:
        async with reached(keyring, machine) as host:
            task = asyncio.create_task(host.run(["touch", str(machine.path / "begun")], input=b"some", timeout_s=1))
            await wait_in_task((machine.path / "entered").exists, "the slow log-in has begun")
            await asyncio.sleep(1.5)  # its time is up by now, and the channel still open
            (machine.path / "go").touch()
            with pytest.raises(HostError, match="did not end within"):
                await task
            await wait_in_task(lambda: not machine.commands(), "nothing of it is left")

    asyncio.run(give_up())
    assert not (machine.path / "begun").exists()


def test_a_line_cut_in_the_middle_is_told_and_the_next_call_connects_anew(own: Own) -> None:
    keyring, machine = own
    with marked() as (command, left):

        async def cut() -> None:
            async with reached(keyring, machine) as host:
                task = asyncio.create_task(host.run(command))
                await wait_in_task(lambda: len(left()) == 2, "it runs")
                machine.cut()
                with pytest.raises(HostError, match=r"connection was lost during .* not known") as lost:
                    await task
                assert lost.value.retryable
                assert (await host.run(["echo", "again"])).out == b"again\n"
                await wait_in_task(lambda: not left(), "nobody waits for it, so it has ended")

        asyncio.run(cut())


def test_a_host_that_vanishes_is_noticed(own: Own) -> None:
    keyring, machine = own

    async def vanish() -> None:
        async with reached(keyring, machine, keepalive_s=0.2) as host:
            await host.run(["true"])
            task = asyncio.create_task(host.run(["sleep", "1000"]))
            await wait_in_task(lambda: commands_there(machine) == 2, "it runs")
            machine.freeze()
            try:
                with pytest.raises(HostError, match="connection was lost"):
                    await task
            finally:
                machine.thaw()

    asyncio.run(vanish())


def test_a_write_that_is_cut_leaves_the_file_as_it_was(own: Own) -> None:
    keyring, machine = own
    target = machine.path / "file"

    async def cut() -> None:
        async with reached(keyring, machine) as host:
            await host.write(str(target), b"before")
            machine_freezes = asyncio.create_task(host.write(str(target), b"x" * 400_000_000))
            await wait_in_task(
                lambda: any(p.stat().st_size > 1 << 20 for p in machine.path.glob("file.*")), "it writes"
            )
            machine.cut()
            with pytest.raises(HostError):
                await machine_freezes

    asyncio.run(cut())
    wait_for(lambda: [p.name for p in machine.path.iterdir()] == ["file"], "what was half written is gone")
    assert target.read_bytes() == b"before"


# --- several at once


def test_more_commands_than_the_server_takes_sessions_wait_their_turn(machines: Shared) -> None:
    keyring, (machine,) = machines

    async def many() -> list[Ran]:
        async with reached(keyring, machine) as host:
            return list(await asyncio.gather(*(host.run(["echo", str(number)]) for number in range(30))))

    assert [ran.out for ran in asyncio.run(many())] == [f"{number}\n".encode() for number in range(30)]


def test_one_connection_serves_all_calls_and_many_hosts_work_side_by_side(tmp_path: Path) -> None:
    with hosts(tmp_path, 3) as (keyring, machines):

        async def both_ways() -> None:
            there = [SshHost(f"web_{n}", login(keyring, machine)) for n, machine in enumerate(machines)]
            try:
                # Each waits for a file that the next one writes: one after the other, it would never end.
                async def turn(number: int) -> Ran:
                    mine, other = machines[number].path / "here", machines[(number + 1) % 3].path / "here"
                    await there[number].write(str(mine), b"x")
                    return await there[number].run(["sh", "-c", f"while ! test -e {other}; do sleep 0.05; done"])

                assert [ran.code for ran in await asyncio.gather(*map(turn, range(3)))] == [0, 0, 0]
                assert [len(machine.connections()) for machine in machines] == [1, 1, 1]
            finally:
                await asyncio.gather(*(host.close() for host in there))

        asyncio.run(both_ways())
        wait_for(lambda: not any(machine.connections() for machine in machines), "close closes")


# --- a disk that is full


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place]).returncode:
        pytest.skip("only root may mount a small file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_named_and_the_old_file_stays(on: On, small_disk: Path) -> None:
    async def fill(host: Host) -> None:
        await host.write(str(small_disk / "file"), b"before")
        with pytest.raises(HostError, match="No space left on device") as full:
            await host.write(str(small_disk / "file"), b"x" * 1_000_000)
        assert "df -h" in full.value.hint
        assert await host.read(str(small_disk / "file")) == b"before"

    on(fill)
    assert [p.name for p in small_disk.iterdir()] == ["file"], "what was half written takes no space"


# --- sockets there


def test_a_socket_of_the_host_is_asked_as_if_it_were_here(on: On, tmp_path: Path) -> None:
    async def answers(command: Mapping[str, Any]) -> Mapping[str, Any]:
        if command["what"] == "no":
            raise PlatformError("it may not be", hint="ask for less", retryable=True)
        if command["what"] == "never":
            await asyncio.sleep(1000)
        return {"said": command["what"]}

    async def ask(host: Host) -> None:
        door = tmp_path / "up.sock"
        ear = listen(door)
        serving = asyncio.create_task(Door({"say": answers}, lambda name: 0, lambda batch: None).serve(ear))
        try:
            assert await host.ask(str(door), {"do": "say", "what": "é" * 100_000}) == {"said": "é" * 100_000}
            with pytest.raises(TenfoldError, match="it may not be") as refused:
                await host.ask(str(door), {"do": "say", "what": "no"})
            assert refused.value.hint == "ask for less" and refused.value.retryable
            with pytest.raises(HostError, match=r"nothing within 0\.3 s"):
                await host.ask(str(door), {"do": "say", "what": "never"}, timeout_s=0.3)
            with pytest.raises(TenfoldError, match="at most"):
                await host.ask(str(door), {"do": "say", "what": "x" * (1 << 20)})
        finally:
            serving.cancel()
            with suppress(asyncio.CancelledError):
                await serving
            ear.close()

    on(ask)


def ask_status(door: str, host: Host) -> Awaitable[dict[str, Any]]:
    return host.ask(door, {"do": "status"})


def test_a_socket_that_nobody_serves_is_named(on: On, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "left.sock"))
    for door in (tmp_path / "none.sock", tmp_path / "left.sock"):
        with pytest.raises(HostError, match=f"{door.name} does not answer") as silent:
            on(partial(ask_status, str(door)))
        assert silent.value.retryable and "tenfold up" in silent.value.hint


@pytest.mark.parametrize("said", [b"", b"\0\0\0\5hello", b"\xff\xff\xff\xff", b"\0\0\0\2[]", b"HTTP/1.1 400 Bad"])
def test_what_answers_there_may_be_something_else(on: On, tmp_path: Path, said: bytes) -> None:
    async def ask(host: Host) -> None:
        async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(said)
            writer.close()

        server = await asyncio.start_unix_server(babble, str(tmp_path / "s"))
        async with server:
            with pytest.raises(HostError, match=r"hung up|no Tenfold|does not answer"):
                await host.ask(str(tmp_path / "s"), {"do": "status"})

    on(ask)


# --- the file names the hosts


def test_hosts_come_from_the_file_and_without_any_it_is_this_machine(own: Own, tmp_path: Path) -> None:
    keyring, machine = own
    file, roles = tmp_path / "tenfold.toml", '["balancer", "app"]'
    file.write_text(
        f"""
[platform]
name = "shop"
[app]
command = "true"
[database.shards]
shard_0 = {{ url = "sqlite:///var/shard_0.db" }}
[deploy]
ssh_key = "{os.path.relpath(keyring.key, tmp_path)}"
known_hosts = "{keyring.known_hosts}"
[environments.production.hosts]
web_1 = {{ address = "127.0.0.1", port = {machine.port}, user = "{machine.user}", roles = {roles} }}
"""
    )
    here, there = load(file, None), load(file, "production")
    assert isinstance(connect(here, "anything"), LocalHost) and isinstance(connect(there, None), LocalHost)
    with pytest.raises(HostError, match="no host 'web_2'") as unknown:
        connect(there, "web_2")
    assert "web_1" in unknown.value.hint

    async def run() -> Ran:
        host = connect(there, "web_1")
        try:
            return await host.run(["sh", "-c", "echo $SSH_CONNECTION"])
        finally:
            await host.close()

    assert f"127.0.0.1 {machine.port}" in asyncio.run(run()).text
