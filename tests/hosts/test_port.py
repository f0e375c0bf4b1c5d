"""The port through which a machine is reached keeps small, and is the same here and there. Edge."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tenfold.errors import HostError
from tenfold.hosts.local import LocalHost
from tenfold.hosts.port import MOST_OUTPUT, Host, Ran
from tenfold.hosts.ssh import SshHost

On = Callable[[Callable[[Host], Awaitable[Any]]], Any]


def test_a_host_has_five_methods_and_a_sixth_would_be_a_decision() -> None:
    methods = {name for name, _ in inspect.getmembers(Host, inspect.isfunction) if not name.startswith("_")}
    assert methods == {"run", "write", "read", "ask", "close"}
    for kind in (LocalHost, SshHost):
        public = {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}
        assert public == methods, kind


def test_how_a_command_ends_is_an_answer(on: On) -> None:
    async def several(host: Host) -> list[Ran]:
        return [
            await host.run(["echo", "hello"]),
            await host.run(["sh", "-c", "echo bad >&2; exit 3"]),
            await host.run(["there-is-no-such-program"]),
            await host.run(["sh", "-c", "kill -9 $$"]),
            await host.run(["cat"], input=b"what was sent"),
        ]

    well, bad, missing, killed, fed = on(several)
    assert (well.code, well.out, well.err) == (0, b"hello\n", b"")
    assert (bad.code, bad.out, bad.err) == (3, b"", b"bad\n")
    assert missing.code == 127
    assert killed.code == 128 + 9
    assert (fed.code, fed.out) == (0, b"what was sent")


def test_a_command_without_input_finds_its_input_at_its_end(on: On) -> None:
    assert on(lambda host: host.run(["cat"])).out == b""


def test_of_megabytes_of_output_the_last_are_kept(on: On) -> None:
    ran = on(lambda host: host.run(["seq", "3000000"]))
    assert ran.code == 0 and len(ran.out) == MOST_OUTPUT and ran.out.endswith(b"\n3000000\n")


def test_a_large_input_arrives_whole(on: On) -> None:
    content = bytes(range(256)) * 100_000
    ran = on(lambda host: host.run(["sha256sum"], input=memoryview(content)))
    import hashlib

    assert ran.out.split()[0].decode() == hashlib.sha256(content).hexdigest()


def test_a_command_that_leaves_its_input_unread_is_no_trouble(on: On) -> None:
    ran = on(lambda host: host.run(["head", "-c", "3"], input=b"x" * 5_000_000))
    assert (ran.code, ran.out) == (0, b"xxx")


def test_a_file_is_written_whole_with_its_mode_and_read_back(on: On, tmp_path: Path) -> None:
    content = b"\x00\xff not text\n" * 300_000
    path = str(tmp_path / "deep er" / "it's" / "file")

    async def there_and_back(host: Host) -> bytes | None:
        await host.write(path, b"before", mode=0o600)
        await host.write(path, content, mode=0o640)
        return await host.read(path, limit_bytes=len(content))

    assert on(there_and_back) == content
    assert Path(path).stat().st_mode & 0o777 == 0o640
    assert [p.name for p in Path(path).parent.iterdir()] == ["file"], "nothing is left beside it"


def test_an_empty_file_is_a_file_and_no_file_is_none(on: On, tmp_path: Path) -> None:
    async def both(host: Host) -> tuple[bytes | None, ...]:
        await host.write(str(tmp_path / "empty"), b"")
        return (
            await host.read(str(tmp_path / "empty")),
            await host.read(str(tmp_path / "none")),
            await host.read(str(tmp_path / "empty" / "below")),
        )

    assert on(both) == (b"", None, None)


@pytest.mark.parametrize("path", ["relative", "", "/tmp/", "/proc/version/x"])
def test_what_cannot_be_written_is_refused(on: On, path: str) -> None:
    with pytest.raises(HostError) as refused:
        on(lambda host: host.write(path, b"x"))
    assert refused.value.hint and not refused.value.retryable


def test_a_directory_is_not_replaced_by_a_file(on: On, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="Is a directory"):
        on(lambda host: host.write(str(tmp_path), b"x"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_beyond_the_limit_is_refused_and_not_cut(on: On, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    with pytest.raises(HostError, match="larger than 4 bytes"):
        on(lambda host: host.read(str(tmp_path / "file"), limit_bytes=4))
    assert on(lambda host: host.read(str(tmp_path / "file"), limit_bytes=5)) == b"12345"
