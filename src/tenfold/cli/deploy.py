"""`tenfold deploy`: bring a commit onto the fleet, gate by gate. Edge."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tenfold.cli.options import Invocation, common
from tenfold.errors import DeployError

if TYPE_CHECKING:
    from tenfold.deploy.deploying import Outcome

_MARKS = {
    "done": "ok", "skipped": "was so", "failed": "FAILED", "undone": "taken back", "left": "NOT taken back",
}  # fmt: skip
WIDTH = 28


@click.command()
@click.argument("ref", required=False)
@click.option("--dry-run", is_flag=True, help="Show every step, and the statements of migrations; change nothing.")
@click.option("--list", "listed", is_flag=True, help="Show the deploys there were, and who deploys now.")
@click.option("--retry-bad", is_flag=True, help="Deploy a commit although its release was taken back before.")
@click.option("--again", is_flag=True, help="Deploy a commit that runs already: a new release of it.")
@common
def deploy(run: Invocation, ref: str | None, dry_run: bool, listed: bool, retry_bad: bool, again: bool) -> int:
    """Bring REF (a branch, tag or commit; default: deploy.ref) onto the fleet, backend by backend.

    Whatever fails, and whatever ends this process, the whole fleet goes back to what it ran before.
    """
    from tenfold.deploy.deploying import Wish, deploy

    topology = run.topology()
    if listed:
        return _list(run)
    if ref is not None and ref.startswith("-"):
        raise click.UsageError(f"{ref!r} is no branch, tag or commit")
    telling = Telling(run)
    wish = Wish(dry_run, retry_bad, again)
    return to_its_end(run, telling, deploy(topology, ref, wish, telling, telling.confirm))


def to_its_end(run: Invocation, telling: Telling, work: Coroutine[Any, Any, Outcome]) -> int:
    """Run a deploy or roll-back; a signal has it taken back, and a second one does not stop that."""

    async def main() -> Outcome:
        task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()

        def heard(number: int) -> None:
            if telling.interrupted:
                telling.note("still taking it back; a killed deployer leaves that to the next command")
                return
            telling.interrupted = True
            telling.note(f"{signal.Signals(number).name}: stopping, and taking back what was done")
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                loop.add_signal_handler(number, heard, number)
        try:
            return await task
        except asyncio.CancelledError:
            raise DeployError(
                "stopped"
                if telling.interrupted
                else "another process has taken this deploy over, and this one stopped",
                hint="`tenfold deploy --list` says how it stands",
            ) from None

    outcome = asyncio.run(main())
    deployed = outcome.deployed
    told = {"event": "end", "said": outcome.said, "report": str(outcome.report) if outcome.report else None}
    with unheard():
        run.say(outcome.said)
        if outcome.report is not None:
            run.say(f"report: {outcome.report}")
        run.result(told | ({"deploy": deployed.id, "release": deployed.order.release} if deployed else {}))
    return 0


@contextmanager
def unheard() -> Iterator[None]:
    """Where whoever read our output has gone (a closed terminal, `| head`), say nothing more: what is under way is to
    be brought to its end, the one or the other, not to be left in the middle by a line that nobody reads."""
    try:
        yield
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class Telling:
    """Tells of steps as they come: lines for a person, one object of JSON each for a program."""

    def __init__(self, run: Invocation) -> None:
        self._run = run
        self.interrupted = False
        self._bar = sys.stderr.isatty() and not (run.json or run.quiet)
        self._steps = self._ended = 0
        self._going: dict[str, None] = {}

    def __call__(self, event: Mapping[str, Any]) -> None:
        """As Tell."""
        with unheard():
            self._tell(event)

    def _tell(self, event: Mapping[str, Any]) -> None:
        if event["event"] != "plan" or self._run.json:
            self._run.result(event)
        if self._run.json or self._run.quiet:
            return
        self._clear()
        kind = event["event"]
        if kind == "plan":
            self._steps = sum(1 for line in event["lines"] if line.startswith("  "))
            for line in event["lines"]:
                click.echo(line)
        elif kind == "step":
            self._step(event)
        elif kind == "undo":
            click.echo(f"TAKING BACK deploy {event['deploy']} of {event['release']}: {event['why']}")
        elif kind == "phase":
            click.echo(f"{event['phase']}:")
        elif kind == "warning":
            self._run.warn(event["said"])
        elif kind in ("said", "statement"):
            click.echo(event["said"])
        self._draw()

    def _step(self, event: Mapping[str, Any]) -> None:
        name, state = event["step"], event["state"]
        if state in ("begun", "undoing"):
            self._going[name] = None
            return
        self._going.pop(name, None)
        self._ended += 1
        said = f"  {event['said']}" if event["said"] else ""
        click.echo(f"  {name:<{WIDTH}} {_MARKS.get(state, state)}{said}")

    def note(self, text: str) -> None:
        """Say something in between, on stderr."""
        with unheard():
            self._clear()
            if not self._run.json:
                click.echo(text, err=True)
            self._run.result({"event": "said", "said": text})

    def confirm(self, plan: Sequence[str]) -> bool:
        """Ask whether to go ahead, where there is somebody to ask; the plan has been shown."""
        if self._run.yes or self._run.json or not sys.stdin.isatty():
            return True
        self._clear()
        # In the main thread, where Ctrl-C reaches it; the heartbeat has a thread of its own.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return click.confirm("go ahead?", default=True, err=True)
        finally:
            signal.signal(signal.SIGINT, before)

    def _draw(self) -> None:
        if self._bar and self._going and self._steps:
            share = min(1.0, self._ended / self._steps)
            drawn = f"{'#' * round(share * 24):24}"
            click.echo(f"\r{drawn}{share:4.0%}  {', '.join(self._going)}"[:100] + "\x1b[K", nl=False, err=True)

    def _clear(self) -> None:
        if self._bar:
            click.echo("\r\x1b[K", nl=False, err=True)


def _list(run: Invocation) -> int:
    from tenfold.cli.status import table
    from tenfold.deploy.deploying import as_rows
    from tenfold.deploy.journal import Journal

    journal = Journal(run.topology())
    try:
        deploys = as_rows(journal.history())
        holder = journal.open().holder() if deploys else None
    finally:
        journal.close()
    holds = holder is not None and holder.token != "" and not holder.known_dead
    now = {"who": holder.who, "since_s": holder.since_s} if holder is not None and holds else None
    run.result({"deploys": deploys, "deploying": now})
    if holder is not None and holds:
        run.say(f"{holder.who} deploys, or rolls back, since {_time(holder.since_s)}")
    if not deploys:
        run.say("nothing was deployed yet")
        return 0
    rows: list[tuple[str, ...]] = [("NO", "WHEN", "WHAT", "RELEASE", "STATE", "WHO")]
    rows += [
        (str(d["deploy"]), _time(d["began_s"]), d["kind"], d["release"], d["state"], d["who"]) for d in deploys[:30]
    ]
    for line in table(rows, figures=len(rows[0])):
        run.say(line)
    return 0


def _time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
