"""From what TOML holds to the model, or to every mistake at once. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from pydantic import SecretStr, ValidationError

from tenfold.errors import ConfigError
from tenfold.topology import (
    addresses,
    commands,
    fleet,
    monitoring,
    notifying,
    overlay,
    references,
    shards,
    tables,
    wording,
)
from tenfold.topology.mistakes import Mistake, Path, in_order, nearest, shown
from tenfold.topology.model import Sticky, Topology
from tenfold.topology.schema import NOT_IN_THE_FILE

FILE = PurePath("tenfold.toml")
# The deepest key of the model is seven tables down. Deeper ones are somebody playing with the recursion limit.
DEEPEST = 20
HINT = "correct the file; tenfold check reads it again"

Raw = dict[str, Any]
Secrets = Mapping[Path, SecretStr]


def parse(
    raw: Raw, *, file: PurePath = FILE, environment: str | None = None, secrets: Secrets | None = None
) -> Topology:
    """The platform as `environment` sees it.

    raw       what tomllib read.
    file      where it was read from: the topology keeps it, and relative paths start at its directory.
    secrets   the value for each reference of references(); one that is missing stays as it is written.
    Raises    ConfigError with every mistake, one a line.
    """
    topology, mistakes = examine(raw, file=file, environment=environment, secrets=secrets)
    if topology is None:
        raise config_error([mistake.line(file.name) for mistake in mistakes])
    return topology


def examine(
    raw: Raw, *, file: PurePath = FILE, environment: str | None = None, secrets: Secrets | None = None
) -> tuple[Topology | None, list[Mistake]]:
    """The platform, or None and what is wrong with it; as `parse`, without raising."""
    if _too_deep(raw):
        return None, [Mistake((), "its tables are nested too deeply", "write them as tenfold schema shows")]
    if environment is not None and environment not in overlay.names(raw):
        return None, [_unknown_environment(environment, overlay.names(raw))]
    topology, mistakes = _judge(raw, file, environment, secrets or {})
    if environment is not None and mistakes:
        alone = {mistake.path for mistake in _judge(raw, file, None, {})[1]}
        mistakes = [_told(mistake, alone, raw, environment) for mistake in mistakes]
    return (None if mistakes else topology), in_order(mistakes, raw)


def everywhere(raw: Raw, *, file: PurePath = FILE) -> list[Mistake]:
    """What is wrong with the file alone and as each of its environments sees it, each mistake once."""
    alone = examine(raw, file=file)[1]
    told = {mistake.path for mistake in alone}
    found = list(alone)
    for environment in overlay.names(raw) if () not in told else ():
        found += [m for m in examine(raw, file=file, environment=environment)[1] if m.path not in told]
    return in_order(found, raw)


def warnings(topology: Topology) -> list[str]:
    """What works, but not as somebody may think; complete sentences."""
    balancer, told = topology.balancer, []
    if balancer.sticky is Sticky.IP and not balancer.trusted_proxies:
        told.append(
            'balancer.sticky: "ip" sees only the first three numbers of an address, and behind a proxy only the '
            'proxy: many clients may share one backend; write sticky = "cookie", or name your trusted_proxies'
        )
    for network in balancer.trusted_proxies:
        if network.endswith("/0"):
            told.append(f"balancer.trusted_proxies: {shown(network)} lets every client claim any address")
    told += fleet.warnings(topology)
    return told


def config_error(lines: list[str]) -> ConfigError:
    """The error that holds these mistakes."""
    return ConfigError("\n".join(dict.fromkeys(lines)), hint=HINT)


def _judge(
    raw: Raw, file: PurePath, environment: str | None, secrets: Secrets
) -> tuple[Topology | None, list[Mistake]]:
    seen = overlay.seen_by(raw, environment)
    mistakes = [wording.unknown_key((key,)) for key in seen if key in NOT_IN_THE_FILE]
    mistakes += overlay.check(raw)
    topology: Topology | None = None
    own = {key: value for key, value in seen.items() if key not in NOT_IN_THE_FILE}
    try:
        topology = Topology.model_validate({**_filled_in(own, secrets), "file": file, "environment": environment})
    except ValidationError as error:
        mistakes += wording.from_model(error, own)
    mistakes += addresses.check(own)
    mistakes += shards.check(own, file.parent, environment)
    mistakes += commands.check(own)
    mistakes += fleet.check(own, environment)
    mistakes += tables.check(own)
    mistakes += references.check(own)
    mistakes += monitoring.check(own)
    mistakes += notifying.check(own, secrets)
    return topology, mistakes


def _filled_in(raw: Raw, secrets: Secrets) -> Raw:
    """A copy with secrets in place of references, and escaped text of app.environment as the app gets it."""
    copy: Raw = _copy(raw)
    waiting = {reference.path for reference in references.references(raw)}
    variables = copy["app"].get("environment") if isinstance(copy.get("app"), dict) else None
    if isinstance(variables, dict):
        for name, text in variables.items():
            if isinstance(text, str) and ("app", "environment", name) not in waiting:
                variables[name] = references.plain(text)
    for path, value in secrets.items():
        here: Any = copy
        for step in path[:-1]:
            here = here[step]
        here[path[-1]] = value
    return copy


def _copy(value: Any) -> Any:
    return {key: _copy(item) for key, item in value.items()} if isinstance(value, dict) else value


def _told(mistake: Mistake, alone: set[Path], raw: Raw, environment: str) -> Mistake:
    """A mistake of an environment: under the environment's own key, or saying that it is there only."""
    moved = overlay.attributed(mistake, raw, environment)
    if moved == mistake and mistake.path not in alone and mistake.path[:1] != (overlay.ENVIRONMENTS,):
        return replace(mistake, problem=f"in environment {environment}: {mistake.problem}")
    return moved


def _unknown_environment(environment: str, known: list[str]) -> Mistake:
    problem = f"there is no environment {shown(environment)}"
    if not known:
        return Mistake((), f"{problem}, nor any other", f"leave --env away, or write [environments.{environment}]")
    near = nearest(environment, known) or known[0]
    return Mistake((), f"{problem} (there are: {', '.join(known)})", f"write --env {near}")


def _too_deep(raw: Raw) -> bool:
    level: list[object] = [raw]
    for _ in range(DEEPEST):
        level = [
            item
            for holder in level
            for item in (holder.values() if isinstance(holder, dict) else holder if isinstance(holder, list) else ())
            if isinstance(item, dict | list)
        ]
        if not level:
            return False
    return True
