"""The machines of an environment: who runs what, which ports meet, and what is wrong with that. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tenfold.topology.addresses import is_loopback, listen_address
from tenfold.topology.mistakes import Mistake, nearest, shown, table
from tenfold.topology.model import App, Balancer, Engine, Role, Topology

HERE = ""
"""Where a backend is that has no host: this machine."""


def check(raw: dict[str, Any], environment: str | None) -> Iterator[Mistake]:
    """What is wrong with the hosts of all environments, and with the backends as `environment` sees them."""
    for name in table(raw, "environments"):
        yield from _roles(name, _hosts(raw, name))
    hosts = _hosts(raw, environment)
    yield from _backend_hosts(raw, environment, hosts)
    yield from _ports(raw, hosts)


def warnings(topology: Topology) -> list[str]:
    """What works, but not as somebody may think; complete sentences."""
    told, hosts = [], topology.hosts
    apart = [name for name, host in hosts.items() if Role.APP in host.roles and not is_loopback(host.address)]
    if apart and "{host}" not in topology.app.command:
        told.append(
            "app.command: the balancer asks each backend at the address of its host; "
            "write {host} where the command takes the address to listen on"
        )
    used = {topology.backend_host(position) for position in range(len(topology.app.backends))}
    if len(used) > 1 and topology.database.engine is Engine.SQLITE:
        told.append(
            "database.engine: a SQLite file is on one machine, and the backends are on several; "
            'for them engine = "mysql"'
        )
    return told


def _hosts(raw: dict[str, Any], environment: str | None) -> dict[str, dict[str, Any]]:
    hosts = table(raw, "environments", environment or "", "hosts")
    return {name: host for name, host in hosts.items() if isinstance(host, dict)}


def _has(host: dict[str, Any], role: Role) -> bool:
    return role in _listed(host)


def _listed(host: dict[str, Any]) -> list[str]:
    roles = host.get("roles", [Role.APP])
    return [role for role in roles if isinstance(role, str)] if isinstance(roles, list) else []


def _roles(environment: str, hosts: dict[str, dict[str, Any]]) -> Iterator[Mistake]:
    words = {role for host in hosts.values() for role in _listed(host)}
    if not hosts or not words <= set(Role):  # the model says what is no role
        return
    path, first = ("environments", environment, "hosts"), next(iter(hosts))
    balancers = [name for name, host in hosts.items() if _has(host, Role.BALANCER)]
    if not balancers:
        remedy = f'write roles = ["balancer", "app"] for one of them, such as {shown(first)}'
        yield Mistake(path, "have no balancer", remedy)
    for name in balancers[1:]:
        remedy = f'leave "balancer" to one of them; {shown(name)} may have roles = ["app"]'
        yield Mistake((*path, name, "roles"), f"makes a second balancer beside {shown(balancers[0])}", remedy)
    if not any(_has(host, Role.APP) for host in hosts.values()):
        yield Mistake(
            path, "have none that runs the app", f'write "app" into the roles of one of them, such as {shown(first)}'
        )


def _backend_hosts(raw: dict[str, Any], environment: str | None, hosts: dict[str, dict[str, Any]]) -> Iterator[Mistake]:
    backends = table(raw, "app").get("backends")
    # An environment without hosts runs everything here; a name that another one has is no mistake in it.
    known = hosts or {name: host for each in table(raw, "environments") for name, host in _hosts(raw, each).items()}
    for position, backend in enumerate(backends if isinstance(backends, list) else ()):
        name = backend.get("host") if isinstance(backend, dict) else None
        if not isinstance(name, str):
            continue
        path = ("app", "backends", position, "host")
        if name not in known:
            near = nearest(name, known)
            there = f" (there are: {', '.join(known)})" if known else ", for no environment has any"
            table_ = f"[environments.{environment or 'production'}.hosts.{name}]"
            remedy = f'write host = "{near}"' if near else f"write one that is there, or add {table_}"
            yield Mistake(path, f"{shown(name)} is not a host{there}", remedy)
        elif not _has(known[name], Role.APP):
            able = [other for other, host in known.items() if _has(host, Role.APP)]
            remedy = f'write "app" into the roles of {name}' + (f', or host = "{able[0]}"' if able else "")
            yield Mistake(path, f"{shown(name)} does not run the app", remedy)


def _ports(raw: dict[str, Any], hosts: dict[str, dict[str, Any]]) -> Iterator[Mistake]:
    app, base = table(raw, "app"), App.model_fields["base_port"].default
    first = app.get("base_port", base)
    backends = app.get("backends", [{}])
    if not isinstance(backends, list) or not _is_port(first):
        return
    places = _places(backends, hosts)
    taken: dict[tuple[str, int], str] = {}
    for position, backend in enumerate(backends):
        port = backend.get("port", first + position) if isinstance(backend, dict) else None
        path = ("app", "backends", position)
        if isinstance(port, int) and port > 65535 and "port" not in backend:
            yield Mistake(path, f"would get port {port}", "write a smaller base_port; the highest port is 65535")
        if not isinstance(port, int) or not _is_port(port):
            continue
        place = places[position]
        if other := taken.get((place, port)):
            free = next(p for p in range(first, 2 * 65536) if (place, p) not in taken)
            yield Mistake(path, f"has port {port} as {other} has", f"write another, such as port = {free}")
        taken.setdefault((place, port), f"app.backends[{position}]")
    port = _listening_port(raw)
    balancers = {str(host.get("address")) for host in hosts.values() if _has(host, Role.BALANCER)} or {HERE}
    if other := next((taken[place, port] for place in balancers if (place, port) in taken), None):
        remedy = "write another port in balancer.listen or for the backend"
        yield Mistake(("balancer", "listen"), f"has port {port} as {other} has", remedy)


def _places(backends: list[Any], hosts: dict[str, dict[str, Any]]) -> list[str]:
    """The address of the host of each backend; HERE where there are no hosts, or its own is a mistake."""
    turns = [name for name, host in hosts.items() if _has(host, Role.APP)]
    named = [backend.get("host") if isinstance(backend, dict) else None for backend in backends]
    names = [name or (turns[position % len(turns)] if turns else None) for position, name in enumerate(named)]
    return [str(hosts[name].get("address")) if isinstance(name, str) and name in hosts else HERE for name in names]


def _listening_port(raw: dict[str, Any]) -> int:
    listen = table(raw, "balancer").get("listen", Balancer.model_fields["listen"].default)
    try:
        return listen_address(listen)[1] if isinstance(listen, str) else 0
    except ValueError:
        return 0


def _is_port(port: object) -> bool:
    return isinstance(port, int) and not isinstance(port, bool) and 1 <= port <= 65535


def unit_name(platform: str, program: str) -> str:
    """systemd's name for a program of a host ("backend_0", "balancer", "agent", "setup")."""
    return f"tenfold-{platform}-{program}.service"


def target_name(platform: str) -> str:
    """systemd's name for all of them together."""
    return f"tenfold-{platform}.target"
