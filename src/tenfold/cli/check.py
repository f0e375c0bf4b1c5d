"""tenfold check: everything that is wrong with the file, for every environment, and with the shards' tables. Edge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tenfold.cli.options import Invocation, common

if TYPE_CHECKING:
    from tenfold.topology.model import Topology

LIVE_HINT = "start the shards and create their tables (tenfold shard init), then check again"


@click.command()
@click.option("--live", is_flag=True, help="Fail unless every shard was reached and its tables were checked.")
@common
def check(run: Invocation, live: bool) -> int:
    """Say everything that is wrong with the file, each mistake with its remedy.

    Every environment is examined, not only that of --env. Where the shards can be reached, their tables are compared
    with the file.
    """
    from tenfold.topology.load import survey
    from tenfold.topology.parse import HINT, config_error

    found = survey(run.file, run.environment)
    mistakes, notes = list(found.mistakes), []
    hint = ""
    if found.topology is not None:
        from tenfold.sharding.engine.inspect import inspect

        inspection = inspect(found.topology)
        mistakes, notes = list(inspection.mistakes), list(inspection.notes)
        if live and not inspection.reachable:
            mistakes, notes, hint = mistakes + notes, [], LIVE_HINT
    if mistakes and not run.json:
        for warning in found.warnings:
            run.warn(warning)
        error = config_error(mistakes)
        error.hint = hint or error.hint
        raise error
    run.result(
        {
            "ok": not mistakes,
            "mistakes": mistakes,
            "warnings": list(found.warnings),
            "notes": notes,
            "environments": list(found.environments),
            "hint": (hint or HINT) if mistakes else "",
        }
    )
    if found.topology is not None and not mistakes:
        for warning in found.warnings:
            run.warn(warning)
        run.say(_summary(found.topology, found.environments))
        for note in notes:
            run.say(f"  {note}")
    return 1 if mistakes else 0


def _summary(topology: Topology, environments: tuple[str, ...]) -> str:
    database = topology.database
    spread = sum(len(group.tables) for group in database.groups.values())
    pinned = sum(len(tables) for tables in database.pinned.values())
    parts = [
        f"{len(topology.app.backends)} backends",
        f"{len(database.shards)} shards",
        f"{spread} tables spread, {pinned} pinned, {len(database.reference.tables)} on every shard",
    ]
    if environments:
        parts.append(f"environments: {', '.join(environments)}")
    return f"{topology.file.name} is right: {topology.platform.name}; {'; '.join(parts)}"
