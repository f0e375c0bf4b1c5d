"""`tenfold backup`: makes backups, shows them, proves them by a restore, brings them back, removes old ones. Edge."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenfold.cli.moving import Telling
from tenfold.cli.options import Invocation, common
from tenfold.errors import BackupError

if TYPE_CHECKING:
    from tenfold.deploy.backup.restore import Restored, Restoring
    from tenfold.deploy.backup.shelf import Kept
    from tenfold.topology.model import Topology

_PHASES = {
    "barrier": "holding writes up on all shards",
    "dump": "reading the snapshots",
    "files": "files and configuration",
    "bytes": "comparing every byte of every part",
    "decrypt": "decrypting all of it, before anything is touched",
    "restore": "restoring, and comparing every row",
}


@click.group()
def backup() -> None:
    """Back the platform up, and prove that it can be brought back."""


@contextmanager
def _telling(run: Invocation) -> Iterator[Any]:
    """Tells a person by a bar or lines, a program by JSON."""
    telling = Telling(run)

    def say(event: dict[str, Any]) -> None:
        if event["event"] == "rows":
            telling.rows(event["done"], event["total"])
            return
        telling.end()
        if run.json:
            run.result(event)
        elif event["event"] == "phase":
            run.say(_PHASES[event["phase"]])
        elif event["event"] == "barrier":
            run.say(f"  writes were held up for {1000 * event['pause_s']:.1f} ms")
        elif event["event"] == "removed":
            run.say(f"  removed {event['id']}, which was not finished")

    try:
        yield say
    finally:
        telling.end()


_identity = click.option(
    "--identity", "-i", type=click.Path(path_type=Path, dir_okay=False), required=True, envvar="TENFOLD_IDENTITY",
    help="The file of the private key.",
)  # fmt: skip


@backup.command()
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The file of the private key.")
@common
def keygen(run: Invocation, out: Path | None) -> None:
    """Make a key pair: the public key is for tenfold.toml, the private key for wherever backups are verified.

    The private key goes into a file outside of the platform's directory. Keep a copy of it elsewhere: without it no
    backup can ever be read.
    """
    from tenfold.deploy.backup.envelope import write_identity

    topology = run.topology()
    name = topology.platform.name + (f"-{topology.environment}" if topology.environment else "")
    path = out or Path(click.get_app_dir("tenfold")) / "keys" / f"{name}.agekey"
    public = write_identity(path, f"key of the backups of {name}")
    if path.resolve().is_relative_to(Path(topology.root).resolve()):
        run.warn(f"{path} lies beside what it protects: move it to where backups are verified")
    line = f'recipient = "{public}"'
    run.result({"recipient": public, "identity": str(path), "line": line})
    run.say(
        f"the private key is in {path}; keep a copy of it elsewhere\n\nwrite into tenfold.toml:\n\n[backup]\n{line}"
    )


@backup.command()
@click.option("--consistent", is_flag=True, help="Refuse, rather than take shards of different moments.")
@common
def create(run: Invocation, consistent: bool) -> None:
    """Back up every shard, the files of [backup] and tenfold.toml, as they are at one moment."""
    from tenfold.deploy.backup.create import create as make

    topology = run.topology()
    with _telling(run) as say:
        kept = make(topology, say, consistent=consistent)
    run.result({"event": "end", **_as_json(kept)})
    manifest = kept.manifest
    if manifest is None:  # never: it has just been written
        return
    run.say(
        f"{kept.id}: {manifest.rows:,} rows, {manifest.files:,} files, {_size(manifest.size)}, "
        f"in {manifest.took_s:.1f} s; writes waited {1000 * manifest.pause_s:.1f} ms"
    )
    if manifest.moments:
        run.warn(f"shards at different moments: writes could not be held up on {', '.join(manifest.moments)}")
    for note in manifest.notes:
        run.warn(note)
    run.say(f"it counts once it is verified: tenfold backup verify {kept.id} --identity FILE")


@backup.command("list")
@common
def list_(run: Invocation) -> None:
    """Show the backups, the newest first."""
    from tenfold.deploy.backup.shelf import Shelf

    shelf = Shelf(run.topology())
    found = shelf.backups()
    run.result({"backups": [_as_json(one) for one in found], "directory": str(shelf.path)})
    for one in found:
        manifest = one.manifest
        if manifest is None:
            run.say(f"{one.id}  damaged: {one.fault}")
            continue
        moment = "one moment" if manifest.consistent else "not of one moment"
        proof = f"verified {_when(one.verified['at_s'])} ({one.verified['how']})" if one.verified else "not verified"
        made, size = _when(manifest.made_s), _size(manifest.size)
        run.say(f"{one.id}  {made}  {size:>9}  {manifest.rows:>12,} rows  {moment}, {proof}")
    if not found:
        run.say("there is no backup; `tenfold backup create` makes one")


@backup.command()
@click.argument("name", default="latest", metavar="[BACKUP]")
@_identity
@common
def verify(run: Invocation, name: str, identity: Path) -> None:
    """Restore a backup (the latest, if none is named) into a scratch database, and compare every row."""
    from tenfold.deploy.backup.envelope import read_identity
    from tenfold.deploy.backup.verify import verify as prove

    topology, key = run.topology(), read_identity(identity)
    with _telling(run) as say:
        found = prove(topology, name, key, say)
    run.result(
        {"event": "end", "id": found.id, "tables": found.tables, "rows": found.rows, "how": found.how,
         "took_s": found.took_s}
    )  # fmt: skip
    run.say(f"{found.id} is good: {found.rows:,} rows of {found.tables} tables, restored to {found.how} and compared")


@backup.command()
@click.argument("name", metavar="BACKUP")
@_identity
@click.option("--into", type=click.Path(path_type=Path, file_okay=False), help="SQLite: a new directory instead.")
@click.option(
    "--to", type=click.Path(path_type=Path, dir_okay=False), help="The shards of another tenfold.toml instead."
)
@click.option("--yes-i-mean", "meant", metavar="NAME", help="The platform's name, where what is there would be lost.")
@common
def restore(
    run: Invocation, name: str, identity: Path, into: Path | None, to: Path | None, meant: str | None
) -> None:  # fmt: skip
    """Bring a backup back: shards, catalog and files. tenfold.toml comes back with --into alone.

    Over a platform that is there only when its name is typed out, and never while it runs. Every byte is read before
    anything is touched, and every row compared afterwards. What is interrupted can be run again; until it has ended,
    no process will use the platform.
    """
    from tenfold.deploy.backup.envelope import read_identity
    from tenfold.deploy.backup.restore import Restoring, restore_into
    from tenfold.deploy.backup.shelf import Shelf

    if into is not None and to is not None:
        raise click.UsageError("--into or --to, not both")
    topology, key = run.topology(), read_identity(identity)
    with _telling(run) as say:
        if into is not None:
            _said(run, restore_into(topology, name, key, into, say))
            return
        target = _other(to, run) if to is not None else topology
        _refuse_up(target)
        restoring = Restoring(Shelf(topology).find(name), key, target, say)
        meant = meant or _typed(run, restoring)
        done = restoring.run(meant)
    _said(run, done)


def _other(path: Path, run: Invocation) -> Topology:
    from tenfold.topology.load import load

    return load(path, run.environment)


def _refuse_up(target: Topology) -> None:
    from tenfold.runtime.place import Lock, Place

    if Lock(Place.of(Path(target.file)).lock).is_held():
        raise BackupError(f"`tenfold up` runs in {target.root}", hint="stop it first: tenfold down")


def _typed(run: Invocation, restoring: Restoring) -> str | None:
    """The platform's name, as a person types it; None where nothing would be lost. --yes is no answer to this."""
    holds = restoring.look().holds
    if not holds or run.json or not sys.stdin.isatty():
        return None
    platform = restoring.manifest.platform
    click.echo(f"what {', '.join(holds)} hold now will be replaced by {restoring.kept.id}", err=True)
    return str(click.prompt(f'type the name of the platform, "{platform}", to go on', err=True))


