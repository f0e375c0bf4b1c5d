"""Before anything is changed, everything that is wrong is told at once, with its figures and remedies. Edge."""

from __future__ import annotations

import asyncio
import datetime
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import trustme

from tenfold.deploy.fitness import Finding, Needs, judged, of_backup, of_certificate
from tenfold.deploy.fleet import Fleet
from tenfold.deploy.order import Kind
from tenfold.deploy.plan import Act, Item
from tenfold.deploy.preflight import Inspection, Preflight
from tenfold.errors import DeployError
from tenfold.runtime.agent_socket import Door, listen
from tenfold.topology.model import Topology
from tests.deploy.releases import Repository, order_of, sourced
from tests.hosts.sshd import Keyring, Sshd, hosts
from tests.support import free_port

Machines = tuple[Keyring, list[Sshd]]
WELL: dict[str, Any] = {
    "free_bytes": 2 << 30, "free_inodes": 100_000, "memory_bytes": 1 << 30, "files": 65_536, "writable": "",
    "missing": [], "skew_s": 0.0, "version": "1.2.3",
    "programs": [{"name": "nginx", "kind": "balancer", "state": "up"}],
}  # fmt: skip
NEEDS = Needs("/srv/tenfold", 1024, 128, 10.0, {"npm": "package-lock.json"}, version="1.2.3")


@pytest.mark.parametrize(
    ("what", "seen", "measured"),
    [
        ("free disk", {"free_bytes": (1 << 30) - 1}, "1024 MiB"),
        ("free inodes", {"free_inodes": 9_999}, "9999"),
        ("free memory", {"memory_bytes": (128 << 20) - 1}, "128 MiB"),
        ("open files", {"files": 4095}, "4095"),
        ("directory", {"writable": "/srv/tenfold: Permission denied"}, "Permission denied"),
        ("clock", {"skew_s": -5.1}, "-5.1 s off ours"),
        ("clock", {"skew_s": 5.1}, "+5.1 s off ours"),
        ("programs", {"missing": ["npm"]}, "npm is not there (package-lock.json)"),
        ("Tenfold", {"version": "1.2.2"}, "1.2.2"),
        ("supervisor", {"programs": None}, "does not answer"),
        (
            "services",
            {"programs": [{"name": "nginx", "kind": "balancer", "state": "backing off"}]},
            "nginx is backing off",
        ),
    ],
)
def test_each_limit_stops_a_deploy_just_below_it_and_says_so(what: str, seen: Any, measured: str) -> None:
    found = list(judged("web_1", {**WELL, **seen}, NEEDS))
    (wrong,) = [one for one in found if not one.well]
    assert wrong.what == what and measured in wrong.line() and wrong.remedy and wrong.host == "web_1"


@pytest.mark.parametrize(
    "seen",
    [
        {}, {"free_bytes": 1 << 30}, {"free_inodes": 10_000}, {"free_inodes": None}, {"memory_bytes": 128 << 20},
        {"memory_bytes": None}, {"files": 4096}, {"files": -1}, {"skew_s": 5.0}, {"version": None},
        # What is down may be what the deploy is to mend.
        {"programs": [{"name": "backend_0", "kind": "backend", "state": "backing off"}]},
    ],
)  # fmt: skip
def test_what_is_just_enough_is_enough(seen: Any) -> None:
    assert [one for one in judged("web_1", {**WELL, **seen}, NEEDS) if not one.well] == []


def test_a_large_release_asks_for_more_room_than_the_file_does() -> None:
    needs = replace(NEEDS, release_mb=1000.0)
    assert [one.what for one in judged("web_1", WELL, needs) if not one.well] == ["free disk"]


def test_the_age_of_the_backup_counts_where_it_is_asked() -> None:
    def well(age_s: float | None, limit_h: float | None) -> list[bool]:
        return [one.well for one in of_backup(age_s, limit_h)]

    assert well(None, None) == [] and well(1e9, None) == []
    assert well(None, 24) == [False] and well(24 * 3600, 24) == [True] and well(24 * 3600 + 1, 24) == [False]


def test_a_certificate_near_its_end_counts() -> None:
    assert of_certificate("a", 7.0, 7).well and not of_certificate("a", 6.9, 7).well
    assert "ended 3 days ago" in of_certificate("a", -3.0, 7).line()
    assert not of_certificate("a", None, 7, "is not there").well


