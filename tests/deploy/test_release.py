"""A release on a host: whole or not at all, not to be changed, and gone when it is taken back. Edge."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tenfold.deploy import onrelease
from tenfold.deploy.onrelease import MARKER, is_complete
from tenfold.deploy.plan import LOCAL, Act
from tenfold.deploy.source import Source
from tenfold.errors import DeployError
from tenfold.topology.model import Topology
from tests.deploy.releases import ACTS, NOW_S, Repository, make, sourced, take_back
from tests.hosts.sshd import Keyring, Sshd, hosts
from tests.support import wait_for

Shared = tuple[Keyring, list[Sshd]]


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """One host, whose directory each test has for itself."""
    with hosts(tmp_path_factory.mktemp("hosts"), 1) as made:
        yield made


@pytest.fixture
def there(machines: Shared, tmp_path: Path) -> Iterator[Callable[..., tuple[Repository, Topology, Path]]]:
    """Makes a repository, the platform with one host, and says where that host has it."""
    keyring, (machine,) = machines
    machine.path = tmp_path / "platform"

    def repository(files: dict[str, str | bytes] | None = None, **deploy: Any) -> tuple[Repository, Topology, Path]:
        made = Repository(tmp_path / "shop")
        made.write(files or {})
        return made, made.on(keyring, machine, **deploy), machine.path

    yield repository
    onrelease.remove(str(machine.path))  # sealed directories: pytest could not, were it not root


def modes(home: Path) -> dict[str, str]:
    return {
        str(path.relative_to(home)): f"{stat.S_IMODE(path.lstat().st_mode):o}"
        for path in sorted(home.rglob("*"))
        if not path.is_symlink()
    }


def made_on(topology: Topology, source: Source, **more: Any) -> list[str]:
    return asyncio.run(make(topology, source, "web_1", **more))


def test_a_release_is_unpacked_sealed_and_marked_last(there: Any) -> None:
    repository, topology, path = there({"bin/run": "#!/bin/sh\n", "docs/é ü.md": "x", "tmp/keep": ""}, writable=["tmp"])
    (repository.root / "bin/run").chmod(0o755)
    (repository.root / "docs/link").symlink_to("../app.py")
    repository.commit()
    source = sourced(topology)
    told = made_on(topology, source)
    home = path / "releases" / source.release
    assert told[0].startswith("6 files")
    assert (home / "app.py").read_text() == "print('hello')\n" and (home / "docs/link").resolve() == home / "app.py"
    assert modes(home) == {
        ".gitignore": "444", MARKER: "444", "app.py": "444", "bin": "555", "bin/run": "555", "docs": "555",
        "docs/é ü.md": "444", "tenfold.toml": "444", "tmp": "755", "tmp/keep": "644",
    }  # fmt: skip
    assert stat.S_IMODE(home.stat().st_mode) == 0o555
    marker = json.loads((home / MARKER).read_text())
    assert marker == {
        "id": source.release, "commit": source.commit, "ref": "HEAD", "at": "2027-01-15T08:00:00Z", "by": source.by,
        "complete": True,
    }  # fmt: skip
    assert made_on(topology, source) == [""] * len(ACTS), "what is complete is not made again"
    asyncio.run(take_back(topology, source, "web_1"))
    assert list((path / "releases").iterdir()) == []
    asyncio.run(take_back(topology, source, "web_1"))


def test_locally_it_is_the_same_in_the_directory_of_the_file(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "shop", shared=["uploads"])
    repository.write({"uploads/first.txt": "1"})
    repository.commit()
    topology = repository.topology()
    source = sourced(topology)
    asyncio.run(make(topology, source))
    home = repository.root / "releases" / source.release
    assert is_complete(str(home)) and (home / "uploads/first.txt").read_text() == "1"
    assert (home / "uploads").readlink() == Path("../../shared/uploads")
    sourced(topology)  # what lies there now is no change of the tree
    asyncio.run(take_back(topology, source))
    assert not home.exists() and (repository.root / "shared/uploads/first.txt").exists()
    onrelease.remove(str(repository.root))


def test_shared_paths_keep_what_was_written_from_release_to_release(there: Any) -> None:
    repository, topology, path = there({"data/uploads/seed.txt": "seed", "conf/app.ini": "a"}, shared=[
        "data/uploads", "conf/app.ini", "empty/one"])  # fmt: skip
    first = sourced(topology)
    assert "first content of data/uploads, conf/app.ini" in made_on(topology, first)[1]
    (path / "shared/data/uploads/user.txt").write_text("of a user")
    repository.write({"data/uploads/seed.txt": "changed", "conf/app.ini": "b"})
    repository.commit()
    second = sourced(topology, now_s=NOW_S + 1)
    made_on(topology, second)
    home = path / "releases" / second.release
    assert (home / "data/uploads/user.txt").read_text() == "of a user"
    assert (home / "data/uploads/seed.txt").read_text() == "seed" and (home / "conf/app.ini").read_text() == "a"
    assert (home / "empty/one").is_dir() and (home / "empty/one").is_symlink()
    assert stat.S_IMODE((path / "shared/data/uploads/user.txt").stat().st_mode) & 0o200, "sealing does not reach it"
    asyncio.run(take_back(topology, second, "web_1"))
    assert (path / "shared/data/uploads/user.txt").read_text() == "of a user"


def test_a_shared_path_may_not_go_through_a_link(there: Any, tmp_path: Path) -> None:
    repository, topology, path = there(shared=["here/uploads"])
    (repository.root / "inside").mkdir()
    repository.write({"inside/x": ""})
    (repository.root / "here").symlink_to("inside")
    repository.commit()
    made_on(topology, sourced(topology))  # a link that stays inside is fine
    (path / "elsewhere").mkdir()
    onrelease_order = {"path": str(path), "release": sourced(topology).release, "shared": ["out/uploads"]}
    home = path / "releases" / sourced(topology).release
    home.chmod(0o755)
    (home / "out").symlink_to(path / "elsewhere")
    with pytest.raises(onrelease.Refused, match="leads out"):
        onrelease.share(onrelease_order)
    assert list((path / "elsewhere").iterdir()) == []


# --- what may not be unpacked, were it to come


def archive(*members: tuple[str, str, bytes | str]) -> memoryview:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as to:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = {"file": tarfile.REGTYPE, "link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE,
                         "dir": tarfile.DIRTYPE, "pipe": tarfile.FIFOTYPE, "device": tarfile.CHRTYPE}[kind]  # fmt: skip
            if isinstance(content, str):
                info.linkname = content
                to.addfile(info)
            else:
                info.size = len(content)
                to.addfile(info, io.BytesIO(content))
    return memoryview(file.getvalue())


LEADING_OUT: list[list[tuple[str, str, bytes | str]]] = [
    [("../out", "file", b"x")],
    [("/tmp/tenfold-out", "file", b"x")],
    [("a/../../out", "file", b"x")],
    [("link", "link", "/etc"), ("link/out", "file", b"x")],
    [("link", "link", "..")],
    # By its text the second stays inside; by way of the first it does not.
    [("p/q/up", "link", "../.."), ("out", "link", "p/q/up/.."), ("out/file", "file", b"x")],
    [("p/q/up", "link", "../.."), ("out", "link", "p/q/up/..")],
    [("hard", "hard", "/etc/passwd")],
    [("pipe", "pipe", b"")],
    [("device", "device", b"")],
    [(MARKER, "file", b'{"complete": true}')],
    [("twice", "file", b"1"), ("twice", "file", b"2")],
]


def test_the_host_itself_refuses_what_leads_out_of_the_release(there: Any) -> None:
    _, topology, path = there()
    for members in LEADING_OUT:
        source = replace(sourced(topology), archive=archive(*members))
        with pytest.raises(DeployError, match="web_1: unpack: ") as why:
            made_on(topology, source, acts=(Act.UNPACK,))
        assert why.value.hint
        assert not (path / "releases" / source.release).exists(), members
        assert not (path / "out").exists() and not (path / "releases/out").exists(), members
        assert not (path.parent / "out").exists() and not Path("/tmp/tenfold-out").exists()
    asyncio.run(take_back(topology, source, "web_1"))
    assert list((path / "releases").iterdir()) == []


def test_half_an_archive_is_no_release(there: Any) -> None:
    _, topology, path = there({"large": os.urandom(200_000)})
    whole = sourced(topology)
    for size in (100_000, 1):
        cut = replace(whole, archive=whole.archive[:size])
        with pytest.raises(DeployError, match="unpack"):
            made_on(topology, cut, acts=(Act.UNPACK,))
        assert not (path / "releases" / whole.release).exists()
    made_on(topology, whole)
    assert is_complete(str(path / "releases" / whole.release))


def test_a_line_cut_between_two_files_is_not_the_end_of_the_archive(tmp_path: Path) -> None:
    whole = archive(("first", "file", b"1"), ("second", "file", b"2"))
    with tarfile.open(fileobj=io.BytesIO(whole)) as opened:
        cut = opened.getmember("second").offset
    release = "20270115T080000Z-0123456789ab"
    order = {"do": "unpack", "path": str(tmp_path), "release": release, "size": whole.nbytes}
    ran = subprocess.run(
        [sys.executable, "-I", onrelease.__file__, json.dumps(order)], input=whole[:cut], capture_output=True
    )
    assert ran.returncode == 3 and "the line was cut" in json.loads(ran.stdout)["refused"]
    assert not (tmp_path / "releases" / release).exists()


# --- installing and building


def wheel(name: str) -> bytes:
    """A package that pip installs without asking anybody."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as to:
        to.writestr(f"{name}.py", "def hello(): return 'hello'\n")
        info = f"{name}-1.0.dist-info"
        to.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        to.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        to.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return file.getvalue()


