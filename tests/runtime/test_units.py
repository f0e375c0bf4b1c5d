"""systemd's units: as they are on file, accepted by systemd itself, and what they start. Edge.

To take over a change that is meant: TENFOLD_WRITE_CASES=1 pytest tests/runtime/test_units.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenfold.errors import PlatformError
from tenfold.runtime.units import units, word
from tenfold.topology.model import Topology
from tests.runtime.fleets import ENVIRONMENT, Fleet
from tests.runtime.platforms import ENVIRONMENT as ENVIRON
from tests.support import free_port, program, wait_for

CASES = Path(__file__).parent.parent / "cases" / "units"
ODD = """/srv/o'dd"%n$HOME\\x;#"""


def topology(path: str = "/srv/tenfold", listen: str = "0.0.0.0:80") -> Topology:
    return Topology.model_validate(
        {
            "platform": {"name": "ledger"},
            "app": {"command": "uvicorn --host {host} --port {port} ledger.app:app", "backends": [{}, {}, {}]},
            "balancer": {"listen": listen},
            "database": {"shards": {"shard_0": {"url": "sqlite:///var/shard_0.db"}}},
            "deploy": {"keeper": "systemd", "writable": ["tmp"]},
            "environments": {
                "production": {
                    "hosts": {
                        "lb": {"address": "10.0.0.4", "roles": ["balancer"], "path": path},
                        "web_1": {"address": "10.0.0.5", "path": path, "user": "ledger"},
                        "web_2": {"address": "10.0.0.6", "path": path},
                    }
                }
            },
        }
    ).model_copy(update={"environment": "production"})


def verify(directory: Path, names: list[str]) -> None:
    """Have systemd read the units as it would on the host; it must have nothing to say."""
    done = subprocess.run(
        [program("systemd-analyze"), "verify", "--man=no", *names],
        cwd=directory, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{directory}:/lib/systemd/system", "SYSTEMD_LOG_LEVEL": "warning"},
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert not said, said
    assert done.returncode == 0


@pytest.mark.parametrize("host", ["lb", "web_1", "web_2"])
@pytest.mark.parametrize("case", ["plain", "odd"])
def test_the_units_are_those_on_file(case: str, host: str) -> None:
    made = units(topology(ODD if case == "odd" else "/srv/tenfold"), host, "/opt/my python/bin/python3")
    directory = CASES / case / host
    if os.environ.get("TENFOLD_WRITE_CASES"):
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in made.items():
            (directory / name).write_text(text)
    assert made == {path.name: path.read_text() for path in directory.iterdir()}


def test_each_host_has_its_own_part_and_a_target_that_holds_it() -> None:
    assert {host: sorted(units(topology(), host, "/p")) for host in ("lb", "web_1", "web_2")} == {
        "lb": ["tenfold-ledger-agent.service", "tenfold-ledger-balancer.service", "tenfold-ledger.target"],
        "web_1": ["tenfold-ledger-backend_0.service", "tenfold-ledger-backend_2.service",
                  "tenfold-ledger-setup.service", "tenfold-ledger.target"],
        "web_2": ["tenfold-ledger-backend_1.service", "tenfold-ledger.target"],
    }  # fmt: skip


@pytest.mark.parametrize("host", ["lb", "web_1"])
@pytest.mark.parametrize("name", ["plain", """o'dd %n $HOME ${PATH} \\x"; #"""])
def test_systemd_accepts_every_unit_wherever_the_platform_lies(tmp_path: Path, name: str, host: str) -> None:
    python = tmp_path / name / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    for listen in ("0.0.0.0:80", "0.0.0.0:8080"):
        made = units(topology(f"{tmp_path}/{name}".replace(" ", ""), listen), host, str(python))
        out = tmp_path / "units"
        out.mkdir(exist_ok=True)
        for unit, text in made.items():
            (out / unit).write_text(text)
        verify(out, list(made))
    # And it would have said so, had it not found the program.
    if name != "plain":
        return
    python.unlink()
    with pytest.raises(AssertionError, match=r"is not executable|No such file"):
        verify(out, list(made))


def test_a_path_with_a_line_break_is_refused() -> None:
    with pytest.raises(PlatformError, match="no unit can hold"):
        units(topology(), "lb", "/opt/py\nExecStartPre=/bin/sh")


@pytest.mark.parametrize(
    ("text", "written"), [("/a/b", "/a/b"), ("a b", '"a b"'), ('"', '"\\""'), ("%n", '"%%n"'), ("\\", '"\\\\"')]
)
def test_a_word_is_quoted_where_systemd_would_read_it_otherwise(text: str, written: str) -> None:
    assert word(text) == written


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path / "fleet")
    yield fleet
    fleet.close()


def test_what_the_units_start_is_the_platform(fleet: Fleet) -> None:
    # No systemd runs here: the lines of ExecStart are run as it would run them, one by one.
    started: list[subprocess.Popen[bytes]] = []
    release = fleet.hosts["web_2"].root / "releases/r1"
    release.mkdir(parents=True)
    (release / "app.py").write_text((release.parent.parent / "app.py").read_text())
    (release.parent.parent / "backends").mkdir()
    (release.parent.parent / "backends/backend_1").symlink_to("../releases/r1")
    try:
        for host in ("web_1", "web_2", "lb"):
            platform = fleet.hosts[host]
            done = platform.tenfold("units", *ENVIRONMENT, "--host", host, "--out", "units", "--python", sys.executable)
            assert done.returncode == 0, done.stderr
            verify(platform.root / "units", [path.name for path in (platform.root / "units").iterdir()])
            for path in sorted((platform.root / "units").glob("*.service"), key=lambda p: "setup" not in p.name):
                argv = path.read_text().partition("ExecStart=")[2].partition("\n")[0].split(" ")
                with (platform.root / "err").open("ab") as err:
                    run = subprocess.Popen(
                        argv, cwd=platform.root, env=ENVIRON, start_new_session=True, stdout=err, stderr=err
                    )
                started.append(run)
                if "setup" in path.name:
                    assert run.wait(30) == 0
        assert (fleet.hosts["web_1"].root / "set_up").exists()
        lb = fleet.hosts["lb"]

        def served() -> bool:
            try:
                return {lb.get("/", fleet.port) for _ in range(6)} == {"backend_0", "backend_1", "backend_2"}
            except OSError:
                return False

        wait_for(served, "all backends answer through nginx", 30)
        assert release in [Path(f"/proc/{run.pid}/cwd").resolve() for run in started if run.poll() is None]
        wait_for((lb.root / "var/run/agent.sock").exists, "the agent has loaded", 30)
        status = lb.tenfold("balancer", "down", "backend_1", "--json")
        assert status.returncode == 0, status.stderr
        assert {lb.get("/", fleet.port) for _ in range(6)} == {"backend_0", "backend_2"}
    finally:
        for run in reversed(started):
            run.terminate()
        for run in started:
            run.wait(20)


def test_units_for_a_host_that_is_not_there_are_refused(fleet: Fleet) -> None:
    done = fleet.hosts["lb"].tenfold("units", *ENVIRONMENT, "--host", "web_3", "--out", "units")
    assert (
        done.returncode == 1 and "there is no host 'web_3'" in done.stderr and "one of: lb web_1 web_2" in done.stderr
    )
    assert free_port() and not (fleet.hosts["lb"].root / "units").exists()
