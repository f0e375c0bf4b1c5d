"""A release is made of one commit, and of nothing that is not committed. Edge."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from tenfold.deploy.onrelease import MARKER
from tenfold.errors import DeployError
from tests.deploy.releases import NOW_S, Repository, sourced


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "shop")


def refused(repository: Repository, ref: str = "HEAD") -> DeployError:
    with pytest.raises(DeployError) as why:
        sourced(repository.topology(), ref)
    assert why.value.hint
    return why.value


def names(repository: Repository, ref: str = "HEAD") -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(sourced(repository.topology(), ref).archive)) as archive:
        return set(archive.getnames())


def test_a_release_is_named_by_its_time_and_commit_and_the_same_every_time(repository: Repository) -> None:
    first, second = sourced(repository.topology()), sourced(repository.topology(), "main")
    commit = repository.git("rev-parse", "HEAD")
    assert first.commit == second.commit == commit
    assert first.release == second.release == f"20270115T080000Z-{commit[:12]}"
    assert first.at == "2027-01-15T08:00:00Z"
    assert bytes(first.archive) == bytes(second.archive)
    assert sourced(repository.topology(), now_s=NOW_S + 1).release > first.release, "later ones come after it"


def test_what_is_committed_is_what_is_in_it(repository: Repository) -> None:
    repository.write({"app.py": "print('v2')\n", "static/a b.css": "", "bin/run": "#!/bin/sh\n"})
    (repository.root / "bin/run").chmod(0o755)
    (repository.root / "static/link.py").symlink_to("../app.py")
    repository.commit()
    repository.write({"var/shard_0.db": "not for a release"})
    found = names(repository)
    assert {"app.py", "static/a b.css", "bin/run", "static/link.py", "tenfold.toml"} <= found
    assert not any(name.startswith((".git/", "var")) for name in found)


@pytest.mark.parametrize("ref", ["main", "v1", "refs/tags/v1", "HEAD~0", "feature/x"])
def test_branches_tags_and_commits_are_refs(repository: Repository, ref: str) -> None:
    repository.git("tag", "-a", "v1", "-m", "one")
    repository.git("branch", "feature/x")
    assert sourced(repository.topology(), ref).commit == repository.git("rev-parse", "HEAD")
    short = repository.git("rev-parse", "--short", "HEAD")
    assert sourced(repository.topology(), short).ref == short


def test_an_unknown_ref_is_told_with_those_that_are_near(repository: Repository) -> None:
    repository.git("branch", "release-2026")
    why = refused(repository, "relase-2026")
    assert "no branch, tag or commit 'relase-2026'" in str(why) and "release-2026" in why.hint and "fetch" in why.hint


@pytest.mark.parametrize(
    "ref", ["", "-h", "--output=MADE", "--upload-pack=id", "main\n", "a b", "x" * 300, "HEAD:app.py", "main..main"]
)
def test_what_is_no_ref_reaches_no_command(repository: Repository, ref: str) -> None:
    refused(repository, ref)
    assert not (repository.root / "MADE").exists()


def test_a_name_of_a_branch_and_a_tag_is_refused(repository: Repository) -> None:
    repository.git("tag", "both")
    repository.commit("later")
    repository.git("branch", "both")
    why = refused(repository, "both")
    assert "a branch and a tag" in str(why) and "refs/heads/both" in why.hint
    assert sourced(repository.topology(), "refs/tags/both").commit != sourced(repository.topology()).commit


@pytest.mark.parametrize("how", ["modified", "staged", "deleted", "not in git"])
def test_a_tree_with_changes_is_refused_and_they_are_named(repository: Repository, how: str) -> None:
    if how == "not in git":
        repository.write({"forgotten é.py": ""})
    elif how == "deleted":
        (repository.root / "app.py").unlink()
    else:
        repository.write({"app.py": "print('changed')\n"})
    if how == "staged":
        repository.git("add", "-A")
    why = refused(repository)
    assert ("forgotten é.py (not in git)" if how == "not in git" else "app.py") in str(why)
    assert "commit" in why.hint
    repository.commit()
    assert sourced(repository.topology()).commit == repository.git("rev-parse", "HEAD")


def test_of_many_changes_the_first_are_named_and_all_counted(repository: Repository) -> None:
    repository.write({f"new_{number}.py": "" for number in range(8)})
    assert "8 paths" in str(refused(repository)) and "and 3 more" in str(refused(repository))


def test_what_tenfold_lays_down_beside_the_file_is_no_change(repository: Repository) -> None:
    repository.write({".gitignore": "", "var/x": "", "releases/a/x": "", "backends/x": "", "shared/uploads/x": ""})
    repository.git("add", ".gitignore")
    repository.git("commit", "-q", "-m", "no list")
    sourced(repository.topology())


def test_of_a_larger_repository_only_the_directory_of_the_file_is_deployed(tmp_path: Path) -> None:
    whole = Repository(tmp_path / "whole")
    whole.write({"shop/app.py": "", "shop/migrations/0001_a.sql": "SELECT 1;", "other/app.py": ""})
    whole.write({"shop/tenfold.toml": (whole.root / "tenfold.toml").read_bytes()})
    whole.commit()
    part = Repository.__new__(Repository)
    part.root = whole.root / "shop"
    assert {"app.py", "tenfold.toml", "migrations/0001_a.sql"} <= names(part) and "other/app.py" not in names(part)
    assert sourced(part.topology()).migrations == {"0001_a.sql": b"SELECT 1;"}
    whole.write({"other/app.py": "changed"})
    sourced(part.topology())
    whole.write({"shop/app.py": "changed"})
    assert "1 path has changes that are not: app.py" in str(refused(part))


def test_migrations_are_those_of_the_commit(repository: Repository) -> None:
    repository.settings(migrations="db/steps")
    repository.write({"db/steps/0001_a.sql": "SELECT 1;", "db/steps/deep/0009_no.sql": "", "db/steps/README": "x"})
    repository.commit()
    assert sourced(repository.topology()).migrations == {"0001_a.sql": b"SELECT 1;", "README": b"x"}


def test_no_repository_and_no_commit_are_told(tmp_path: Path) -> None:
    empty = Repository(tmp_path / "shop")
    repository = Repository.__new__(Repository)
    repository.root = tmp_path / "plain"
    repository.root.mkdir()
    repository.settings()
    assert "in no git repository" in str(refused(repository)) and "git init" in refused(repository).hint
    repository.git("init", "-q")
    assert "no commit yet" in str(refused(repository))
    empty.settings(repository="/no/such/place")
    assert "is not there" in str(refused(empty))
    empty.settings(repository="--upload-pack=touch /tmp/x")
    assert "is no repository" in str(refused(empty))


def test_a_repository_of_another_account_is_told_with_the_remedy(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert "belongs to another account" in str(refused(repository)) and "safe.directory" in refused(repository).hint


def test_a_repository_elsewhere_is_fetched_each_time(repository: Repository, tmp_path: Path) -> None:
    here = Repository(tmp_path / "here")
    here.settings(repository=f"file://{repository.root}")
    assert sourced(here.topology(), "main").commit == repository.git("rev-parse", "HEAD")
    later = repository.commit("later")
    assert sourced(here.topology(), "main").commit == later
    here.settings(repository=f"ext::sh -c touch% {tmp_path}/made")
    assert "git clone" in str(refused(here)) and not (tmp_path / "made").exists()


def test_a_bare_repository_has_nothing_to_compare_with(repository: Repository, tmp_path: Path) -> None:
    repository.git("clone", "-q", "--bare", ".", str(tmp_path / "bare.git"))
    here = Repository(tmp_path / "here")
    here.settings(repository=str(tmp_path / "bare.git"))
    assert sourced(here.topology(), "main").commit == repository.git("rev-parse", "HEAD")


def test_submodules_are_refused_by_name(repository: Repository) -> None:
    commit = repository.git("rev-parse", "HEAD")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{commit},vendor/lib")
    repository.git("commit", "-q", "-m", "module")
    (repository.root / "vendor/lib").mkdir(parents=True)
    why = refused(repository)
    assert "submodules" in str(why) and "vendor/lib" in str(why)


def test_files_that_only_lfs_has_are_refused_by_name(repository: Repository) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12\n"
    repository.write({"logo.png": pointer})
    repository.commit()
    assert "Git LFS" in str(refused(repository)) and "logo.png" in str(refused(repository))


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "a/../../outside"])
def test_a_link_that_leads_out_is_refused(repository: Repository, target: str) -> None:
    (repository.root / "link").symlink_to(target)
    repository.commit()
    assert "leads out of the release" in str(refused(repository)) and "link" in str(refused(repository))


def test_a_file_with_the_name_of_the_marker_is_refused(repository: Repository) -> None:
    repository.write({MARKER: '{"complete": true}'})
    repository.commit()
    assert "kept for Tenfold" in str(refused(repository))


def test_a_git_hook_that_surrounds_us_does_not_lead_elsewhere(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Repository(tmp_path / "other")
    other.commit("another history")
    monkeypatch.setenv("GIT_DIR", str(other.root / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.root / ".git/index"))
    commit = sourced(repository.topology()).commit
    monkeypatch.delenv("GIT_DIR")
    monkeypatch.delenv("GIT_INDEX_FILE")
    assert commit == repository.git("rev-parse", "HEAD") != other.git("rev-parse", "HEAD")
