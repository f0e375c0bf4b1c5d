"""Deploys and roll-backs from beginning to end. Edge."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold.deploy.desk import Desk, desk, stuck
from tenfold.deploy.fleet import Fleet, Standing
from tenfold.deploy.journal import Journal, Replaced
from tenfold.deploy.lock import TAKES_BACK
from tenfold.deploy.making import Making
from tenfold.deploy.migrate import Migrating
from tenfold.deploy.migrations import CONTRACT, File, ordered, statements
from tenfold.deploy.order import INTERRUPTED, Deployed, History, Kind, Order, State
from tenfold.deploy.plan import LOCAL, Phase, app_hosts, balancer_host, every_host, lines, planned
from tenfold.deploy.run import Runner, Tell
from tenfold.deploy.source import Source, resolve
from tenfold.errors import DeployError, GateError, TenfoldError
from tenfold.topology.model import Topology

Confirm = Callable[[Sequence[str]], bool]
"""Is shown the plan; whether to go ahead."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended where nothing was raised. deployed None: nothing had to be done, or was only shown."""

    said: str
    deployed: Deployed | None = None
    report: Path | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What `tenfold deploy` was told besides the ref."""

    dry_run: bool = False
    retry_bad: bool = False
    again: bool = False


async def deploy(topology: Topology, ref: str | None, wish: Wish, tell: Tell, confirm: Confirm) -> Outcome:
    """Bring a commit onto the fleet.

    Raises GateError, DeployError: then the fleet runs what it ran before, or the error says what is left;
    DeployError, HostError, ConfigError of what is refused before anything was changed.
    """
    source = await asyncio.to_thread(resolve, topology, ref or topology.deploy.ref)
    if wish.dry_run:
        return await _shown(topology, tell, lambda fleet, history: _deploy_order(fleet, history, source, wish))
    async with desk(topology, tell) as work:
        history = await work.history()
        decided = await _deploy_order(work.fleet, history, source, wish)
        if isinstance(decided, Outcome):
            return decided
        order, files = decided
        return await _carry_out(work, order, Making(work.fleet, order, files, source), confirm)


async def rollback(topology: Topology, to: str | None, dry_run: bool, tell: Tell, confirm: Confirm) -> Outcome:
    """Bring the fleet back to a release that it ran well: `to`, or the one before the present one.

    A deploy that was left open is taken back first; where that was one, and `to` is None, that is all. Raises as
    `deploy`.
    """
    if dry_run:
        return await _shown(topology, tell, lambda fleet, history: _rollback_order(fleet, history, to))
    async with desk(topology, tell) as work:
        if work.recovered is not None and to is None:
            return Outcome(f"deploy {work.recovered.id} of {work.recovered.order.release} was taken back")
        decided = await _rollback_order(work.fleet, await work.history(), to)
        if isinstance(decided, Outcome):
            return decided
        order, _ = decided
        return await _carry_out(work, order, Making(work.fleet, order), confirm)


async def take_back(topology: Topology, tell: Tell) -> Outcome:
    """Take back what a killed deploy has left, and nothing else; where there is none, do nothing.

    Raises HostError before anything is done where a host cannot be reached, else as `rollback`.
    """
    async with desk(topology, tell, all_hosts=True) as work:
        found = work.recovered
        if found is None:
            return Outcome("no deploy was left open")
        return Outcome(f"deploy {found.id} of {found.order.release} was taken back")


Decided = Outcome | tuple[Order, dict[str, File]]


async def _shown(topology: Topology, tell: Tell, decide: Callable[[Fleet, History], Awaitable[Decided]]) -> Outcome:
    """Show what would be done; changes nothing, and needs no lock."""
    journal, fleet = Journal(topology), Fleet(topology)
    try:
        history = await asyncio.to_thread(journal.history)
        if (left := history.unfinished) is not None:
            tell({"event": "said", "said": f"deploy {left.id} of {left.order.release} is {left.state.value}: unless it"
                  " goes on, it is taken back first"})  # fmt: skip
        decided = await decide(fleet, history)
        if isinstance(decided, Outcome):
            return decided
        order, files = decided
        tell({"event": "plan", "order": order.as_json(), "lines": lines(planned(topology, order), order)})
        for line in await asyncio.to_thread(_where, topology, order, files):
            tell({"event": "statement", "said": line})
        return Outcome("nothing was done: this was the plan")
    finally:
        await fleet.close()
        await asyncio.to_thread(journal.close)


def _where(topology: Topology, order: Order, files: dict[str, File]) -> list[str]:
    """The statements of migrations with their shards, for a person."""
    migrating = Migrating(topology)
    try:
        ground, found = migrating.ground(), list[str]()
        for name in (*order.migrations, *order.contracts):
            found.append(f"{name}:")
            for one in statements(files[name], ground):
                found.append(f"  on {', '.join(one.shards)}: {' '.join(one.sql.split())}")
        return found
    finally:
        migrating.close()


async def _deploy_order(fleet: Fleet, history: History, source: Source, wish: Wish) -> Decided:
    topology = fleet.topology
    bad = history.bad_of_commit(source.commit)
    if bad and not wish.retry_bad:
        raise DeployError(
            f"{source.ref} is {source.commit[:12]}, whose release {bad} is marked as bad: it was taken back",
            hint="mend it in a new commit; or, if the trouble lay elsewhere, `tenfold deploy --retry-bad`",
        )
    standing = await fleet.standing()
    running = set(standing.links.values())
    if len(running) == 1 and not wish.again:
        (release,) = running
        if release and history.is_good(release) and _commit(standing, release) == source.commit:
            return Outcome(f"every backend runs {source.commit[:12]} already ({release}); --again deploys it anew")
    pending, contracts, files = await asyncio.to_thread(_migrations, topology, history, source, running)
    order = Order(
        Kind.DEPLOY, source.release, source.commit, source.ref, standing.links,
        pending, contracts, tuple(files), await _is_cold(fleet),
    )  # fmt: skip
    return order, files


def _commit(standing: Standing, release: str) -> str:
    """What the markers on the hosts say that a release was made of; "" where they do not agree."""
    found = {told.get(release, {}).get("commit", "") for told in standing.releases.values()}
    return found.pop() if len(found) == 1 else ""


def _migrations(
    topology: Topology, history: History, source: Source, running: set[str | None]
) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, File]]:
    """(files to run first, files to run last, every file of the release). Raises DeployError for what is wrong."""
    every = ordered(source.migrations)
    if not every:
        return (), (), {}
    shipped = (
        {name for release in running if release for name in history.shipped(release)} if len(running) == 1 else set()
    )
    migrating = Migrating(topology)
    try:
        migrating.no_move()
        ground = migrating.ground()
        pending = migrating.pending(every, ground)
        lost = [name for name in migrating.done(ground) if name.endswith(CONTRACT)]
        missing = sorted(set(lost) - {file.name for file in every})
        if missing:
            raise _too_old(source.release, missing)
        for file in pending:
            statements(file, ground)
    finally:
        migrating.close()
    return (
        tuple(file.name for file in pending if not file.contract),
        # What takes something away runs at the deploy after the one that brought it: by then no backend runs a
        # release of before, and none may come back.
        tuple(file.name for file in pending if file.contract and file.name in shipped),
        {file.name: file for file in every},
    )


def _too_old(release: str, missing: Sequence[str]) -> DeployError:
    return DeployError(
        f"{release} is older than {', '.join(missing)}, which has taken away what it needs",
        hint="go forward instead: deploy a commit that has these files",
    )


async def _is_cold(fleet: Fleet) -> bool:
    """Whether nothing runs yet. Raises DeployError where some hosts run, and others do not."""
    names = every_host(fleet.topology)
    up = await asyncio.gather(*(fleet.keeper.is_up(name) for name in names))
    away = [name for name, runs in zip(names, up, strict=True) if not runs]
    if away and any(up):
        raise DeployError(
            f"the platform does not run on {', '.join(away)}",
            hint="start it there: " + "; ".join(fleet.keeper.start(name) for name in away),
        )
    return bool(away)


async def _rollback_order(fleet: Fleet, history: History, to: str | None) -> Decided:
    topology, standing = fleet.topology, await fleet.standing()
    running = set(standing.links.values())
    release = to or _last_good(topology, standing, history, running)
    if not history.is_good(release):
        why = "is marked as bad, or was never completed" if history.is_bad(release) else "was never deployed"
        raise DeployError(
            f"{release} {why}: the fleet does not return to it", hint="`tenfold deploy --list` says which are good"
        )
    missing = standing.everywhere(app_hosts(topology), release)
    if missing:
        raise DeployError(
            f"{release} is not there any more on {', '.join(missing)}",
            hint=f"deploy its commit again: tenfold deploy {_commit_of(history, release)}",
        )
    if running == {release}:
        return Outcome(f"every backend runs {release} already")
    shipped = history.shipped(release)
    lost = await asyncio.to_thread(_contracted, topology)
    if too_new := sorted(name for name in lost if name not in shipped):
        raise _too_old(release, too_new)
    order = Order(
        Kind.ROLLBACK, release, _commit_of(history, release), release, standing.links, shipped=shipped,
        cold=await _is_cold(fleet),
    )  # fmt: skip
    return order, {}


def _contracted(topology: Topology) -> list[str]:
    migrating = Migrating(topology)
    try:
        return [name for name in migrating.done(migrating.ground()) if name.endswith(CONTRACT)]
    finally:
        migrating.close()


def _commit_of(history: History, release: str) -> str:
    return next((one.order.commit for one in reversed(history.deploys) if one.order.release == release), "")


def _last_good(topology: Topology, standing: Standing, history: History, running: set[str | None]) -> str:
    hosts = app_hosts(topology)
    if len(running) > 1:  # back to one release, whichever was good last
        candidates = history.good()
    else:
        (present,) = running
        candidates = history.before(present) if present else history.good()
    for release in candidates:
        if not standing.everywhere(hosts, release):
            return release
    raise DeployError(
        "there is no good release to go back to", hint="`tenfold deploy --list` says what there was; deploy a commit"
    )


async def _carry_out(work: Desk, order: Order, make: Making, confirm: Confirm) -> Outcome:
    plan = planned(work.topology, order)
    work.tell({"event": "plan", "order": order.as_json(), "lines": lines(plan, order)})
    if not confirm(lines(plan, order)):
        return Outcome("nothing was done")
    number = await asyncio.to_thread(work.journal.begin, work.held, order)
    deployed = next(one for one in (await work.history()).deploys if one.id == number)
    work.tell({"event": "begin", "deploy": number, "release": order.release})
    runner = work.runner(deployed, make)
    changed = False
    try:
        for phase in plan:
            if phase.after:
                break
            changed = changed or phase.changes
            await runner.forward(phase)
        await runner.turn(State.GOOD)
    except Replaced:
        raise
    except (Exception, asyncio.CancelledError) as error:  # also what is a bug of ours is taken back
        raise await _failed(work, deployed, runner, error, changed=changed) from None
    await _afterwards(work, runner, [phase for phase in plan if phase.after])
    report = await work.reporter.tell(work.journal, number)
    fresh = next(one for one in (await work.history()).deploys if one.id == number)
    verb = "deployed" if order.kind is Kind.DEPLOY else "rolled back to"
    more = f"; start it: {_start(work.fleet)}" if order.cold else ""
    return Outcome(f"{verb} {order.release}{more}", fresh, report)


async def _afterwards(work: Desk, runner: Runner, phases: Sequence[Phase]) -> None:
    """What takes nothing back where it fails, or is interrupted: the deploy is good already."""
    for phase in phases:
        try:
            await runner.forward(phase)
        except Replaced:
            raise
        except (TenfoldError, asyncio.CancelledError) as error:
            _uncancelled(error)
            why = "interrupted; the deploy is good" if isinstance(error, asyncio.CancelledError) else str(error)
            work.tell({"event": "warning", "said": f"{phase.name}: {why}"})
            work.beat.check()


def _uncancelled(error: BaseException) -> None:
    """Let the task go on that was cancelled."""
    me = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and me is not None:
        me.uncancel()


def _start(fleet: Fleet) -> str:
    if balancer_host(fleet.topology) == LOCAL:
        return "tenfold up"
    return "; ".join(fleet.keeper.start(name) for name in every_host(fleet.topology))


async def _failed(
    work: Desk, deployed: Deployed, runner: Runner, error: BaseException, *, changed: bool
) -> TenfoldError:
    """Take a deploy back after `error`, → what to raise."""
    _uncancelled(error)
    why = str(error)
    if isinstance(error, asyncio.CancelledError):
        why = INTERRUPTED
    elif not isinstance(error, TenfoldError):
        why = f"{type(error).__name__}: {error} (a mistake of Tenfold's; please report it)"
    hint = getattr(error, "hint", "")
    work.beat.check()
    if not changed:
        with suppress(Replaced):
            await runner.turn(State.REFUSED, why)
        await work.reporter.tell(work.journal, deployed.id)
        return error if isinstance(error, TenfoldError) else DeployError(f"{why}; nothing was changed")
    try:
        left = await work.take_back(deployed, runner, why)
    except Replaced:
        raise
    except TenfoldError as stopped:
        return DeployError(f"{why}\nit could not be taken back yet: {stopped}", hint=TAKES_BACK)
    if left:
        return DeployError(f"{why}\n{stuck(deployed, left)}", hint=stuck(deployed, left).hint)
    release, kind = deployed.order.release, GateError if isinstance(error, GateError) else DeployError
    said = f"{why}\nevery backend runs again what it ran before: {_before(deployed.order)}"
    if (await work.history()).is_bad(release):
        said += f"; {release} is marked as bad"
    if deployed.order.migrations:
        said += "; migrations only add, and stay"
    return kind(said, hint=hint, retryable=False)


def _before(order: Order) -> str:
    found: dict[str, list[str]] = {}
    for backend, release in order.before.items():
        found.setdefault(release or "what lies in its directory", []).append(backend)
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{', '.join(names)}: {release}" for release, names in found.items())


def as_rows(history: History) -> list[dict[str, Any]]:
    """All deploys for a list, the newest first."""
    return [
        {
            "deploy": one.id, "kind": one.order.kind.value, "release": one.order.release,
            "commit": one.order.commit, "state": one.state.value, "who": one.who,
            "began_s": one.began_s, "ended_s": one.ended_s, "why": one.said,
        }
        for one in reversed(history.deploys)
    ]  # fmt: skip
