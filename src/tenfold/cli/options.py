"""The options that every command takes, and how a command talks to its user. Edge."""

from __future__ import annotations

import functools
import json as json_text
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    from tenfold.topology.model import Topology

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of a command: which platform, and how to answer."""

    file: Path
    environment: str | None = None
    json: bool = False
    yes: bool = False
    quiet: bool = False

    def topology(self) -> Topology:
        """The platform that the file describes. Raises ConfigError with every mistake in it."""
        # Here, not above: pydantic takes longer to import than `tenfold --help` may take.
        from tenfold.topology.load import load

        return load(self.file, self.environment)

    def say(self, text: str) -> None:
        """Print a line for a person: nothing with --json or --quiet."""
        if not (self.json or self.quiet):
            click.echo(text)

    def warn(self, text: str) -> None:
        """Tell a person of something that is not wrong but should be known; on stderr, not with --json."""
        if not self.json:
            click.echo(f"warning: {text}", err=True)

    def result(self, data: Mapping[str, Any]) -> None:
        """Print the outcome for a program: one line of JSON, with --json only."""
        if self.json:
            click.echo(json_text.dumps(data, ensure_ascii=False))


def common(command: Callable[Concatenate[Invocation, P], R]) -> Callable[..., R]:
    """Give a command --file, --env, --json, --yes and --quiet, and pass them as its first argument.

    Stands below `@click.command()` and the command's own options:

        @click.command()
        @click.option("--live", is_flag=True)
        @common
        def check(run: Invocation, live: bool) -> int | None: ...

    A command ends with None (done) or with its exit code.
    """

    @click.option(
        "--file",
        "-f",
        type=click.Path(path_type=Path),
        default="tenfold.toml",
        envvar="TENFOLD_FILE",
        show_default=True,
        help="The file that describes the platform.",
    )
    @click.option("--env", "environment", metavar="NAME", envvar="TENFOLD_ENV", help="The environment of the file.")
    @click.option("--json", "json", is_flag=True, help="Print the outcome as JSON.")
    @click.option("--yes", "-y", is_flag=True, help="Do not ask: take the default, go ahead.")
    @click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
    @functools.wraps(command)
    def wrapped(
        file: Path, environment: str | None, json: bool, yes: bool, quiet: bool, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        # An empty TENFOLD_ENV is how a shell says "none".
        return command(Invocation(file, environment or None, json, yes, quiet), *args, **kwargs)

    return wrapped
