"""Whatever a command holds arrives as it is, under any shell, and nothing of it shows. Edge."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tenfold.hosts.local import LocalHost
from tenfold.hosts.port import Host
from tenfold.hosts.shell import LOGIN_SHELL, MARK, Output, opening, quote, shown
from tests.hosts.conftest import reached
from tests.hosts.sshd import Keyring, Sshd

On = Callable[[Callable[[Host], Awaitable[Any]]], Any]
# Any bytes but NUL, as Python shows names that are no UTF-8.
ANY = st.binary(max_size=40).map(lambda b: b.replace(b"\0", b"\x81").decode("utf-8", "surrogateescape"))
SHELLISH = st.text(alphabet=" '\"\\\n\r\t$`!*?[]{}()<>|&;#~=%^-é\x7f\x1b", max_size=30)
SHOW = 'for a in "$@"; do printf "%s\\0" "$a"; done'


def shown_by(arguments: list[str]) -> bytes:
    return b"".join(a.encode("utf-8", "surrogateescape") + b"\0" for a in arguments)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(st.lists(ANY | SHELLISH, max_size=5), min_size=1, max_size=6))
def test_arguments_arrive_as_they_are(machines: tuple[Keyring, list[Sshd]], calls: list[list[str]]) -> None:
    keyring, (machine,) = machines

    async def send() -> None:
        async with reached(keyring, machine) as there:
            for arguments in calls:
                for host in (there, LocalHost()):
                    ran = await host.run(["sh", "-c", SHOW, "show", *arguments])
                    assert ran.out == shown_by(arguments), ran.err

    asyncio.run(send())


@settings(max_examples=25, deadline=None)
@given(arguments=st.lists(ANY | SHELLISH, max_size=5), values=st.lists(ANY | SHELLISH, max_size=3))
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_line_says_the_same_to_every_shell(shell: str, arguments: list[str], values: list[str]) -> None:
    # bash uses \x01 for itself, and loses one that follows a byte which begins no character; dash does not.
    assume(shell != "bash" or "\x01" not in "".join([*arguments, *values]))
    environment = {f"V{number}": value for number, value in enumerate(values)}
    seen = " ".join(f'"$V{number}"' for number in range(len(values)))
    argv = ["sh", "-c", f'set -- {seen} "$@"; {SHOW}', "show", *arguments]
    boot = LOGIN_SHELL.replace("/bin/sh", shell)
    for feeds in (False, True):
        line = opening(argv, None, environment, feeds)
        assert line.count(b"\n") == 1 and line.endswith(b"\n"), "a line break would be the end of what is read"
        # Without an input, the end of ours is the end of the command: it is told only when it is over.
        with subprocess.Popen(
            [shell, "-c", boot], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        ) as process:
            assert process.stdin and process.stdout
            process.stdin.write(line)
            process.stdin.flush()
            said = process.stdout.read()
        mark = MARK.match(said)
        assert mark and said[mark.end() :] == shown_by([*values, *arguments])
        assert process.returncode == 0


@pytest.mark.parametrize("bad", ["with\0nul", "\0"])
def test_a_nul_is_refused_without_being_shown(bad: str) -> None:
    with pytest.raises(ValueError, match="NUL") as refused:
        opening(["true"], None, {"SECRET": "hunter2" + bad}, feeds=False)
    assert "hunter2" not in str(refused.value)
    with pytest.raises(ValueError, match="NUL"):
        quote(bad)


@pytest.mark.parametrize(
    ("argv", "cwd", "environment"),
    [
        ([], None, {}),
        ([""], None, {}),
        (["-c"], None, {}),
        ("ls -l", None, {}),
        (["ls"], "relative", {}),
        (["ls"], "", {}),
        (["ls"], None, {"A B": ""}),
        (["ls"], None, {"1A": ""}),
        (["ls"], None, {"A;id": ""}),
        (["ls"], None, {"": ""}),
        (["ls"], None, {"A\n": ""}),
    ],
)
def test_what_is_no_command_is_refused_before_anything_is_sent(argv: Any, cwd: Any, environment: Any) -> None:
    with pytest.raises(ValueError, match=r"program|absolute|variable"):
        opening(argv, cwd, environment, feeds=False)


def test_a_program_is_run_and_not_the_shells_own_word_of_that_name(on: On) -> None:
    assert on(lambda host: host.run(["echo", "--version"])).out.startswith(b"echo (GNU"), "the shell's prints --version"


def test_a_directory_that_is_not_there_ends_it_before_it_begins(on: On) -> None:
    ran = on(lambda host: host.run(["touch", "/tmp/should-not-be"], cwd="/no/such/directory"))
    assert ran.code == 126 and b"/no/such/directory" in ran.err


def test_the_directory_and_the_environment_are_as_asked(on: On, tmp_path: Path) -> None:
    odd = tmp_path / "a 'b\n c"
    odd.mkdir()
    secret = 'it\'s "$HOME" `id`\n!!\\'
    ran = on(
        lambda host: host.run(["sh", "-c", 'pwd; printf %s "$SECRET"'], cwd=str(odd), environment={"SECRET": secret})
    )
    assert ran.out.decode() == f"{odd}\n{secret}"


def test_no_word_of_the_environment_is_seen_by_ps_while_it_runs(on: On) -> None:
    async def look(host: Host) -> bytes:
        ran = await host.run(
            ["sh", "-c", 'ps axww -o args; test "$TOKEN" = hunter2-the-secret'],
            environment={"TOKEN": "hunter2-the-secret"},
        )
        assert ran.code == 0
        return bytes(ran.out)

    listed = on(look)
    assert b"ps axww" in listed and b"tenfold-" in listed, "the command and its shell are in the list"
    assert listed.replace(b'test "$TOKEN" = hunter2-the-secret', b"").count(b"hunter2-the-secret") == 0


def test_what_a_log_in_prints_is_no_part_of_the_answer() -> None:
    output = Output(100)
    for piece in (b"Welcome to web_1!\ntenfold-re", b"ady 42", b"\nwhat it", b" says\n"):
        output.out(piece)
    assert output.group == 42 and output.both() == (b"what it says\n", b"")


def test_a_greeting_without_end_takes_no_memory() -> None:
    output = Output(1000)
    for _ in range(1000):
        output.out(b"x" * 1000)
    assert output.group is None and len(output.both()[0]) <= 1100
    output.out(b"tenfold-ready 7\nhello")
    assert output.both()[0] == b"hello"


def test_a_message_shows_a_command_in_one_short_line() -> None:
    assert shown(["sh", "-c", "a\n\n   b"]) == "sh -c a b"
    assert len(shown(["x" * 1000])) == 120
    assert shown(["\udc81"]) == "\\udc81"