def test_requirements_are_installed_into_the_release_and_its_python_builds_it(there: Any) -> None:
    _, topology, path = there(
        {"requirements.txt": "--no-index\n./vendor/greeting-1.0-py3-none-any.whl\n",
         "vendor/greeting-1.0-py3-none-any.whl": wheel("greeting")},
        build=['{python} -c "import greeting; open(\'built.txt\', \'w\').write(greeting.hello())"', "python -V"],
    )  # fmt: skip
    source = sourced(topology)
    assert made_on(topology, source)[2] == "requirements.txt"
    home = path / "releases" / source.release
    assert (home / "built.txt").read_text() == "hello"
    ran = subprocess.run([home / ".venv/bin/python", "-c", "import greeting; print(greeting.__file__)"],
                         capture_output=True, text=True)  # fmt: skip
    assert ran.stdout.startswith(str(home / ".venv")), ran.stderr
    assert stat.S_IMODE((home / ".venv/lib").stat().st_mode) == 0o555


def test_an_install_that_fails_shows_its_last_lines_and_marks_nothing(there: Any) -> None:
    _, topology, path = there(install="sh -c 'echo it wants a library >&2; exit 1'")
    source = sourced(topology)
    with pytest.raises(DeployError, match=r"ended with 1\n    it wants a library") as why:
        made_on(topology, source)
    assert "web_1: installing failed: `sh -c echo" in str(why.value)
    assert not is_complete(str(path / "releases" / source.release))


