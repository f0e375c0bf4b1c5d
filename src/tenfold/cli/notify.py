"""`tenfold notify`: who is told of alerts and deploys, and whether it arrives. Edge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from tenfold.audit.trail import whoami
from tenfold.cli.options import Invocation, common
from tenfold.errors import NodeDown

if TYPE_CHECKING:
    from tenfold.runtime.agent_notify import Notifier

# A receiver may take TOTAL_S (30 s) to say nothing.
ANSWER_S = 60.0
# Without an agent the command sends by itself, for so long.
SEND_S = 60.0


@click.group()
def notify() -> None:
    """Tell people of alerts and deploys: try it, see what waits, send dead letters again."""


@notify.command()
@click.argument("channel", required=False)
@common
def test(run: Invocation, channel: str | None) -> int:
    """Send a test notice now by every channel, or by CHANNEL (slack, email, webhook)."""
    told = _asked(run, {"action": "test", "channel": channel})[0]["channels"]
    for one in told:
        said = "delivered" if one["delivered"] else f"failed: {one['reason']}"
        run.say(f"{one['channel']:8} {one['host']}: {said}")
        if one["hint"]:
            run.say(f"         Try: {one['hint']}")
    run.result({"channels": told})
    return 0 if all(one["delivered"] for one in told) else 1


@notify.command(name="list")
@common
def list_(run: Invocation) -> int:
    """Say what waits, what was delivered lately, and which letters are dead, with the reason."""
    told, by_agent = _asked(run, {"action": "list"})
    run.result(told)
    counts = told["counts"]
    if told["trouble"]:
        run.say(f"the outbox is in trouble: {told['trouble']}")
    if not told["channels"]:
        run.say("no channel is written in tenfold.toml: nobody is told. Try: docs/guides/notify.md")
    now_s = time.time()
    waiting = [*({**row, "channel": "-"} for row in told["unassigned"]), *told["waiting"]]
    _section(run, "waiting", counts["waiting"] + counts["unassigned"], waiting, now_s)
    _section(run, "dead", counts["dead"], told["dead"], now_s)
    _section(run, "delivered", counts["delivered"], told["delivered"][:10], now_s)
    if counts["dead"]:
        run.say("Dead letters are sent again by: tenfold notify retry; forgotten by: tenfold notify drop")
    if waiting and not by_agent:
        run.say("No agent runs, so nothing is sent. Try: tenfold up, or tenfold notify retry")
    return 1 if told["trouble"] else 0


@notify.command()
@click.argument("channel", required=False)
@common
def retry(run: Invocation, channel: str | None) -> int:
    """Send dead letters again, of every channel or of CHANNEL; and what waits, at once."""
    told, by_agent = _asked(run, {"action": "retry", "channel": channel})
    run.say(f"{_letters(told['retried'])} on the way again")
    if by_agent:
        run.result(told)
        return 0
    from tenfold.notify.sender import deliver
    from tenfold.runtime.agent_notify import outbox_of
    from tenfold.runtime.place import Place

    counts = deliver(outbox_of(Place.of(run.file)), run.topology(), SEND_S)
    run.say(f"no agent runs, so they were sent from here: {counts['waiting']} still wait, {counts['dead']} are dead")
    run.result({**told, "counts": dict(counts)})
    return 0 if not counts["waiting"] and not counts["dead"] else 1


@notify.command()
@click.argument("channel", required=False)
@common
def drop(run: Invocation, channel: str | None) -> int:
    """Forget dead letters, of every channel or of CHANNEL: they are not sent again."""
    told = _asked(run, {"action": "drop", "channel": channel})[0]
    count = told["dropped"]
    run.say("no dead letter is forgotten" if not count else f"{_letters(count)} forgotten")
    run.result(told)
    return 0


def _letters(count: int) -> str:
    return "1 dead letter is" if count == 1 else f"{count} dead letters are"


def _section(run: Invocation, word: str, count: int, rows: Sequence[Mapping[str, Any]], now_s: float) -> None:
    run.say(f"{word}: {count}" + (f", the last {len(rows)}:" if 0 < len(rows) < count else ":" if rows else ""))
    for row in rows:
        tries = f", {row['attempts']} tries" if row.get("attempts", 0) > 1 else ""
        run.say(f"  {row['channel']:8}{row['severity']:9} {row['title']}  ({_ago(now_s - row['at_s'])}{tries})")
        if row.get("reason"):
            run.say(f"          {row['reason']}")


def _ago(seconds: float) -> str:
    from tenfold.dashboard.wording import NBSP, duration

    return f"{duration(seconds)} ago".replace(NBSP, " ")


def _asked(run: Invocation, command: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """The agent's answer and True; where no agent runs, what it would have answered, and False."""
    from tenfold.hosts.agent_link import AgentLink
    from tenfold.runtime.place import Place

    if not run.file.exists():
        run.topology()  # says what is wrong, and what to do
    command = {"do": "notify", "who": whoami(), **command}
    try:
        return AgentLink(Place.of(run.file).agent_socket, ANSWER_S).ask(command), True
    except NodeDown:
        return dict(asyncio.run(_notifier(run).command(command))), False


def _notifier(run: Invocation) -> Notifier:
    from tenfold.runtime.agent_notify import Notifier
    from tenfold.runtime.place import Place

    return Notifier(run.topology(), Place.of(run.file))
