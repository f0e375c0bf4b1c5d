"""tenfold ci: writes the workflow, checks it, pins it, and runs its jobs by hand. Edge."""

from __future__ import annotations

import click

from tenfold.cli.ci_check import check
from tenfold.cli.ci_init import init
from tenfold.cli.ci_pin import pin
from tenfold.cli.ci_run import run


@click.group()
def ci() -> None:
    """Write the workflow of GitHub Actions for this platform, check it, and run its jobs by hand."""


for command in (init, check, run, pin):
    ci.add_command(command)