def test_a_build_that_fails_shows_its_last_lines_and_the_next_commands_do_not_run(there: Any) -> None:
    fails = "sh -c 'seq 1 100; echo the reason >&2; exit 7'"
    _, topology, path = there(install="", build=["touch ../first", fails, "touch ../third"])
    source = sourced(topology)
    with pytest.raises(DeployError, match="ended with 7") as why:
        made_on(topology, source)
    shown = str(why.value).splitlines()
    assert shown[-1] == "    the reason" and shown[-2] == "    100" and len(shown) <= 22
    # Nor is the release there any more, which may have filled the disk.
    assert [one.name for one in (path / "releases").iterdir()] == ["first"]


def test_a_program_that_the_files_ask_for_and_the_host_lacks_is_named(there: Any) -> None:
    _, topology, _ = there({"composer.lock": "{}"})
    with pytest.raises(DeployError, match=r"composer.lock asks for (php|composer), which is not there") as why:
        made_on(topology, sourced(topology))
    assert "deploy.install" in why.value.hint


def test_a_command_sees_no_shell_and_not_the_deployers_secrets(there: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOYERS_TOKEN", "hunter2")
    _, topology, path = there(install="touch '$HOME' a;b", build=["cp /proc/self/environ environment"])
    source = sourced(topology)
    made_on(topology, source)
    home = path / "releases" / source.release
    assert (home / "$HOME").exists() and (home / "a;b").exists()
    seen = (home / "environment").read_bytes()
    assert b"hunter2" not in seen and b"TENFOLD_RELEASE=" + source.release.encode() in seen


# --- killed in the middle


KILLED_AT = ACTS if os.environ.get("TENFOLD_DRILLS") else (Act.UNPACK, Act.SEAL)


@pytest.mark.parametrize("act", KILLED_AT)
def test_what_a_killed_deployer_left_is_repaired_by_doing_it_again(there: Any, act: Act) -> None:
    repository, topology, path = there(
        {"uploads/a": "a", **{f"f{n}": os.urandom(2000) for n in range(300)}},
        shared=["uploads"], install="sh -c 'touch installed; sleep 0.2'", build=["sh -c 'touch built; sleep 0.2'"],
    )  # fmt: skip
    source = sourced(topology)
    before = ACTS[: ACTS.index(act)]
    if before:
        made_on(topology, source, acts=before)
    code = (
        "import asyncio, sys; from tests.deploy.releases import *; from tenfold.topology.load import load\n"
        "topology = load(sys.argv[1], 'production'); source = sourced(topology)\n"
        "print('go', flush=True); asyncio.run(make(topology, source, 'web_1', (Act(sys.argv[2]),)))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, repository.root / "tenfold.toml", act.value],
        stdout=subprocess.PIPE,
        cwd=Path.cwd(),
    ) as deployer:
        assert deployer.stdout and deployer.stdout.readline() == b"go\n"
        wait_for(lambda: list(path.glob("releases/*")) or deployer.poll() is not None, "it has begun", 30)
        deployer.send_signal(signal.SIGKILL)
    home = path / "releases" / source.release
    assert is_complete(str(home)) is (act is Act.SEAL and is_complete(str(home))), "complete by nothing but its seal"
    made_on(topology, source)
    assert is_complete(str(home)) and (home / "uploads/a").read_text() == "a" and (home / "f299").exists()
    assert [one.name for one in (path / "releases").iterdir()] == [source.release]


def test_any_part_of_a_release_can_be_taken_back_by_another_process(there: Any) -> None:
    _, topology, path = there(shared=["uploads"], install="touch installed", build=["touch built"])
    source = sourced(topology)
    for count in range(1, len(ACTS) + 1):
        made_on(topology, source, acts=ACTS[:count])
        assert list((path / "releases").iterdir()) != []
        asyncio.run(take_back(topology, source, "web_1"))
        assert list((path / "releases").iterdir()) == []


def test_a_release_that_a_backend_is_led_to_is_not_removed(there: Any) -> None:
    _, topology, path = there()
    source = sourced(topology)
    made_on(topology, source)
    (path / "backends").mkdir()
    (path / "backends/backend_0").symlink_to(f"../releases/{source.release}")
    with pytest.raises(DeployError, match="link still names it"):
        asyncio.run(take_back(topology, source, "web_1"))
    assert is_complete(str(path / "releases" / source.release))


# --- cleaning up


def test_clean_up_keeps_the_newest_and_what_runs_or_ran_and_follows_no_link(there: Any, tmp_path: Path) -> None:
    _, topology, path = there(keep=2)
    sources = []
    for number in range(5):
        sources.append(sourced(topology, now_s=NOW_S + number))
        made_on(topology, sources[-1], acts=(Act.UNPACK, Act.SEAL))
    names = [source.release for source in sources]
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    releases = path / "releases"
    (releases / names[2]).chmod(0o755)
    (releases / names[2] / "link").symlink_to(outside)
    (releases / f"{names[2]}.partial").symlink_to(outside)
    (releases / "20200101T000000Z-0123456789ab").mkdir()  # without a marker: killed in the middle
    (releases / "of somebody else").mkdir()
    (path / "backends").mkdir()
    (path / "backends/backend_1").symlink_to(f"../releases/{names[0]}")
    told = made_on(topology, sources[4], acts=(Act.CLEANUP,), before={"backend_0": names[1], "backend_1": None})
    assert sorted(one.name for one in releases.iterdir()) == sorted(
        [names[0], names[1], names[3], names[4], "of somebody else"]
    )
    assert (outside / "precious").exists()
    assert told == ["3 removed, 4 stay"]


def test_a_full_disk_is_named_and_leaves_no_release(there: Any, tmp_path: Path) -> None:
    _, topology, path = there({"large": os.urandom(1_000_000)})
    path.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", path]).returncode:
        pytest.skip("only root may mount a small file system")
    try:
        source = sourced(topology)
        with pytest.raises(DeployError, match="No space left on device") as why:
            made_on(topology, source)
        assert "df -h" in why.value.hint
        # At once: the journal, and the databases, may be on the same disk.
        assert list((path / "releases").iterdir()) == []
        asyncio.run(take_back(topology, source, "web_1"))
    finally:
        subprocess.run(["umount", path], check=True)


def test_a_name_that_is_no_release_touches_nothing(tmp_path: Path) -> None:
    (tmp_path / "releases").mkdir()
    (tmp_path / "precious").mkdir()
    for name in ("../precious", "..", "", "x", "20270115T080000Z-0123456789ab/../../precious"):
        for act in (onrelease.drop, onrelease.unpack, onrelease.seal):
            with pytest.raises(onrelease.Refused, match="not the name"):
                act({"path": str(tmp_path), "release": name, "size": 0, "writable": [], "marker": {}})
    assert (tmp_path / "precious").is_dir() and LOCAL == "local"
