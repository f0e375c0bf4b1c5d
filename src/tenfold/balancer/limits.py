"""The rate limits as nginx's directives: whom they count, when they apply, what 429 says. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from tenfold.balancer.directives import Comment, Gap, Node, line, mapping, starts_with
from tenfold.topology.model import Limit, per_second

# Room for about 80,000 addresses; the ones unseen for longest make way.
ZONE_SIZE = "10m"


def zones(limits: Mapping[str, Limit]) -> Iterator[Node]:
    """What goes into `http`: who the client is, a key for each limit, and its counters."""
    yield Comment("An IPv6 client owns a whole /64: its first 8 bytes are the client. IPv4: the address.")
    yield mapping(
        "$binary_remote_addr",
        "$tenfold_client",
        [("default", "$binary_remote_addr"), (r"~^(?<tenfold_network>[\s\S]{8})[\s\S]{8}$", "$tenfold_network")],
    )
    for name, limit in limits.items():
        key = "$tenfold_client"
        if limit.paths or limit.methods:
            key = f"$tenfold_limit_{name}"
            yield Comment(f"{name}: a request that matches nothing has an empty key and is not counted.")
            entries = [(f"~{pattern}", "$tenfold_client") for pattern in _patterns(limit)]
            yield mapping("$request_method $uri", key, [("default", ""), *entries])
        yield line("limit_req_zone", key, f"zone=limit_{name}:{ZONE_SIZE}", f"rate={limit.rate}")
    yield line("limit_req_status", 429)
    yield Comment("The access log tells who was limited; the error log is for errors.")
    yield line("limit_req_log_level", "info")
    yield from _retry_after(limits)
    yield Gap()


def rules(limits: Mapping[str, Limit]) -> Iterator[Node]:
    """What goes into `server`: each limit, its burst served at once."""
    # nginx looks at all limits, then counts for all but the last of them in a second step; between the two
    # another worker may count too. So the slowest stands last, where the count is exact, and every one says
    # `nodelay`, with a burst or without: else the request in between waits (a minute at 1r/m: measured).
    for name, limit in sorted(limits.items(), key=lambda item: -per_second(item[1].rate)):
        burst = [f"burst={limit.burst}"] if limit.burst else []
        yield line("limit_req", f"zone=limit_{name}", *burst, "nodelay")
    yield line("add_header", "Retry-After", "$tenfold_retry_after", "always")


def _patterns(limit: Limit) -> Iterator[str]:
    methods = "|".join(starts_with(method) for method in limit.methods)
    start = f"^(?:{methods}) " if methods else "^[^ ]+ "
    for path in limit.paths or ("",):
        # $uri is decoded and without doubled slashes, so //login and /%6cogin are /login here;
        # the file writes paths as URLs do ("/two%20words").
        yield start + starts_with(unquote(path))


def _retry_after(limits: Mapping[str, Limit]) -> Iterator[Node]:
    """The seconds after which one more request is allowed, for the slowest limit that the request counts for."""
    seconds = {name: math.ceil(1 / per_second(limit.rate)) for name, limit in limits.items()}
    everywhere = max((s for n, s in seconds.items() if not (limits[n].paths or limits[n].methods)), default=1)
    answer = str(everywhere)
    for name in sorted((n for n in seconds if seconds[n] > everywhere), key=lambda n: seconds[n]):
        variable = f"$tenfold_wait_{name}"
        yield mapping(f"$tenfold_limit_{name}", variable, [("default", str(seconds[name])), ("", answer)])
        answer = variable
    yield Comment("Only for our own 429: the app's has the app's Retry-After.")
    yield mapping("$limit_req_status", "$tenfold_retry_after", [("default", ""), ("REJECTED", answer)])
