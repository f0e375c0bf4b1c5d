"""`tenfold backup`, as a person and as a program meet it. Edge."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tenfold.cli.main import main
from tests.cli.conftest import Command
from tests.sharding.engine.sites import Site


@pytest.fixture
def keyed(own_ledger: Site, tenfold: Command, tmp_path: Path) -> tuple[Site, str]:
    """A ledger with a recipient, and the file of its key."""
    identity = str(tmp_path / "key")
    code, out, _ = tenfold(own_ledger, "backup", "keygen", "--out", identity, "--json")
    assert code == 0
    own_ledger.file.write_text(own_ledger.file.read_text() + f"\n[backup]\n{json.loads(out)['line']}\n")
    return own_ledger, identity


def only(tenfold: Command, site: Site) -> str:
    _, out, _ = tenfold(site, "backup", "list", "--json")
    (one,) = json.loads(out)["backups"]
    return str(one["id"])


def test_without_a_recipient_nothing_is_written_and_keygen_is_named(own_ledger: Site, tenfold: Command) -> None:
    code, out, err = tenfold(own_ledger, "backup", "create")
    assert (code, out) == (1, "") and "backup.recipient is missing" in err and "tenfold backup keygen" in err
    assert tenfold(own_ledger, "backup", "list")[1].startswith("there is no backup")


def test_keygen_puts_the_key_out_of_the_platforms_directory(
    own_ledger: Site, tenfold: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    code, out, err = tenfold(own_ledger, "backup", "keygen")
    path = tmp_path / "config" / "tenfold" / "keys" / "tiny.agekey"
    assert (code, err) == (0, "") and f"the private key is in {path}" in out and 'recipient = "age1' in out
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and "AGE-SECRET-KEY-1" in path.read_text()
    assert "SECRET" not in out
    code, _, err = tenfold(own_ledger, "backup", "keygen")
    assert code == 1 and "is there already" in err
    code, _, err = tenfold(own_ledger, "backup", "keygen", "--out", str(own_ledger.root / "key"))
    assert code == 0 and "lies beside what it protects" in err


def test_a_person_makes_proves_lists_and_restores_a_backup(
    keyed: tuple[Site, str], tenfold: Command, tmp_path: Path
) -> None:
    site, identity = keyed
    code, out, err = tenfold(site, "backup", "create")
    assert (code, err) == (0, "") and "writes waited" in out and "it counts once it is verified" in out
    name = only(tenfold, site)
    assert "one moment, not verified" in tenfold(site, "backup", "list")[1]
    code, out, err = tenfold(site, "backup", "verify", "--identity", identity)
    assert (code, err) == (0, "") and f"{name} is good" in out
    assert "verified 20" in tenfold(site, "backup", "list")[1]
    code, out, err = tenfold(site, "backup", "restore", name, "-i", identity, "--into", str(tmp_path / "there"))
    assert (code, err) == (0, "") and f"is back in {tmp_path / 'there'}" in out
    there = tmp_path / "there" / "tenfold.toml"
    assert main(["shard", "status", "--file", str(there), "--quiet"]) == 0
    assert main(["shard", "verify", "--placement", "--file", str(there), "--quiet"]) == 0
    assert not list((tmp_path / "there").glob(".tenfold*"))
    code, _, err = tenfold(site, "backup", "restore", name, "-i", identity, "--into", str(tmp_path / "there"))
    assert code == 1 and "is not empty" in err
    other = Site(tmp_path / "other")
    code, out, err = tenfold(site, "backup", "restore", name, "-i", identity, "--to", str(other.file))
    assert (code, err) == (0, "") and f"is back in {other.root}" in out
    with other.connect() as db:
        assert db.execute("SELECT COUNT(*) FROM users").scalar() == 3


def test_a_restore_over_the_platform_needs_its_name_and_yes_is_not_enough(
    keyed: tuple[Site, str], tenfold: Command
) -> None:
    site, identity = keyed
    tenfold(site, "backup", "create")
    name = only(tenfold, site)
    site.look("shard_0", "DELETE FROM tf_router")
    for arguments in ([], ["--yes"], ["--json", "--yes"], ["--yes-i-mean", "other"]):
        code, out, err = tenfold(site, "backup", "restore", name, "-i", identity, *arguments)
        assert code == 1 and "would lose what is there now" in out + err
    code, out, _ = tenfold(site, "backup", "restore", name, "-i", identity, "--yes-i-mean", "tiny")
    assert code == 0 and f"{name} is back" in out


def test_nothing_is_restored_while_up_runs(keyed: tuple[Site, str], tenfold: Command) -> None:
    from tenfold.runtime.place import Lock, Place

    site, identity = keyed
    tenfold(site, "backup", "create")
    place = Place.of(site.file)
    place.run.mkdir(parents=True)
    lock = Lock(place.lock)
    assert lock.take()
    try:
        code, _, err = tenfold(site, "backup", "restore", "latest", "-i", identity, "--yes-i-mean", "tiny")
    finally:
        lock.release()
    assert code == 1 and "`tenfold up` runs" in err and "tenfold down" in err


def test_a_program_is_told_in_json(keyed: tuple[Site, str], tenfold: Command) -> None:
    site, identity = keyed
    _, out, err = tenfold(site, "backup", "create", "--json")
    events = [json.loads(line) for line in out.splitlines()]
    assert err == "" and events[-1]["event"] == "end" and events[-1]["consistent"] and events[-1]["verified"] is None
    assert {"phase", "barrier"} <= {event["event"] for event in events}
    _, out, _ = tenfold(site, "backup", "verify", "--json", "-i", identity)
    end = json.loads(out.splitlines()[-1])
    assert end["rows"] == events[-1]["rows"] and end["how"] == "SQLite files of its own"
    code, out, _ = tenfold(site, "backup", "verify", "nothing", "--json", "-i", identity)
    assert code == 1 and json.loads(out)["error"].startswith('there is no backup "nothing"')
    _, out, _ = tenfold(site, "backup", "prune", "--dry-run", "--json")
    assert json.loads(out)["kept"] == {events[-1]["id"]: ["day", "week", "month", "newest", "last verified"]}


def test_what_is_asked_the_wrong_way_is_wrong_usage(keyed: tuple[Site, str], tenfold: Command, tmp_path: Path) -> None:
    site, identity = keyed
    assert tenfold(site, "backup", "verify")[0] == 2
    both = ("--into", str(tmp_path / "a"), "--to", str(tmp_path / "b"))
    assert tenfold(site, "backup", "restore", "latest", "-i", identity, *both)[0] == 2
    code, _, err = tenfold(site, "backup", "restore", "latest", "-i", str(tmp_path / "none"))
    assert code == 1 and "cannot be read: No such file" in err
