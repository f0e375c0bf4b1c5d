"""How the commands that move rows tell of it: a bar on a terminal, lines elsewhere, JSON on request. Edge."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tenfold.cli.options import Invocation

if TYPE_CHECKING:
    from tenfold.sharding.moves.moving import Moving
    from tenfold.sharding.moves.record import Move

T = TypeVar("T")
DRAW_S, LINE_S, JSON_S = 0.1, 5.0, 0.5
"""How often the bar, a line and an object of JSON tell of rows."""
BAR = 24
PHASES = {
    "announced": "announced: waiting until every process knows of it",
    "capturing": "capturing: changes are marked from here on",
    "copying": "copying",
    "following": "following: what has changed meanwhile",
    "cutting": "cutting over",
    "serving": "serving: the rows are served from their new shards",
    "returning": "returning: carrying the buckets back",
    "cleaning": "cleaning: deleting what lies where it does not belong any more",
    "done": "done",
}


def limits(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command the options that slow a move down."""
    for option in (
        click.option("--max-lag-s", type=click.FloatRange(min=0), help="Pause while a replica is further behind."),
        click.option("--max-latency-ms", type=click.FloatRange(min=0), help="Pause while a shard answers slower."),
        click.option("--rows-per-second", type=click.FloatRange(min=1), help="Copy and delete at most so many."),
    ):
        command = option(command)
    return command


class Telling:
    """A Progress that tells a person, or a program, of a move. clock: monotonic seconds."""

    def __init__(self, run: Invocation, clock: Callable[[], float] = time.monotonic) -> None:
        self._run, self._clock = run, clock
        self._bar = sys.stderr.isatty() and not (run.json or run.quiet)
        self._began_s: float | None = None
        self._first = self._last = 0
        self._told_s = 0.0
        self._drawn = False

    def step(self, name: str) -> None:
        """Of interest to tests."""

    def rows(self, done: int, total: int) -> None:
        """Rows were copied."""
        now_s = self._clock()
        if self._began_s is None:
            self._began_s, self._first, self._told_s = now_s, done, now_s
        self._last = done
        if now_s - self._told_s >= (DRAW_S if self._bar else JSON_S if self._run.json else LINE_S):
            self._tell(now_s, done, total)

    def _tell(self, now_s: float, done: int, total: int) -> None:
        self._told_s = now_s
        began_s = now_s if self._began_s is None else self._began_s
        rate = (done - self._first) / max(now_s - began_s, 1e-3)
        left_s = (total - done) / rate if rate > 0 else None
        if self._run.json:
            self._run.result({"event": "rows", "done": done, "total": total, "rate": round(rate), "left_s": left_s})
        elif self._bar:
            self._draw(bar(done, total, rate, left_s))
        else:
            self._run.say("  " + bar(done, total, rate, left_s, width=0))

    def say(self, event: dict[str, Any]) -> None:
        """Something happened."""
        if self._run.json:
            self._run.result(event)
            return
        if event["event"] == "phase":
            if self._began_s is not None:
                # How many there were is an estimate until all of them are there.
                self._tell(self._clock(), self._last, self._last)
            self.end()
            self._began_s = None
            self._run.say(PHASES.get(event["phase"], event["phase"]))
        elif event["event"] == "reference":
            self.end()
            self._run.say(f"{event['table']}: {event['rows']:,} rows copied and compared")

    def end(self) -> None:
        """Leave the bar as it is, and go on below it."""
        if self._drawn:
            click.echo("", err=True)
            self._drawn = False

    def _draw(self, text: str) -> None:
        # \x1b[K: what a longer line has left behind.
        click.echo(f"\r{text}\x1b[K", nl=False, err=True)
        self._drawn = True


def bar(done: int, total: int, rate: float, left_s: float | None, width: int = BAR) -> str:
    """ "######      45 %  12,345 of 30,000 rows  12,345/s  3 s left"."""
    from tenfold.cli.shard_plan import duration

    share = min(1.0, done / total) if total else 1.0
    drawn = f"{'#' * round(share * width):{width}} " if width else ""
    left = f"  {duration(left_s)} left" if left_s is not None and done < total else ""
    return f"{drawn}{share:4.0%}  {done:,} of {total:,} rows  {rate:,.0f}/s{left}"


def moving(
    run: Invocation,
    act: Callable[[Moving], Move],
    rows_per_second: float | None = None,
    max_latency_ms: float | None = None,
    max_lag_s: float | None = None,
) -> Move:
    """Run one act of a move, and say where it stands however it ends."""  # fmt: skip
    from tenfold.errors import TenfoldError
    from tenfold.sharding.moves.moving import Moving, state_of
    from tenfold.sharding.moves.work import Limits

    topology = run.topology()
    telling = Telling(run)
    try:
        move = act(Moving(topology, telling, Limits(rows_per_second, max_latency_ms, max_lag_s)))
    except (KeyboardInterrupt, TenfoldError) as error:
        telling.end()
        if isinstance(error, KeyboardInterrupt):
            try:
                said = state_of(topology)
            except TenfoldError:
                said = "the catalog does not answer; `tenfold shard resume` goes on"
            run.result({"event": "interrupted", "state": said})
            if not run.json:
                click.echo(f"interrupted, and nothing is lost: {said}", err=True)
        raise
    telling.end()
    told = {"event": "end", "move": move.id, "phase": move.phase.value, "result": move.detail.get("result")}
    run.result(told)
    run.say(ending(move))
    return move


def ending(move: Move) -> str:
    """What has become of a move, and what to do next."""
    from tenfold.sharding.moves.wording import NEXT_STEP

    if move.phase.value != "done":
        return NEXT_STEP[move.phase]
    shard = move.detail.get("joins", "")
    return {
        "joined": f"{shard} belongs to the platform; `tenfold shard plan` shows what it may take",
        "left": f"{shard} has left the platform: take it out of tenfold.toml",
        "cancelled": f"cancelled: {shard or 'every bucket'} is as it was before",
        "undone": "undone: every bucket is where it was before",
        "moved": "moved: nothing is left on the old shards",
    }[move.detail["result"]]
