"""tenfold ci pin: holds each action of the workflow by its commit, as its repository says it now. Edge."""

from __future__ import annotations

import os
import subprocess

import click

from tenfold.cli import ci_place
from tenfold.cli.ci_init import write
from tenfold.cli.options import Invocation, common
from tenfold.errors import ConfigError, NodeDown
from tenfold.pipeline.actions import commit_of, pinned, repository, uses

ASK_S = 30


@click.command()
@click.option(
    "--server", default="https://github.com", envvar="GITHUB_SERVER_URL", show_default=True, help="Where actions live."
)
@common
def pin(run: Invocation, server: str) -> None:
    """Ask the repository of each action for the commit of its tag, and write it into the workflow.

    Nothing is written unless every tag was found. Comments stay. Needs git and the network.
    """
    path, text = ci_place.workflow(ci_place.root(run))
    if text is None:
        raise ConfigError(f"there is no {path}", hint="tenfold ci init")
    loose = sorted({(use.action, use.ref) for use in uses(text) if not use.pinned})
    commits = {}
    for action, tag in loose:
        commits[action, tag] = _ask(server, action, tag)
        run.say(f"{action} {tag} is {commits[action, tag]}")
    if commits:
        write(path, pinned(text, commits))
    run.result({"file": str(path), "pinned": {f"{action}@{tag}": sha for (action, tag), sha in commits.items()}})
    run.say(f"wrote {path}" if commits else "every action is held by its commit already")


def _ask(server: str, action: str, tag: str) -> str:
    address = f"{server.rstrip('/')}/{repository(action)}"
    try:
        done = subprocess.run(
            ["git", "ls-remote", "--tags", "--", address, f"refs/tags/{tag}", f"refs/tags/{tag}^{{}}"],
            capture_output=True, text=True, timeout=ASK_S, stdin=subprocess.DEVNULL,
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0", "GCM_INTERACTIVE": "never"},
        )  # fmt: skip
    except FileNotFoundError:
        raise ConfigError("git is not installed", hint="install git") from None
    except subprocess.TimeoutExpired:
        raise NodeDown(f"{address} did not answer within {ASK_S} s", hint="try again with the network") from None
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise NodeDown(f"{address} cannot be asked: {why}; nothing was written", hint="try again with the network")
    sha = commit_of(done.stdout, tag)
    if sha is None:
        raise ConfigError(f"{address} has no tag {tag}; nothing was written", hint="name a release, never a branch")
    return sha
