"""A deploy goes by one tenfold.toml: a host that has another one stops it, and is told which sections differ. Edge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tenfold.deploy.order import Kind
from tenfold.deploy.samefile import meaning, of_file
from tenfold.errors import DeployError
from tests.deploy.releases import Repository
from tests.deploy.test_preflight import Machines, look
from tests.hosts.sshd import hosts

OURS = """
[app]
command = "true"   # a comment
backends = [{ host = "web_1" }, { host = "web_2" }]
start_timeout_s = 1
[database.shards]
shard_0 = { url = "sqlite:///var/shard_0.db" }
shard_1 = { url = "sqlite:///var/shard_1.db" }
[monitor]
certificates = []
"""


def told(theirs: str | bytes | None) -> tuple[bool, str]:
    content = theirs.encode() if isinstance(theirs, str) else theirs
    found = of_file("web_1", "/srv/shop/tenfold.toml", "tenfold up", meaning(OURS.encode()) or {}, content)
    return found.well, found.measured


@pytest.mark.parametrize(
    "theirs",
    [
        OURS,
        OURS.replace("   # a comment", "").replace("\n", "\r\n"),
        "\ufeff" + OURS,
        OURS.replace("_s = 1", "_s = 1.0"),
        "[monitor]\ncertificates = [\n]\n" + OURS.replace("[monitor]\ncertificates = []\n", ""),
        OURS.replace('command = "true"   # a comment\n', "").replace("[database", "command = 'true'\n[database"),
        OURS.replace('{ host = "web_1" }', '{host="web_1"}'),
    ],
)
def test_what_is_only_written_in_another_way_is_the_same(theirs: str) -> None:
    assert told(theirs) == (True, "is the deployer's")


@pytest.mark.parametrize(
    ("theirs", "measured"),
    [
        (OURS.replace("true", "secret-words"), "differs in [app]"),
        (OURS.replace("_s = 1", "_s = true"), "differs in [app]"),
        (OURS.replace("web_1", "x").replace("web_2", "web_1").replace("x", "web_2"), "differs in [app]"),
        (OURS.replace("shard_0 =", "shard_2 =").replace("certificates = []", ""), "differs in [database], [monitor]"),
        (OURS.replace("shard_0", "x").replace("shard_1", "shard_0").replace("x", "shard_1"), "differs in [database]"),
        (OURS.replace("[monitor]\ncertificates = []\n", "[backup]\n"), "differs in [monitor], [backup]"),
        (f'"{"s3cret" * 20}" = 1\n' + OURS, "differs in a section that tenfold.toml has not"),
        ("", "differs in [app], [database], [monitor]"),
        ("[app", "is no TOML"),
        (b"\xff", "is no TOML"),
        ("a = " + "[" * 100_000, "is no TOML"),
        (f"a = {'9' * 5000}", "is no TOML"),
        (None, "is missing at /srv/shop/tenfold.toml"),
    ],
)  # fmt: skip
def test_what_means_something_else_is_named_by_section_and_never_by_value(
    theirs: str | bytes | None, measured: str
) -> None:
    assert told(theirs) == (False, measured)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """One host."""
    with hosts(tmp_path_factory.mktemp("hosts"), 1) as made:
        yield made


def test_a_host_with_another_file_stops_a_deploy_and_no_roll_back(machines: Machines, tmp_path: Path) -> None:
    keyring, (machine,) = machines
    topology = Repository(tmp_path / "shop").on(keyring, machine, min_disk_mb=1)
    ours = Path(topology.file).read_bytes()
    assert look(topology, file=b"# mine\n" + ours)[1].count("tenfold.toml is the deployer's") == 1
    for there, said in (
        (ours + b'[monitor]\ncertificates = ["hunter2.pem"]\n', "web_1: tenfold.toml differs in [monitor]"),
        (None, f"web_1: tenfold.toml is missing at {machine.path}/tenfold.toml"),
        (ours + b"# " + b"x" * (2 << 20), "web_1: tenfold.toml "),
    ):
        with pytest.raises(DeployError) as why:
            look(topology, file=there)
        assert said in str(why.value) and "hunter2" not in str(why.value) + why.value.hint
        assert str(why.value).count("\n") == 1, "nothing else is wrong"
    with pytest.raises(DeployError) as why:
        look(topology, file=None)
    assert f"copy the deployer's to {machine.path}/tenfold.toml on web_1" in why.value.hint
    assert "tenfold up --env production --host web_1" in why.value.hint
    look(topology, file=None, kind=Kind.ROLLBACK)
