"""tenfold check: everything that is wrong with the file, for every environment, and with the shards' tables. Edge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from tenfold.cli.options import Invocation, common

if TYPE_CHECKING:
    from tenfold.sharding.engine.capabilities import Capabilities
    from tenfold.sharding.requirements import Finding
    from tenfold.topology.model import Topology

LIVE_HINT = "start the shards and create their tables (tenfold shard init), then check again"
SERVERS_HINT = "change the servers as the lines above say, then check again"


@click.command()
@click.option("--live", is_flag=True, help="Fail unless every shard was reached; say what each server can do.")
@common
def check(run: Invocation, live: bool) -> int:
    """Say everything that is wrong with the file, each mistake with its remedy.

    Every environment is examined, not only that of --env. Where the shards can be reached, their tables are compared
    with the file. With --live each server is asked for what Tenfold's features need of it, too: what is "wrong" there
    is a mistake, a "note" is a feature that is missing or something to know, with what to change.
    """
    from tenfold.topology.load import survey
    from tenfold.topology.parse import HINT, config_error

    found = survey(run.file, run.environment)
    mistakes, notes = list(found.mistakes), []
    hint = ""
    seen: Capabilities | None = None
    if found.topology is not None:
        from tenfold.sharding.engine.inspect import inspect

        inspection = inspect(found.topology)
        mistakes, notes = list(inspection.mistakes), list(inspection.notes)
        if live:
            from tenfold.sharding.engine.capabilities import capabilities

            seen = capabilities(found.topology)
            servers = [*seen.mistakes, *_wrong(found.topology, seen)]
            hint = SERVERS_HINT if servers and not mistakes else ""
            mistakes += [line for line in servers if line not in mistakes]
        if live and not inspection.reachable:
            mistakes, notes, hint = mistakes + notes, [], LIVE_HINT
    if seen is not None:
        for line in table(seen.findings):
            run.say(line)
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
        | ({"servers": _as_json(seen.findings)} if seen is not None else {})
    )
    if found.topology is not None and not mistakes:
        for warning in found.warnings:
            run.warn(warning)
        run.say(_summary(found.topology, found.environments))
        for note in notes:
            run.say(f"  {note}")
    return 1 if mistakes else 0


def _wrong(topology: Topology, seen: Capabilities) -> list[str]:
    """The mistakes of the servers, as lines in the words of the file."""
    lines = [
        f"{topology.file.name}: database.shards.{shard}: {one.feature}: {one.said}; {one.remedy}"
        for shard, findings in seen.findings.items()
        for one in findings
        if one.level == "mistake"
    ]
    return lines + [f"server not checked: {shard} cannot be read ({error})" for shard, error in seen.unseen.items()]


def table(findings: Mapping[str, Sequence[Finding]]) -> list[str]:
    """For people: each server's features, those that are alike once; a note or mistake with what to change below it."""
    alike: dict[tuple[Finding, ...], list[str]] = {}
    for shard, found in findings.items():
        alike.setdefault(tuple(found), []).append(shard)
    lines: list[str] = []
    for found, shards in alike.items():
        lines.append(", ".join(shards))
        widest = max(len(one.feature) for one in found)
        for one in found:
            word = "WRONG" if one.level == "mistake" else one.level.value
            lines.append(f"  {word:5}  {one.feature:{widest}}  {one.said}")
            if one.remedy:
                lines.append(f"         {'':{widest}}  Try: {one.remedy}")
        lines.append("")
    return lines


def _as_json(findings: Mapping[str, Sequence[Finding]]) -> dict[str, list[dict[str, Any]]]:
    return {shard: [asdict(one) for one in found] for shard, found in findings.items()}


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