def _said(run: Invocation, done: Restored) -> None:
    run.result(
        {"event": "end", "id": done.id, "rows": done.rows, "files": done.files, "root": done.root,
         "took_s": done.took_s, "notes": done.notes}
    )  # fmt: skip
    run.say(f"{done.id} is back in {done.root}: {done.rows:,} rows, {done.files:,} files, in {done.took_s:.1f} s")
    for note in done.notes:
        run.warn(note)


@backup.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@common
def prune(run: Invocation, dry_run: bool) -> None:
    """Remove the backups that [backup] does not keep; never the newest, nor the last that was verified."""
    from tenfold.deploy.backup.prune import prune as remove

    found = remove(run.topology(), dry_run=dry_run)
    run.result(
        {"kept": found.kept, "removed": found.removed, "busy": found.busy, "damaged": found.damaged,
         "freed_bytes": found.freed_bytes, "dry_run": dry_run}
    )  # fmt: skip
    for name, why in found.kept.items():
        run.say(f"keeps    {name}  ({', '.join(why)})")
    for name in found.removed:
        run.say(f"{'would remove' if dry_run else 'removed'}  {name}")
    for name in found.busy:
        run.warn(f"{name} stays for now: somebody reads it")
    for name in found.damaged:
        run.warn(f"{name} is damaged, and stays until you remove it")


def _as_json(kept: Kept) -> dict[str, Any]:
    manifest = kept.manifest
    if manifest is None:
        return {"id": kept.id, "damaged": kept.fault}
    return {
        "id": kept.id, "path": str(kept.path), "made_s": manifest.made_s, "took_s": manifest.took_s,
        "age_s": max(0.0, time.time() - manifest.made_s), "size_bytes": manifest.size, "rows": manifest.rows,
        "files": manifest.files, "consistent": manifest.consistent, "moments": manifest.moments,
        "pause_s": manifest.pause_s, "epoch": manifest.epoch, "recipient": manifest.recipient,
        "verified": kept.verified, "notes": manifest.notes, "moves": manifest.moves,
    }  # fmt: skip


def _when(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _size(count: int) -> str:
    size, unit = float(count), "B"
    for larger in ("KB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
