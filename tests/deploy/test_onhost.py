"""What is done on a host itself: links, under a fence. Edge."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tenfold.deploy import onhost

SCRIPT = Path(onhost.__file__).read_bytes()


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host with two releases, of which the second was never completed."""
    for name, complete in (("one", True), ("two", True), ("half", False)):
        (tmp_path / "releases" / name).mkdir(parents=True)
        if complete:
            (tmp_path / "releases" / name / onhost.MARKER).write_text(json.dumps({"complete": True, "commit": name}))
    (tmp_path / "releases" / "odd").mkdir()
    (tmp_path / "releases" / "odd" / onhost.MARKER).write_text('{"complete": fal')
    return tmp_path


def do(host: Path, what: str, **order: Any) -> Any:
    """As a deployer has it done: the text of the file, on a Python that knows nothing of Tenfold."""
    text = json.dumps({"do": what, "path": str(host), "fence": 1, "backends": ["backend_0"], **order})
    done = subprocess.run([sys.executable, "-I", "-S", "-", text], input=SCRIPT, capture_output=True, check=True)
    return json.loads(done.stdout)


def test_a_link_is_led_from_release_to_release_and_taken_away(host: Path) -> None:
    assert do(host, "look")["links"] == {"backend_0": None}
    for release in ("one", "two", "two"):
        assert do(host, "switch", backend="backend_0", release=release)["did"] == "switched"
        assert do(host, "look")["links"] == {"backend_0": release}
    do(host, "switch", backend="backend_0", release=None)
    do(host, "switch", backend="backend_0", release=None)
    assert not (host / "backends/backend_0").is_symlink()


def test_only_complete_releases_are_seen_and_led_to(host: Path) -> None:
    assert do(host, "look")["releases"] == {
        "one": {"commit": "one", "ref": ""},
        "two": {"commit": "two", "ref": ""},
    }
    for release in ("half", "nowhere"):
        assert do(host, "switch", backend="backend_0", release=release)["did"] == "no such release"
    assert do(host, "look")["links"] == {"backend_0": None}


def test_a_deployer_before_the_present_one_changes_no_link(host: Path) -> None:
    do(host, "switch", fence=3, backend="backend_0", release="one")
    assert do(host, "fence", fence=4) == {"fence": 4, "did": None}
    assert do(host, "switch", fence=3, backend="backend_0", release="two") == {"fence": 4}
    assert do(host, "look")["links"] == {"backend_0": "one"}
    assert do(host, "switch", fence=4, backend="backend_0", release="two")["did"] == "switched"


def test_what_a_killed_switch_has_left_is_in_nobodys_way(host: Path) -> None:
    (host / "backends").mkdir()
    (host / "backends/backend_0.new").symlink_to("nowhere")
    assert do(host, "switch", backend="backend_0", release="one")["did"] == "switched"
    assert do(host, "look")["links"] == {"backend_0": "one"}
