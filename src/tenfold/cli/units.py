"""`tenfold units`: systemd's units for one host. Edge."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tenfold.cli.options import Invocation, common
from tenfold.errors import PlatformError


@click.command()
@click.option("--host", metavar="NAME", required=True, help="For which machine of the environment; with --env.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, metavar="DIR", help="Where they go."
)
@click.option(
    "--python", metavar="PATH", default=sys.executable, help="The Python that runs Tenfold there.  [default: this one]"
)
@common
def units(run: Invocation, host: str, out: Path, python: str) -> int:
    """Write systemd's units for one host: backends, nginx, agent, and the target that holds them.

    They start what tenfold.toml says in the release of each backend's link, so a deploy changes none of them.
    """
    from tenfold.runtime.fleet import placed
    from tenfold.runtime.units import units as rendered
    from tenfold.topology.fleet import target_name

    topology = run.topology()
    made = rendered(topology, placed(topology, host), python)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in made.items():
            (out / name).write_text(text)
    except OSError as error:
        raise PlatformError(
            f"{error.filename or out} cannot be written: {error.strerror}", hint="name another --out"
        ) from None
    target = target_name(topology.platform.name)
    for name in made:
        run.say(f"{out / name}")
    run.say(
        f"\nthere: copy them to /etc/systemd/system, then systemctl daemon-reload && systemctl enable --now {target}"
    )
    run.result({"host": host, "target": target, "units": [str(out / name) for name in made]})
    return 0
