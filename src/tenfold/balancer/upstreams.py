"""The backends as nginx's upstreams, and how a client comes back to its own. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tenfold.balancer.directives import Comment, Directive, Gap, Node, block, line, mapping
from tenfold.balancer.features import Features
from tenfold.balancer.states import ALL_READY, States, Wanted, of
from tenfold.topology.model import Sticky, Topology

COOKIE = "tenfold_backend"
ALL = "tenfold_app"
# Shorter than the keep-alive of any common app server (gunicorn 2 s, uvicorn and Node 5 s): whoever closes
# first must be nginx, else a POST can meet a connection that the app is just closing, and it is not retried.
IDLE = "1500ms"


def backend_name(position: int) -> str:
    """What the backend at `position` is called, in cookies, logs and TENFOLD_BACKEND."""
    return f"backend_{position}"


def backend_address(topology: Topology, position: int) -> str:
    """Where the backend at `position` listens: address:port."""
    host, port = topology.backend_listens(position), topology.backend_port(position)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def wants_cookie(topology: Topology) -> bool:
    """Tell whether clients get a cookie; with one backend there is nothing to choose."""
    return topology.balancer.sticky is Sticky.COOKIE and len(topology.app.backends) > 1


def needs_cookie_maps(topology: Topology, features: Features) -> bool:
    """Tell whether cookie stickiness is built from maps, because nginx has none of its own."""
    return wants_cookie(topology) and not features.sticky


def target(topology: Topology, features: Features) -> str:
    """What `proxy_pass` is given."""
    return "http://$tenfold_upstream" if needs_cookie_maps(topology, features) else f"http://{ALL}"


def upstreams(topology: Topology, features: Features, states: States = ALL_READY) -> Iterator[Node]:
    """What goes into `http`: the upstream of all backends and, for an older nginx, one for each backend."""
    native = wants_cookie(topology) and features.sticky
    if states:
        told = ", ".join(f"{name} {wanted}" for name, wanted in states.items())
        yield Comment(f"By `tenfold balancer`: {told}.")
    yield block("upstream", ALL, body=_upstream(topology, features, states, ALL, native=native))
    if needs_cookie_maps(topology, features):
        yield Gap()
        yield from _cookie_maps(topology, features, states)


def _upstream(
    topology: Topology, features: Features, states: States, name: str, *, native: bool = False, first: int | None = None
) -> Iterator[Node]:
    balancer, backends = topology.balancer, topology.app.backends
    # The zone is what the workers share: weights and failures count over all of them.
    yield line("zone", name, f"{64 + 2 * len(backends)}k")
    if balancer.sticky is Sticky.IP and len(backends) > 1:
        yield line("ip_hash")
    for position in range(len(backends)):
        mark = _mark(of(states, backend_name(position)), native=native, own=first == position)
        yield _server(topology, position, route=native, backup=first not in (None, position), mark=mark)
    if native:
        yield line("sticky", "cookie", COOKIE, "path=/", "httponly", "samesite=lax")
    if balancer.keepalive:
        yield line("keepalive", balancer.keepalive)
        yield line("keepalive_timeout", IDLE)
        yield line("keepalive_requests", 10_000)
    elif features.keepalive_by_default:
        yield line("keepalive", 0)


def _mark(wanted: Wanted, *, native: bool, own: bool) -> list[str]:
    """The word that keeps requests away from a server.

    native  this upstream binds clients to servers itself, so that `drain` has a meaning in it
    own     this upstream is for the clients that are bound to this very server
    """
    if wanted is Wanted.READY or (wanted is Wanted.DRAIN and own):
        return []
    # Where nothing binds clients (no cookie), draining is letting go: open requests end, no further one comes.
    return ["drain"] if wanted is Wanted.DRAIN and native else ["down"]


def _server(topology: Topology, position: int, *, route: bool, backup: bool, mark: list[str]) -> Directive:
    balancer = topology.balancer
    return line(
        "server",
        backend_address(topology, position),
        f"weight={topology.app.backends[position].weight}",
        f"max_fails={balancer.max_fails}",
        f"fail_timeout={balancer.fail_timeout_s}s",
        *([f"route={backend_name(position)}"] if route else []),
        *(["backup"] if backup else []),
        *mark,
    )


def _cookie_maps(topology: Topology, features: Features, states: States) -> Iterator[Node]:
    """Stickiness without `sticky`: the cookie names an upstream whose first choice is its backend.

    The others stand behind it as backups, so a client moves on when its backend is dead, and the answer
    carries the cookie of the one that served it. Clients without a cookie go by weight, as ever. A backend
    that drains is down in every upstream but its own; one that is down, in all of them.
    """
    positions = range(len(topology.app.backends))
    yield Comment("This nginx has no `sticky`: the cookie chooses an upstream, whose other backends stand by.")
    for position in positions:
        name = f"tenfold_{backend_name(position)}"
        yield block("upstream", name, body=_upstream(topology, features, states, name, first=position))
    yield mapping(
        f"$cookie_{COOKIE}",
        "$tenfold_upstream",
        [("default", ALL), *((backend_name(p), f"tenfold_{backend_name(p)}") for p in positions)],
    )
    yield Comment("The last address is the backend that answered.")
    # Behind a blank where others were tried before; 10.0.0.5 must not be found in 110.0.0.5.
    addresses = [(rf"~(^|\s){re.escape(backend_address(topology, p))}$", backend_name(p)) for p in positions]
    yield mapping("$upstream_addr", "$tenfold_served_by", [("default", ""), *addresses])
    yield mapping(
        f"$cookie_{COOKIE}:$tenfold_served_by",
        "$tenfold_cookie",
        [
            ("default", f"{COOKIE}=$tenfold_served_by; path=/; httponly; samesite=lax"),
            ("~:$", ""),
            (r"~^(.+):\1$", ""),
        ],
    )
