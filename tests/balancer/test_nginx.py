"""Which nginx is used, and what is said when there is none. Edge."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenfold.balancer.apply import prepare
from tenfold.balancer.nginx import find, packaged_nginx
from tenfold.errors import BalancerError
from tests.balancer.site import nginx_of, topology_of


def program(directory: Path, version: str, name: str = "nginx") -> Path:
    """A program that answers -V like an nginx of that version."""
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\necho 'nginx version: nginx/{version}' >&2\n")
    path.chmod(0o755)
    return path


def broken(directory: Path) -> Path:
    """A program that this machine's kernel or libc cannot run."""
    directory.mkdir(exist_ok=True)
    path = directory / "nginx"
    path.write_bytes(b"\x7fELF not really")
    path.chmod(0o755)
    return path


def nothing() -> None:
    return None


def test_a_recent_nginx_on_path_is_preferred_to_the_packaged_one(tmp_path: Path) -> None:
    installed = program(tmp_path / "bin", "1.29.6")
    assert find(search=str(tmp_path / "bin")).path == installed


def test_the_packaged_nginx_is_preferred_to_an_older_one_on_path(tmp_path: Path) -> None:
    program(tmp_path / "bin", "1.29.5")
    assert find(search=str(tmp_path / "bin")).path == packaged_nginx()


def test_the_newest_on_path_is_found_wherever_it_stands(tmp_path: Path) -> None:
    program(tmp_path / "a", "1.22.1")
    newer = program(tmp_path / "b", "1.30.0")
    assert find(search=f"{tmp_path / 'a'}::{tmp_path / 'b'}", packaged=nothing).path == newer


def test_an_older_nginx_serves_where_none_is_packaged(tmp_path: Path) -> None:
    installed = program(tmp_path / "bin", "1.22.1")
    found = find(search=str(tmp_path / "bin"), packaged=nothing)
    assert (found.path, found.version) == (installed, (1, 22, 1))


def test_a_packaged_nginx_that_does_not_run_here_is_passed_over(tmp_path: Path) -> None:
    installed = program(tmp_path / "bin", "1.22.1")
    assert find(search=str(tmp_path / "bin"), packaged=lambda: broken(tmp_path / "wheel")).path == installed


def test_one_on_path_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    broken(tmp_path / "bin")
    assert find(search=str(tmp_path / "bin")).path == packaged_nginx()


def test_no_nginx_and_no_package_for_this_machine_names_the_machine_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(BalancerError, match="Linux riscv64") as missing:
        find(search=str(tmp_path), packaged=nothing, machine="Linux riscv64")
    assert "apt install nginx" in missing.value.hint and "balancer" in missing.value.hint
    with pytest.raises(BalancerError, match="Darwin x86_64") as missing:
        find(search=str(tmp_path), packaged=nothing, machine="Darwin x86_64")
    assert "brew install nginx" in missing.value.hint


def test_one_that_is_too_old_is_named(tmp_path: Path) -> None:
    installed = program(tmp_path / "bin", "1.14.2")
    with pytest.raises(BalancerError, match=r"nginx 1\.14\.2 .*too old"):
        find(search=str(tmp_path / "bin"), packaged=nothing)
    with pytest.raises(BalancerError, match="too old"):
        find(str(installed))


def test_the_configured_nginx_is_the_one_used_relative_to_the_file(tmp_path: Path) -> None:
    chosen = program(tmp_path / "own", "1.22.1")
    assert find("own/nginx", root=tmp_path).path == chosen
    assert find(str(chosen)).path == chosen
    assert find("nginx", search=str(tmp_path / "own")).path == chosen


@pytest.mark.parametrize(
    ("configured", "why"),
    [
        ("/nowhere/nginx", "there is no /nowhere/nginx"),
        ("no-such-nginx", "there is no no-such-nginx"),
        ("/bin/true", "does not answer -V as nginx does"),
        ("/etc/passwd", "does not run: Permission denied"),
        ("/etc", "does not run: Permission denied"),
    ],
)
def test_a_configured_nginx_must_exist_and_run(tmp_path: Path, configured: str, why: str) -> None:
    topology = topology_of(balancer={"nginx": configured})
    with pytest.raises(BalancerError, match=why) as refused:
        prepare(topology, tmp_path / "var")
    assert "balancer.nginx" in refused.value.hint


def test_the_real_ones_say_what_they_are(kind: str) -> None:
    assert find(nginx_of(kind)).features.sticky is (kind == "packaged")
