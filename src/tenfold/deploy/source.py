"""Where a release comes from: one commit of a git repository, and nothing that is not committed. Edge."""

from __future__ import annotations

import difflib
import hashlib
import mmap
import re
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tenfold.audit.trail import whoami
from tenfold.deploy.archive import Content, listed, look_through
from tenfold.deploy.git import FETCH_S, Git
from tenfold.errors import DeployError
from tenfold.topology.model import Topology

LONGEST_REF = 200
SHORT = 12
# What Tenfold itself lays down in the directory of the file.
OURS = ("var/", "releases/", "backends/", "shared/")
_FAR = re.compile(r"[a-z+]+://|[A-Za-z0-9_.-]+@?[A-Za-z0-9_.-]*:(?!/{2})")


@dataclass(frozen=True, slots=True)
class Source:
    """A commit, ready to be sent.

    ref      as it was asked for
    commit   its full name
    release  what the release is called: when it was made, in UTC, and the beginning of `commit`
    at, by   when and by whom, for the marker
    archive  the commit as an uncompressed tar
    """

    ref: str
    commit: str
    release: str
    at: str
    by: str
    archive: memoryview
    content: Content

    @property
    def migrations(self) -> dict[str, bytes]:
        """Files of the directory of migrations."""
        return self.content.migrations


def resolve(topology: Topology, ref: str, now_s: float | None = None) -> Source:
    """The commit that `ref` names, looked through and ready.

    Raises DeployError: not a repository, an unknown or ambiguous ref, changes that are not committed, submodules,
    files that only LFS has, links that lead out.
    """
    git, has_tree = _repository(topology)
    commit = _commit(git, ref)
    if has_tree:
        _refuse_changes(git)
    _refuse_submodules(git, commit)
    archive, content = _archived(git, commit, topology.deploy.migrations)
    at = datetime.fromtimestamp(time.time() if now_s is None else now_s, UTC)
    release = f"{at:%Y%m%dT%H%M%SZ}-{commit[:SHORT]}"
    return Source(ref, commit, release, f"{at:%Y-%m-%dT%H:%M:%SZ}", whoami(), archive, content)


def _repository(topology: Topology) -> tuple[Git, bool]:
    """(git in the directory to be deployed, whether it has a working tree to compare with)."""
    wanted, root = topology.deploy.repository, Path(topology.root).absolute()
    if wanted is not None and wanted.startswith("-"):
        raise DeployError(f"deploy.repository: {wanted!r} is no repository", hint="write a path or an address")
    if wanted is not None and _FAR.match(wanted):
        return _fetched(wanted, root / "var" / "deploy"), False
    git = Git(root / Path(wanted).expanduser() if wanted else root)
    _, bare, _ = git.run("rev-parse", "--is-bare-repository")
    return git, bare.strip() != "true"


def _fetched(address: str, place: Path) -> Git:
    """A mirror of a repository elsewhere, brought up to date."""
    mirror = place / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}.git"
    place.mkdir(parents=True, exist_ok=True)
    git = Git(mirror)
    if not (mirror / "HEAD").exists():
        Git(place).run("clone", "--quiet", "--mirror", "--", address, mirror.name, within_s=FETCH_S)
    else:
        git.run("fetch", "--quiet", "--prune", "--force", "origin", within_s=FETCH_S)
    return git


def _commit(git: Git, ref: str) -> str:
    if not ref or ref.startswith("-") or len(ref) > LONGEST_REF or any(ord(c) < 33 or ord(c) == 127 for c in ref):
        raise DeployError(f"{ref[:LONGEST_REF]!r} is no ref", hint="write a branch, a tag or a commit")
    code, found, said = git.run("rev-parse", "--verify", "--end-of-options", ref + "^{commit}", well=(0, 1, 128))
    if "is ambiguous" in said:
        raise DeployError(
            f"{ref} is a branch and a tag, or the beginning of several commits",
            hint=f"write refs/heads/{ref} or refs/tags/{ref}, or the whole commit",
        )
    commit = found.strip()
    if code == 0 and re.fullmatch(r"[0-9a-f]{40}([0-9a-f]{24})?", commit):
        return commit
    if git.run("rev-parse", "--verify", "--quiet", "HEAD", well=(0, 1, 128))[0] != 0:
        raise DeployError(f"{git.directory} has no commit yet", hint="git add -A && git commit")
    raise _unknown(git, ref)


def _unknown(git: Git, ref: str) -> DeployError:
    _, names, _ = git.run("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags", "refs/remotes")
    known = names.split()
    near = difflib.get_close_matches(ref, known, n=3, cutoff=0.5) or [n for n in known if n.endswith(f"/{ref}")][:3]
    did = f"did you mean {' or '.join(near)}? " if near else ""
    _, shallow, _ = git.run("rev-parse", "--is-shallow-repository")
    fetch = "git fetch --unshallow --tags" if shallow.strip() == "true" else "git fetch --tags"
    return DeployError(
        f"{git.directory} has no branch, tag or commit {ref!r}", hint=f"{did}If it is elsewhere: {fetch}, then again"
    )


def _refuse_changes(git: Git) -> None:
    """Raise DeployError, naming them, where files differ from what is committed or are not in git at all."""
    _, prefix, _ = git.run("rev-parse", "--show-prefix")
    _, said, _ = git.run("status", "--porcelain=v1", "-z", "--no-renames", "--", ".")
    changed = []
    for entry in filter(None, said.split("\0")):
        state, path = entry[:2], entry[3:].removeprefix(prefix.strip("\n"))
        if not (state == "??" and path.startswith(OURS)):
            changed.append(path + (" (not in git)" if state == "??" else ""))
    if changed:
        raise DeployError(
            f"what is committed is what is deployed, and {len(changed)} "
            f"{'path has' if len(changed) == 1 else 'paths have'} changes that are not: {listed(changed)}",
            hint="git commit them, git stash them, or name in .gitignore what does not belong to the app",
        )


def _refuse_submodules(git: Git, commit: str) -> None:
    _, tree, _ = git.run("ls-tree", "-r", "-z", commit)
    modules = [entry.partition("\t")[2] for entry in tree.split("\0") if entry.startswith("160000 ")]
    if modules:
        raise DeployError(
            f"the commit has submodules, which no archive holds: {listed(modules)}",
            hint="make them packages that are installed, or copies in the repository (git subtree)",
        )


def _archived(git: Git, commit: str, migrations: str) -> tuple[memoryview, Content]:
    """The commit as a tar in a file without a name, mapped into memory: the hosts share it."""
    with tempfile.TemporaryFile(prefix="tenfold-release-") as file:
        # From the directory of the file: of a larger repository only that part.
        git.run("-c", "tar.umask=0022", "archive", "--format=tar", commit, to=file)
        file.seek(0)
        content = look_through(file, migrations)
        if not content.files:
            raise DeployError(
                f"{commit[:SHORT]} has no files in {git.directory}", hint="commit the app, or deploy another commit"
            )
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)), content