# --- on real hosts


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """One host."""
    with hosts(tmp_path_factory.mktemp("hosts"), 1) as made:
        yield made


@asynccontextmanager
async def supervised(path: Path, programs: Sequence[Mapping[str, Any]]) -> AsyncIterator[None]:
    """A supervisor's socket that says that these programs run."""

    async def status(_: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"pid": os.getpid(), "host": "web_1", "programs": programs}

    (path / "var/run").mkdir(parents=True, exist_ok=True)
    ear = listen(path / "var/run/up.sock")
    serving = asyncio.create_task(Door({"status": status}, lambda name: 0, lambda batch: None).serve(ear))
    try:
        yield
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        ear.close()


Look = Callable[..., tuple[list[Finding], str]]


def look(
    topology: Topology,
    kind: Kind = Kind.DEPLOY,
    cold: bool = False,
    age_s: float | None = None,
    served: bool = True,
    file: bytes | None = b"",
) -> tuple[list[Finding], str]:
    """(every finding, what the step of the first host told). Raises what the step raises.

    file  tenfold.toml of the host; b"": the deployer's; None: it has none
    """

    database = Path(topology.root) / "var/shard_0.db"
    database.parent.mkdir(exist_ok=True)
    database.touch(exist_ok=True)
    place = Path(topology.hosts["web_1"].path)
    if place.is_dir():
        (place / "tenfold.toml").unlink(missing_ok=True)
        if file is not None:
            (place / "tenfold.toml").write_bytes(file or Path(topology.file).read_bytes())

    async def inspect() -> tuple[list[Finding], str]:
        fleet = Fleet(topology)
        order = replace(order_of(sourced(topology)), kind=kind, cold=cold)
        inspection = Inspection(fleet, order, sourced(topology), lambda: age_s)
        step = Preflight(Item("web_1.preflight", Act.PREFLIGHT, "web_1", "", "web_1"), order, inspection)
        try:
            if cold or not served:
                await step.apply()
            else:
                programs = [{"name": "nginx", "kind": "balancer", "state": "up"}]
                async with supervised(Path(topology.hosts["web_1"].path), programs):
                    await step.apply()
            return (await inspection.findings())[0], step.told
        finally:
            await fleet.close()

    return asyncio.run(inspect())


def test_a_host_that_is_fit_says_what_was_measured(machines: Machines, tmp_path: Path) -> None:
    keyring, (machine,) = machines
    topology = Repository(tmp_path / "shop").on(keyring, machine, min_disk_mb=1)
    found, told = look(topology)
    assert all(one.well for one in found)
    assert {"free disk", "free memory", "open files", "directory", "clock", "Tenfold", "services", "tenfold.toml"} <= {
        one.what for one in found
    }
    assert f"Tenfold {version('tenfold')}" in told and "1 programs are up" in told and "looked at in" in told
    assert sorted(one.name for one in machine.path.iterdir()) == ["tenfold.toml", "var"], "nothing is left behind"


def test_everything_that_is_wrong_is_told_at_once(machines: Machines, tmp_path: Path) -> None:
    keyring, (machine,) = machines
    repository = Repository(tmp_path / "shop")
    repository.write({"composer.lock": "{}"})
    repository.on(keyring, machine, min_disk_mb=10_000_000, min_memory_mb=10_000_000, backup_age_h=24.0)
    text = (repository.root / "tenfold.toml").read_text()
    (repository.root / "tenfold.toml").write_text(text + '[monitor]\ncertificates = ["none.pem", "127.0.0.1:1"]\n')
    repository.commit()
    with pytest.raises(DeployError) as why:
        look(repository.topology("production"), age_s=90_000.0, served=False)
    said = str(why.value)
    for wrong in (
        "free disk", "free memory", "composer is not there (composer.lock)", "supervisor does not answer",
        "none.pem is not there", "127.0.0.1:1", "the last verified one is 25.0 h old",
    ):  # fmt: skip
        assert wrong in said, said
    for remedy in ("deploy.min_disk_mb", "tenfold backup", "tenfold up", "renew it"):
        assert remedy in why.value.hint


