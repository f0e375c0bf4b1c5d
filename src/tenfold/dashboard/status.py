"""Whether the platform is well, in one sentence that a tired person understands. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tenfold.dashboard.inputs import Backend, Inputs, Service, Shard
from tenfold.dashboard.wording import NBSP, duration, ratio, seconds
from tenfold.topology.operations import Threshold

# What is down, slow or failing now is said from the figures of now; its alert may be minutes behind.
SEEN_OTHERWISE = {"backend_down", "shard_down", "service_down", "response_time", "error_ratio"}


def judge(inputs: Inputs) -> dict[str, Any]:
    """{"state", "sentence", "problems": [one line each, the gravest first], "marks": {figure: warning|critical}}.

    down       nobody is served: no backend, no shard, or an essential service does not answer
    degraded   somebody is not served, or served badly, or it is not known
    healthy    else; a mark alone (a moment of high CPU) is worth a colour, not an alarm
    """
    marks = _marks(inputs)
    grave = _grave(inputs)
    lesser = [*_part_problems(inputs), *_traffic_problems(inputs), *_alert_problems(inputs), *_blind_spots(inputs)]
    problems = [_plain(problem) for problem in (*grave, *lesser)]
    state = "down" if grave else "degraded" if lesser else "healthy"
    said = _joined(problems) if problems else _what_answers(inputs)
    return {"state": state, "sentence": f"{state.capitalize()}: {said}.", "problems": problems, "marks": marks}


def _grave(inputs: Inputs) -> list[str]:
    found = [_is_down(s, inputs.now_s) for s in inputs.services or () if s.essential and s.state == "down"]
    if inputs.backends and not any(backend.state in ("up", "drain") for backend in inputs.backends):
        starting = any(backend.state == "starting" for backend in inputs.backends)
        found.append("no backend answers yet, they are starting" if starting else "no backend answers")
    if inputs.shards and all(shard.state == "down" for shard in inputs.shards):
        found.append("no shard answers")
    return found


def _part_problems(inputs: Inputs) -> list[str]:
    found = []
    for backend in inputs.backends or ():
        # Taken out on purpose is not a problem.
        if backend.state == "down" and backend.wanted != "down":
            found.append(_is_down(backend, inputs.now_s))
        elif backend.state == "starting" and backend.wanted == "ready":
            found.append(f"{backend.name} is starting")
    found += [_is_down(shard, inputs.now_s) for shard in inputs.shards or () if shard.state == "down"]
    found += [_is_down(s, inputs.now_s) for s in inputs.services or () if s.state == "down" and not s.essential]
    return found


def _traffic_problems(inputs: Inputs) -> list[str]:
    totals, marks = inputs.totals, _marks(inputs)
    found = []
    if totals is not None and totals.error_rate is not None and "error_rate" in marks:
        found.append(f"{ratio(totals.error_rate)} of the requests fail")
    if totals is not None and totals.p95_s is not None and "p95_s" in marks:
        found.append(f"one request in twenty takes longer than {seconds(totals.p95_s)}")
    return found


def _alert_problems(inputs: Inputs) -> list[str]:
    """What is critical, that nobody has taken on, and that the figures above would not say by themselves."""
    return [
        str(item["summary"])
        for item in (inputs.alerts.items if inputs.alerts else ())
        if item["severity"] == "critical"
        and item["state"] == "firing"
        and item["rule"] not in SEEN_OTHERWISE
        and all(item[name] is None for name in ("acked_by", "silenced_until_s", "inhibited_by"))
    ]


def _marks(inputs: Inputs) -> dict[str, str]:
    """Which figures are beyond the limits of [monitor] at this moment: the same limits as of the alerts."""
    monitor = inputs.monitor
    limits = {
        "p95_s": monitor.response_time_s,
        "error_rate": monitor.error_ratio,
        "cpu": monitor.cpu_ratio,
        "memory": monitor.memory_ratio,
    }
    figures: dict[str, float | None] = {}
    if inputs.totals is not None and inputs.totals.requests >= monitor.min_requests:
        figures = {"p95_s": inputs.totals.p95_s, "error_rate": inputs.totals.error_rate}
    if inputs.host is not None:
        used, limit = inputs.host.memory_used_bytes, inputs.host.memory_limit_bytes
        figures["cpu"] = inputs.host.cpu
        figures["memory"] = used / limit if used is not None and limit else None
    levels = {name: _level(limits[name], value) for name, value in figures.items()}
    return {name: level for name, level in levels.items() if level}


def _level(threshold: Threshold, value: float | None) -> str:
    """critical | warning | "": above is above, exactly at a limit is not."""
    for level, limit in (("critical", threshold.critical), ("warning", threshold.warning)):
        if value is not None and limit is not None and value > limit:
            return level
    return ""


def _blind_spots(inputs: Inputs) -> list[str]:
    if inputs.totals is None and inputs.backends is None and inputs.shards is None:
        return ["nothing is known yet; the first figures come within seconds"]
    found = [f"{channel['channel']} does not take its notices" for channel in _failing_channels(inputs)]
    agent = inputs.agent
    if agent is not None:
        blind = [collector.name for collector in agent.collectors if not collector.ok]
        if blind:
            found.append(f"no word from the agent's {'collectors' if blind[1:] else 'collector'} {_and(blind)}")
        if agent.store_trouble:
            found.append("figures are shown but not kept (history store)")
    return found


def _failing_channels(inputs: Inputs) -> Sequence[Mapping[str, Any]]:
    # Letters that were given up on are for the section below: nothing that happens now is untold by them.
    return [channel for channel in (inputs.alerts.undelivered if inputs.alerts else ()) if channel["waiting"]]


def _is_down(thing: Backend | Shard | Service, now_s: float) -> str:
    lasted = f" for {duration(now_s - thing.since_s)}" if thing.since_s is not None else ""
    since = f"{thing.name} has been down{lasted}" if lasted else f"{thing.name} is down"
    return f"{since} ({thing.reason})" if thing.reason else since


def _what_answers(inputs: Inputs) -> str:
    backends = inputs.backends or ()
    serving = sum(backend.state == "up" for backend in backends)
    parts = [
        _count(serving, "backend"),
        _count(sum(shard.state == "up" for shard in inputs.shards or ()), "shard"),
        _count(sum(service.state == "up" for service in inputs.services or ()), "service"),
    ]
    answers = [part for part in parts if part]
    sentence = f"{_and(answers)} answer" if answers else "nothing is wrong that the agent can see"
    aside = [
        f"{b.name} is {'draining' if b.wanted == 'drain' else 'taken out'}" for b in backends if b.wanted != "ready"
    ]
    return "; ".join([sentence, *aside])


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}" if number else ""


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _joined(problems: Sequence[str]) -> str:
    """One or two in full; of more only the first, for the page lists the others below."""
    if len(problems) <= 2:
        return "; ".join(problems)
    return f"{problems[0]}; and {len(problems) - 1} more"


def shown(thing: Backend | Shard | Service, now_s: float) -> dict[str, str]:
    """What a row says of its state: `tone` ok|warn|bad|off, `word`, and `note` (why, and for how long)."""
    tone, word = _WORDS[thing.state]
    if isinstance(thing, Backend) and thing.wanted == "down":
        tone, word = "off", "taken out"
    elif isinstance(thing, Backend) and (thing.wanted == "drain" or thing.state == "drain") and thing.state != "down":
        tone, word = ("off", "drained") if thing.sessions == 0 else ("warn", "draining")
    lasted = f"for {duration(now_s - thing.since_s)}" if thing.since_s is not None and word != "up" else ""
    return {"tone": tone, "word": word, "note": ", ".join(part for part in (thing.reason, _plain(lasted)) if part)}


def _plain(text: str) -> str:
    # Sentences go to terminals and scripts too, where a no-break space is a trap.
    return text.replace(NBSP, " ")


_WORDS = {
    "up": ("ok", "up"),
    "down": ("bad", "down"),
    "drain": ("warn", "draining"),
    "starting": ("warn", "starting"),
    "unknown": ("off", "not known yet"),
}
