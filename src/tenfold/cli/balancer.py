"""`tenfold balancer`: which backends take clients. Edge."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from tenfold.cli.options import Invocation, common
from tenfold.errors import NodeDown, PlatformError

if TYPE_CHECKING:
    from tenfold.hosts.agent_link import AgentLink

POLL_S = 0.5
# Between a request's end and its line in the log nginx keeps its connection; one more look makes sure.
QUIET_S = 1.0
# An agent that was killed is back within seconds; whoever waits goes on with it.
AWAY_S = 30.0
# A reload waits for the one before it (2 s) and for new workers (10 s at most).
ANSWER_S = 30.0

_DONE = {
    "ready": "{name} takes its share of the clients",
    "drain": "{name} takes no new clients; those that are bound to it stay",
    "down": "{name} gets nothing any more; its clients move to others",
}


@click.group()
def balancer() -> None:
    """Take backends out of the traffic and back, without a failed request."""


def _waiting(command: Callable[..., int]) -> Callable[..., int]:
    wait = click.option("--wait", is_flag=True, help="Come back only when it is so: nobody left, or the backend well.")
    timeout = click.option(
        "--timeout", "timeout_s", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
        help="With --wait: give up after so long (exit code 75); the backend stays as it was told.",
    )  # fmt: skip
    idle = click.option(
        "--idle", "idle_s", type=click.FloatRange(0, 900, min_open=True), default=60.0, metavar="SECONDS",
        show_default=True, help="A client is gone when it was silent for so long.",
    )  # fmt: skip
    return wait(timeout(idle(command)))


@balancer.command()
@click.argument("backend")
@_waiting
@common
def drain(run: Invocation, backend: str, wait: bool, timeout_s: float | None, idle_s: float) -> int:
    """Send BACKEND no new clients; those that are bound to it stay until they end."""
    return _change(run, "drain", backend, wait, timeout_s, idle_s)


@balancer.command()
@click.argument("backend")
@_waiting
@common
def ready(run: Invocation, backend: str, wait: bool, timeout_s: float | None, idle_s: float) -> int:
    """Have BACKEND take its share again."""
    return _change(run, "ready", backend, wait, timeout_s, idle_s)


@balancer.command()
@click.argument("backend")
@_waiting
@common
def down(run: Invocation, backend: str, wait: bool, timeout_s: float | None, idle_s: float) -> int:
    """Send BACKEND nothing at all; open requests are still answered."""
    return _change(run, "down", backend, wait, timeout_s, idle_s)


@balancer.command()
@common
def status(run: Invocation) -> int:
    """Say what is wanted of each backend, and who is still on it."""
    from tenfold.cli.status import table

    told = _link(run).ask({"do": "balancer"})
    rows: list[tuple[str, ...]] = [("NAME", "WANTED", "CLIENTS", "CONNECTIONS")]
    rows += [(b["name"], b["wanted"], str(b["sessions"]), _known(b["connections"])) for b in told["backends"]]
    for line in table(rows):
        run.say(line)
    if told["pending"]:
        run.say("nginx has yet to take the last change over")
    run.result(told)
    return 0


def _change(run: Invocation, action: str, backend: str, wait: bool, timeout_s: float | None, idle_s: float) -> int:
    link = _link(run)
    command = {"do": "balancer", "idle_s": idle_s}
    begun_s = time.monotonic()
    told = link.ask(command | {"action": action, "backend": backend})
    run.say(_DONE[action].format(name=backend))
    if wait:
        until_s = None if timeout_s is None else begun_s + timeout_s
        told = (
            _wait_well(link, backend, until_s)
            if action == "ready"
            else _wait_empty(run, link, command, backend, until_s)
        )
    run.result(_one(told, backend) | {"seconds": round(time.monotonic() - begun_s, 1)})
    return 0


def _wait_empty(
    run: Invocation, link: AgentLink, command: Mapping[str, Any], backend: str, until_s: float | None
) -> dict[str, Any]:
    """Ask until nobody is on the backend any more. Raises PlatformError when the time is up."""
    said, empty_since_s = "", None
    while True:
        told = _asked(link, command)
        one, now_s = _one(told, backend), time.monotonic()
        # Whoever is down has no clients: those it had are with others, however lately they were here.
        clients = one["sessions"] if one["wanted"] == "drain" else 0
        if one["wanted"] == "ready":
            raise PlatformError(f"{backend} was made ready again by somebody else", hint="tenfold balancer status")
        within = f"{_count(clients, 'client')} within {command['idle_s']:g} s"
        left = f"{within}, {_count(one['connections'], 'open connection')}"
        if left != said:
            run.say(f"  {left}")
            said = left
        if clients or one["connections"] or not told["settled"]:
            empty_since_s = None
        elif empty_since_s is None:
            empty_since_s = now_s
        elif now_s - empty_since_s >= QUIET_S:
            run.say(f"nobody is on {backend} any more")
            return told
        _rest(until_s, f"{backend} still has {left}")


def _wait_well(link: AgentLink, backend: str, until_s: float | None) -> dict[str, Any]:
    while True:
        view = _asked(link, {"do": "view"})["view"]
        if any(b["name"] == backend and b["state"] == "up" for b in view["backends"]):
            return link.ask({"do": "balancer"})
        _rest(until_s, f"{backend} does not answer well yet")


def _asked(link: AgentLink, command: Mapping[str, Any]) -> dict[str, Any]:
    """The agent's answer; while it is away, its supervisor brings it back. Raises NodeDown when it does not."""
    until_s = time.monotonic() + AWAY_S
    while True:
        try:
            return link.ask(command)
        except NodeDown:
            if time.monotonic() > until_s:
                raise
            time.sleep(POLL_S)


def _rest(until_s: float | None, why: str) -> None:
    if until_s is not None and time.monotonic() + POLL_S > until_s:
        raise PlatformError(f"the time is up: {why}", hint="the same command goes on waiting", retryable=True)
    time.sleep(POLL_S)


def _one(told: Mapping[str, Any], backend: str) -> dict[str, Any]:
    return next(dict(one) for one in told["backends"] if one["name"] == backend)


def _count(count: int | None, what: str) -> str:
    return f"{_known(count)} {what}" + ("" if count == 1 else "s")


def _known(count: int | None) -> str:
    return "?" if count is None else str(count)


def _link(run: Invocation) -> AgentLink:
    from tenfold.hosts.agent_link import AgentLink
    from tenfold.runtime.place import Place

    return AgentLink(Place.of(run.file).agent_socket, ANSWER_S)
