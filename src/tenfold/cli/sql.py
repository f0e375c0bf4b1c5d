"""`tenfold shard sql`: SQL typed, or piped in, and answered as if all shards were one database. Edge."""

from __future__ import annotations

import sys

import click

from tenfold.cli.options import Invocation, common


@click.command()
@click.option("--execute", "-e", "texts", multiple=True, metavar="SQL", help="Run this and end; may be repeated.")
@click.option("--tsv", is_flag=True, help="Print columns with tabs between, NULL as \\N.")
@common
def sql(run: Invocation, texts: tuple[str, ...], tsv: bool) -> None:
    """Type SQL, or pipe it in, and have it answered as if all shards were one database.

    Ends at the first error, with its exit code, unless it is typed. With --json each row is one line of JSON, in
    which integers beyond 2^53 are texts. The history of what was typed is in $XDG_STATE_HOME/tenfold.
    """
    if run.json and tsv:
        raise click.UsageError("--json and --tsv are two forms of the same; take one")
    from tenfold.cli.shell import Shell

    with Shell(run, tsv) as shell:
        if texts:
            shell.obey_all([f"{text}\n" for text in texts], each_ends=True)
        elif sys.stdin.isatty():
            from tenfold.cli.terminal import converse

            converse(shell)
        else:
            shell.obey_all(sys.stdin, each_ends=False)
