"""tenfold schema: prints the JSON Schema of tenfold.toml. Edge."""

from __future__ import annotations

import json

import click

from tenfold.cli.options import Invocation, common


@click.command()
@common
def schema(run: Invocation) -> None:
    """Print the JSON Schema of tenfold.toml, so that an editor completes it.

    Write it beside the file, and name it in the file's first line:

    \b
      tenfold schema > tenfold.schema.json
      #:schema ./tenfold.schema.json
    """
    from tenfold.topology.schema import json_schema

    # The schema is what was asked for: --quiet does not take it away, and it is JSON with and without --json.
    click.echo(json.dumps(json_schema(), indent=None if run.json else 2, ensure_ascii=False))
