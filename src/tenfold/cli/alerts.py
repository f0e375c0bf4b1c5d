"""`tenfold alerts`: what alerts, who is on it, what is silenced, and why something fires or does not. Edge."""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from click.core import ParameterSource

from tenfold.cli.options import Invocation, common

WIDTH = 80
INDENT = " " * 10
SHOWN_SAMPLES = 12
_LENGTH = re.compile(r"(?:(\d{1,5})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m(?:in)?)?(?:(\d{1,8})s)?", re.ASCII)


class Length(click.ParamType[float]):
    """A time such as 45m, 2h, 1h30m, 3d; in seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        found = _LENGTH.fullmatch(value.strip())
        if not found or not any(found.groups()):
            self.fail(f"{value!r} is no time; write 30m, 2h or 1d", param, ctx)
        sizes = (86_400, 3600, 60, 1)
        return float(sum(int(part or 0) * size for part, size in zip(found.groups(), sizes, strict=True)))


@click.group(invoke_without_command=True)
@common
def alerts(run: Invocation) -> int:
    """Say what alerts; take alerts on, silence them, and ask why.

    Without a command: list.
    """
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        return _list(run)
    given = [n for n in context.params if context.get_parameter_source(n) is ParameterSource.COMMANDLINE]
    if given:  # they would not reach the command
        raise click.UsageError(f"write the options behind {context.invoked_subcommand}", context)
    return 0


@alerts.command(name="list")
@common
def list_(run: Invocation) -> int:
    """Say what fires, waits and recovers, and what is silenced."""
    return _list(run)


@alerts.command()
@click.argument("id")
@click.option("--note", metavar="TEXT", help="What the others should know.")
@common
def ack(run: Invocation, id: str, note: str | None) -> int:
    """Take the alert ID on: it is told no more until it is over, unless it becomes critical; then it is armed anew."""
    told = _ask(run, {"action": "ack", "id": id, "note": note})
    item = told["item"]
    before = (
        "it is not told again before"
        if item["severity"] == "critical"
        else "it is told again only if it becomes critical"
    )
    run.say(f"{_plain(item['id'])} is yours until it is over; {before}")
    run.result(told)
    return 0


@alerts.command()
@click.argument("match", nargs=-1, required=True)
@click.option("--for", "for_s", type=Length(), required=True, metavar="TIME", help="How long: 30m, 2h, 1d.")
@click.option("--comment", metavar="TEXT", help="Why.")
@common
def silence(run: Invocation, match: Sequence[str], for_s: float, comment: str | None) -> int:
    """Do not tell alerts that MATCH; they still show here.

    MATCH is an alert's ID, a rule, or rule=…, target=…, severity=… with * for anything; all of them must fit.
    """
    told = _ask(run, {"action": "silence", "matches": list(match), "for_s": for_s, "note": comment})
    made = told["silence"]
    run.say(f"{made['id']}: {_matches(made)} is not told until {_when(made['until_s'])}")
    covers = told["covers"]
    run.say(f"  {covers} of the alerts of now" if covers else "  nothing alerts now that it fits")
    run.result(told)
    return 0


@alerts.command()
@click.argument("id")
@common
def unsilence(run: Invocation, id: str) -> int:
    """End the silence ID; what still fires is told."""
    told = _ask(run, {"action": "unsilence", "id": id})
    run.say(f"{told['silence']['id']} has ended: {_matches(told['silence'])}")
    run.result(told)
    return 0


@alerts.command()
@click.argument("what", metavar="RULE|ID")
@common
def explain(run: Invocation, what: str) -> int:
    """Say why RULE fires or not at each of its targets, or the alert ID, with what was seen."""
    told = _ask(run, {"action": "explain", "id": what})
    every = told["explained"]
    if every:
        for line in _wrapped(f"{every[0]['rule']}: {every[0]['condition']}", ""):
            run.say(line)
        run.say(f"  what to do: tenfold alerts runbook {every[0]['rule']}")
    for one in every:
        run.say("")
        for line in _explained(one, alone=len(every) == 1):
            run.say(line)
    run.result(told)
    return 0


@alerts.command()
@click.argument("what", metavar="RULE|ID")
@common
def runbook(run: Invocation, what: str) -> int:
    """Say what an alert of RULE means, and what to do."""
    from difflib import get_close_matches

    from tenfold.errors import NotifyError
    from tenfold.monitor.alerts.rules import NAMES, key_of
    from tenfold.monitor.runbooks import text_of

    rule = key_of(what)[0]
    text = text_of(rule) if rule in NAMES else None
    if text is None:
        near = get_close_matches(rule, NAMES, n=1)
        hint = f'did you mean "{near[0]}"?' if near else "one of: " + " ".join(NAMES)
        raise NotifyError(f"there is no rule {_plain(what)[:60]!r}", hint=hint)
    run.say(text.rstrip())
    run.result({"rule": rule, "runbook": text})
    return 0


def _list(run: Invocation) -> int:
    from tenfold.dashboard.alerts import untold
    from tenfold.dashboard.inputs import Alerts
    from tenfold.dashboard.wording import NBSP

    told = _ask(run, {"action": "list"})["alerts"]
    counts, items, now_s = told["counts"], told["items"], time.time()
    run.say(
        ", ".join(f"{counts[name]} {name}" for name in counts if counts[name])
        or ("nothing alerts" if not any(item["state"] != "pending" for item in items) else "nothing else alerts")
    )
    for item in items:
        run.say("")
        for line in _shown(item, now_s):
            run.say(line)
    if told["silences"]:
        run.say("\nSILENCES")
    for one in told["silences"]:
        why = f" ({_plain(one['comment'])})" if one["comment"] else ""
        said = f"{one['id']}  {_matches(one)}, until {_when(one['until_s'])}, by {_plain(one['who'])}{why}"
        for line in _wrapped(said, "    "):
            run.say(line)
    # An agent of the release before does not tell.
    missing = untold(Alerts(undelivered=told.get("undelivered", ())), now_s)
    if missing:
        run.say("")
        for line in _wrapped(_plain(missing.replace(NBSP, " ")), ""):
            run.say(line)
    run.result(told)
    return 0


def _shown(item: Mapping[str, Any], now_s: float) -> Iterator[str]:
    from tenfold.runtime.wording import duration

    lasted = duration(max(0.0, now_s - item["since_s"]))
    # Never by colour alone, and not by colour here: the word is the severity.
    word = item["severity"].upper() if item["severity"] == "critical" else item["severity"]
    yield f"{word:<8}  {_plain(item['id'])}  {item['state']} for {lasted}"
    yield from _wrapped(_plain(item["summary"]), INDENT, first=INDENT)
    if item["acked_by"]:
        note = f": {_plain(item['ack_note'])}" if item["ack_note"] else ""
        yield from _wrapped(f"taken on by {_plain(item['acked_by'])}{note}", INDENT, first=INDENT)
    if item["silenced_until_s"]:
        yield f"{INDENT}silenced until {_when(item['silenced_until_s'])}"
    if item["inhibited_by"]:
        yield f"{INDENT}explained by {_plain(item['inhibited_by'])}, and not told beside it"
    yield f"{INDENT}what to do: tenfold alerts runbook {item['rule']}"


def _explained(one: Mapping[str, Any], *, alone: bool) -> Iterator[str]:
    yield from _wrapped(f"{_plain(one['id'])} {_plain(one['why'])}", "  ")
    item = one["item"]
    if item:
        yield from _wrapped(_plain(item["summary"]), "  ", first="  ")
        for said, key in (("taken on by", "acked_by"), ("explained by", "inhibited_by")):
            if item[key]:
                yield f"  {said} {_plain(item[key])}"
        if item["silenced_until_s"]:
            yield f"  silenced until {_when(item['silenced_until_s'])}"
    samples = one["samples"]
    if not samples:
        yield "  nothing was seen yet"
        return
    count = SHOWN_SAMPLES if alone else 3
    step = max(1, len(samples) // count)
    for sample in samples[::-1][::step][:count]:
        yield f"  {_sample(one['unit'], sample)}"


def _sample(unit: Any, sample: Mapping[str, Any]) -> str:
    from tenfold.monitor.alerts.wording import figure

    at = time.strftime("%H:%M:%S", time.localtime(sample["at_s"]))
    said = figure(unit, sample["value"])
    requests = f"  {sample['count']} requests" if sample["count"] is not None else ""
    blind = f"  {_plain(sample['blind'])}" if sample["blind"] else ""
    return f"{at}  {said:>10}{requests}  {sample['phase'] or ''}{blind}".rstrip()[: WIDTH - 2]


def _wrapped(text: str, indent: str, first: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False)


def _matches(silence: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={_plain(pattern)}" for name, pattern in silence["matches"].items())


def _when(at_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at_s))


def _plain(text: str) -> str:
    """What programs and people wrote, without what moves a cursor."""
    from tenfold.runtime.wording import visible

    return visible(text)


def _ask(run: Invocation, command: Mapping[str, Any]) -> dict[str, Any]:
    from tenfold.audit.trail import whoami
    from tenfold.errors import NodeDown
    from tenfold.hosts.agent_link import AgentLink
    from tenfold.runtime.place import Place

    place = Place.of(run.file)
    try:
        return AgentLink(place.agent_socket).ask({"do": "alerts", "who": whoami(), **command})
    except NodeDown as error:
        if place.agent_socket.exists():
            raise
        raise NodeDown(
            "no agent runs here, so nothing is judged: alerts are made while the platform runs",
            hint="start it with tenfold up; on a fleet ask on the host of the balancer",
        ) from error
