"""Paths that all releases share, as people write them. Edge."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from tenfold.deploy import onrelease
from tenfold.errors import ConfigError
from tests.deploy.releases import Repository, make, sourced


def test_a_shared_path_may_lie_in_another_and_end_as_directories_are_written(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "shop", shared=["data/logs", "data", "uploads/"], writable=["tmp/"])
    repository.write({".gitignore": "var/\nreleases/\nshared/\n", "data/logs/old.txt": "old", "uploads/a": "a"})
    repository.commit()
    topology = repository.topology()
    source = sourced(topology)
    asyncio.run(make(topology, source))
    home = repository.root / "releases" / source.release
    assert home.joinpath("data").readlink() == Path("../../shared/data") and home.joinpath("uploads").is_symlink()
    assert (home / "data/logs/old.txt").read_text() == "old" and (home / "uploads/a").read_text() == "a"
    assert stat.S_IMODE((home / "tmp").stat().st_mode) == 0o755
    onrelease.remove(str(home))


@pytest.mark.parametrize("name", ["", ".", "..", "/etc", "a//b", "a/../b", "a/.", "../x", "a\nb"])
def test_what_is_no_path_in_a_release_is_refused_with_the_file(name: str, tmp_path: Path) -> None:
    for key in ("shared", "writable"):
        with pytest.raises(ConfigError, match=f"deploy.{key}"):
            Repository(tmp_path / key, **{key: [name]}).topology()
