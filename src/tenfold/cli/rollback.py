"""`tenfold rollback`: the fleet back to a release that it ran well. Edge."""

from __future__ import annotations

import click

from tenfold.cli.deploy import Telling, to_its_end
from tenfold.cli.options import Invocation, common


@click.command()
@click.option("--to", metavar="RELEASE", help="The release to go back to; default: the one before the present one.")
@click.option("--unfinished", is_flag=True, help="Only take back what a killed deploy has left; else do nothing.")
@click.option("--dry-run", is_flag=True, help="Show every step; change nothing.")
@common
def rollback(run: Invocation, to: str | None, unfinished: bool, dry_run: bool) -> int:
    """Bring the fleet back to a good release, backend by backend; or take back what a killed deploy has left.

    Migrations are not taken back: they only add, and the releases before go on with what they find.
    """
    from tenfold.deploy.deploying import rollback, take_back

    telling = Telling(run)
    if unfinished:
        if to or dry_run:
            raise click.UsageError("--unfinished takes neither --to nor --dry-run")
        return to_its_end(run, telling, take_back(run.topology(), telling))
    return to_its_end(run, telling, rollback(run.topology(), to, dry_run, telling, telling.confirm))