def test_a_shard_that_does_not_answer_stops_a_deploy_and_a_cache_is_only_told(
    machines: Machines, tmp_path: Path
) -> None:
    keyring, (machine,) = machines
    repository = Repository(tmp_path / "shop")
    repository.on(keyring, machine, min_disk_mb=1)
    with (tmp_path / "shop/tenfold.toml").open("a") as file:
        file.write(f'[cache]\nurl = "redis://127.0.0.1:{free_port()}/0"\n')
    repository.commit()
    assert "Redis does NOT answer (ConnectionError)" in look(repository.topology("production"))[1]
    with (tmp_path / "shop/tenfold.toml").open("a") as file:
        file.write('[database.shards.shard_1]\nurl = "sqlite:///gone/shard_1.db"\n')
    repository.commit()
    with pytest.raises(DeployError, match=r"database: shard_1 unable to open database file") as refused:
        look(repository.topology("production"))
    assert "database: " in refused.value.hint
    look(repository.topology("production"), Kind.ROLLBACK)


def test_a_roll_back_waits_for_no_disk_and_no_backup_but_for_the_host(machines: Machines, tmp_path: Path) -> None:
    keyring, (machine,) = machines
    topology = Repository(tmp_path / "shop").on(keyring, machine, min_disk_mb=10_000_000, backup_age_h=1.0)
    look(topology, kind=Kind.ROLLBACK)
    with pytest.raises(DeployError, match="supervisor does not answer"):
        look(topology, kind=Kind.ROLLBACK, served=False)


def test_where_nothing_runs_yet_no_supervisor_is_asked(machines: Machines, tmp_path: Path) -> None:
    keyring, (machine,) = machines
    (machine.home / ".local/bin").mkdir(parents=True, exist_ok=True)
    topology = Repository(tmp_path / "shop").on(keyring, machine, min_disk_mb=1)
    with pytest.raises(DeployError) as why:
        look(topology, cold=True)
    assert "Tenfold is not there" in str(why.value) and "pip install tenfold==" in why.value.hint
    assert "supervisor" not in str(why.value)


def test_a_host_that_cannot_be_reached_is_one_of_the_findings(tmp_path: Path) -> None:
    with hosts(tmp_path, 1) as (keyring, (machine,)):
        topology = Repository(tmp_path / "shop").on(keyring, machine)
        machine.stop()
        with pytest.raises(DeployError, match="Connection refused"):
            look(topology, served=False)


def test_a_directory_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    with hosts(tmp_path, 1) as (keyring, (machine,)):
        machine.path.rmdir()
        machine.path.write_text("a file")
        topology = Repository(tmp_path / "shop").on(keyring, machine, min_disk_mb=1)
        with pytest.raises(DeployError, match=r"directory .*File exists") as why:
            look(topology, served=False)
        assert f"mkdir -p {machine.path}" in why.value.hint


def test_a_disk_without_room_is_told_with_its_figures(tmp_path: Path) -> None:
    with hosts(tmp_path, 1) as (keyring, (machine,)):
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=100", "tmpfs", machine.path])
        if made.returncode:
            pytest.skip("only root may mount a small file system")
        try:
            topology = Repository(tmp_path / "shop").on(keyring, machine)
            with pytest.raises(DeployError) as why:
                look(topology, served=False)
            assert "free disk 1 MiB (needed: 1.0 GiB)" in str(why.value)
            assert "free inodes 9" in str(why.value) and "(needed: 10000)" in str(why.value)
        finally:
            subprocess.run(["umount", machine.path], check=True)


def test_certificates_are_read_from_files_of_the_balancer_and_from_servers(machines: Machines, tmp_path: Path) -> None:
    keyring, (machine,) = machines
    authority = trustme.CA()
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3)
    authority.issue_cert("shop.example", not_after=soon).cert_chain_pems[0].write_to_path(machine.path / "near.pem")
    authority.issue_cert("shop.example").cert_chain_pems[0].write_to_path(machine.path / "far.pem")
    repository = Repository(tmp_path / "shop")
    repository.on(keyring, machine, min_disk_mb=1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        names = ["near.pem", str(machine.path / "far.pem"), f"127.0.0.1:{silent.getsockname()[1]}"]
        text = (repository.root / "tenfold.toml").read_text()
        (repository.root / "tenfold.toml").write_text(f"{text}[monitor]\ncertificates = {names}\n")
        repository.commit()
        with pytest.raises(DeployError) as why:
            look(repository.topology("production"))
    said = str(why.value)
    assert "near.pem ends in 3 days (needed: 7 days)" in said and "far.pem" not in said
    assert "refuses connections" in said
