"""`tenfold audit`: who did what here, and whether the trail of it is whole. Edge."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click

from tenfold.cli.options import Invocation, common


@click.command()
@click.option("--last", type=click.IntRange(1, 1_000_000), default=20, show_default=True, help="How many acts to show.")
@common
def audit(run: Invocation, last: int) -> int:
    """Say who did what on this machine, and whether the audit trail is whole.

    Ends with 1 where a line of var/audit.jsonl was changed, left out or put in.
    """
    from tenfold.audit.trail import NAME, Trail
    from tenfold.errors import PlatformError
    from tenfold.runtime.place import Place

    if not run.file.exists():
        run.topology()  # says what is wrong, and what to do
    trail = Trail(Place.of(run.file).var / NAME)
    try:
        entries, faults = trail.entries(), trail.faults()
    except OSError as error:
        raise PlatformError(
            f"the audit trail cannot be read: {error.strerror}", hint=f"see who owns {trail.path}"
        ) from None
    for entry in entries[-last:]:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.at_s))
        run.say(_plain(f"{at}  {entry.who}  {entry.did}  {_about(entry.about)}").rstrip())
    earlier = len(entries) - last
    run.say(
        f"{earlier} earlier: --last {len(entries)}" if earlier > 0 else "nothing before" if entries else "no act yet"
    )
    for fault in faults:
        run.say(f"NOT WHOLE: {fault}")
    run.result({"entries": [asdict(entry) for entry in entries[-last:]], "count": len(entries), "faults": faults})
    return 1 if faults else 0


def _about(about: Mapping[str, Any]) -> str:
    said = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in about.items()
        if value not in (None, "")
    }
    return " ".join(f"{name}={value}" for name, value in said.items())


def _plain(text: str) -> str:
    from tenfold.runtime.wording import visible

    return visible(text)
