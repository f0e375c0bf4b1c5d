"""nginx.conf from the model, for the nginx that will read it. Pure.

Every path in it is relative: nginx is started with `-p var/`, so no character of a directory's name has
to be escaped, and the file reads the same wherever the platform lives.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tenfold.balancer import limits, upstreams
from tenfold.balancer.capacity import capacity
from tenfold.balancer.directives import Comment, Gap, Literal, Node, block, line, mapping, write
from tenfold.balancer.features import Features
from tenfold.balancer.states import ALL_READY, States
from tenfold.errors import BalancerError
from tenfold.topology.model import Sticky, Topology

HEALTH_PATH = "/.tenfold/nginx-health"
PID_FILE = "run/nginx.pid"
ACCESS_LOG = "log/nginx-access.tsv"
ERROR_LOG = "log/nginx-error.log"

# One column each, separated by tabs; bytes that are not printable ASCII, quotes and backslashes are \xHH,
# so a value can hold neither a tab nor a newline. "-" is a value that is not there. The query string is left
# out: it is where tokens and personal data travel.
ACCESS_LOG_COLUMNS: dict[str, str] = {
    "time": "$msec",  # seconds since 1970, to the millisecond
    "request_id": "$request_id",
    "client": "$remote_addr",
    "method": "$request_method",
    "host": "$host",
    "path": "$uri",
    "status": "$status",
    "bytes_sent": "$bytes_sent",
    "seconds": "$request_time",
    # The next four hold one value for each backend that was tried, separated by ", ".
    "backend": "$upstream_addr",
    "backend_status": "$upstream_status",
    "backend_connect_s": "$upstream_connect_time",
    "backend_s": "$upstream_response_time",
    "limit": "$limit_req_status",  # REJECTED: the 429 is ours
}

# Only the app answers, and these are never its pages: left-overs of editors, copies, databases and dumps.
_LEFTOVERS = (
    r"(?:~|\.(?:sql|sqlite3?|db|db-(?:wal|shm|journal)|rdb|dump|bak|backup|old|orig|save|sw[op]|env)"
    r"(?:\.(?:gz|bz2|xz|zst|zip|7z))?)$"
)
_DOTFILE = r"(?:^/\.(?!well-known(?:/|$))|[^/]/+\.)"
_DOMAIN = re.compile(r"(?:\*\.)?(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})\.)*[A-Za-z0-9_][A-Za-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where nginx will run.

    cpus      processors it may use
    fd_limit  open files that a process may have at most (the hard limit)
    account   (user, group) of the workers; None: nginx's own where it is started as root, else who starts it
    """

    cpus: int
    fd_limit: int
    account: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Rendered:
    """The text of nginx.conf, and what the user should know about it."""

    text: str
    warnings: tuple[str, ...]


def render(topology: Topology, features: Features, machine: Machine, states: States = ALL_READY) -> Rendered:
    """Write nginx.conf.

    states  what is wanted of each backend; one that is not named takes its share
    Raises BalancerError for a domain or network that is none, and for what this nginx cannot do safely.
    """
    share = capacity(machine.cpus, machine.fd_limit)
    tree: list[Node] = [
        Comment(f"Written by Tenfold from {topology.file.name}: edit that file, changes to this one are lost."),
        line("daemon", "off"),
        *([line("user", *machine.account)] if machine.account else []),
        line("worker_processes", share.workers),
        line("worker_rlimit_nofile", share.files),
        Comment("After a reload an old worker goes on serving long answers for so long, then it is cut."),
        line("worker_shutdown_timeout", "60s"),
        line("pid", PID_FILE),
        line("error_log", ERROR_LOG, "warn"),
        block("events", body=[line("worker_connections", share.connections)]),
        Gap(),
        block("http", body=_http(topology, features, states)),
    ]
    warnings = [share.warning, _ip_warning(topology)]
    return Rendered(write(tree), tuple(w for w in warnings if w))


def _ip_warning(topology: Topology) -> str | None:
    balancer = topology.balancer
    if balancer.sticky is not Sticky.IP or balancer.trusted_proxies or len(topology.app.backends) == 1:
        return None
    return (
        f'{topology.file.name}: balancer.sticky: "ip" sees only the first three numbers of an IPv4 address, so an '
        "office or a proxy in front is one client and lands on one backend; "
        'write sticky = "cookie", or name the proxies in balancer.trusted_proxies'
    )


def _http(topology: Topology, features: Features, states: States) -> Iterator[Node]:
    balancer = topology.balancer
    yield line("server_tokens", "off")
    yield from _directories(features)
    yield from _access_log()
    yield Gap()
    yield Comment("A client that is slower than this at speaking or listening is let go.")
    yield line("client_header_timeout", "10s")
    yield line("client_body_timeout", "30s")
    yield line("send_timeout", "30s")
    yield line("reset_timedout_connection", "on")
    yield line("keepalive_timeout", "65s")
    if features.keepalive_min_timeout:
        yield Comment("A reload lets idle clients go only after this while, so that none sees a reset.")
        yield line("keepalive_min_timeout", "5s")
    yield line("client_max_body_size", f"{balancer.max_body_mb}m")
    yield Comment("Room for a variable or two per limit, and for long domains.")
    yield line("variables_hash_max_size", 4096)
    yield line("variables_hash_bucket_size", 128)
    if topology.platform.domains:
        yield line("server_names_hash_bucket_size", 512)
    yield Gap()
    yield from _client_address(topology, features)
    yield from limits.zones(balancer.limits)
    yield from _maps()
    yield Gap()
    yield from upstreams.upstreams(topology, features, states)
    yield from _servers(topology, features)


def _directories(features: Features) -> Iterator[Node]:
    # The compiled-in directories belong to root; nginx opens each of them at start, used or not.
    yield line("client_body_temp_path", "nginx/body")
    for kind in ("proxy", "fastcgi", "uwsgi", "scgi"):
        if features.has(f"http_{kind}_module"):
            yield line(f"{kind}_temp_path", f"nginx/{kind}")


def _access_log() -> Iterator[Node]:
    yield line("log_format", "tenfold", "escape=default", "\t".join(ACCESS_LOG_COLUMNS.values()))
    yield line("access_log", ACCESS_LOG, "tenfold", "buffer=64k", "flush=1s")


def _client_address(topology: Topology, features: Features) -> Iterator[Node]:
    trusted = [_network(topology, text) for text in topology.balancer.trusted_proxies]
    if not trusted:
        return
    if not features.realip:
        raise BalancerError(
            "balancer.trusted_proxies needs an nginx with the realip module; this one would take all clients for one",
            hint="install your system's full nginx package, or name another in balancer.nginx",
        )
    yield block(
        "geo", "$realip_remote_addr", "$tenfold_trusted", body=[line("default", 0), *(line(n, 1) for n in trusted)]
    )
    yield Comment("The scheme that the client used, if a trusted proxy says it.")
    yield mapping(
        "$tenfold_trusted:$http_x_forwarded_proto",
        "$tenfold_scheme",
        [("default", "$scheme"), ("1:http", "http"), ("1:https", "https")],
    )
    for network in trusted:
        yield line("set_real_ip_from", network)
    yield line("real_ip_header", "X-Forwarded-For")
    yield line("real_ip_recursive", "on")
    yield Gap()


def _network(topology: Topology, text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise BalancerError(
            f"{topology.file.name}: balancer.trusted_proxies: {text!r} is not a network",
            hint='write an address or a network: "10.0.0.7" or "10.0.0.0/8"',
        ) from None


def _maps() -> Iterator[Node]:
    yield Comment("WebSocket passes; any other upgrade (h2c) would go around the rules of this file.")
    yield mapping("$http_upgrade", "$tenfold_upgrade", [("default", ""), ("~*^websocket$", "websocket")])
    yield mapping("$tenfold_upgrade", "$tenfold_connection", [("default", ""), ("websocket", "upgrade")])
    yield Comment("$host is checked and loses its port; the app needs the port for the links it writes.")
    yield mapping(
        "$http_host", "$tenfold_port", [("default", ""), ("~(?<tenfold_digits>:[0-9]{1,5})$", "$tenfold_digits")]
    )
    yield Comment("Headers that are added unless the app has set them.")
    for header, value in (
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "strict-origin-when-cross-origin"),
        ("X-Request-ID", "$request_id"),
    ):
        yield mapping(f"$upstream_http_{_snake(header)}", f"$tenfold_{_snake(header)}", [("default", ""), ("", value)])
    yield Comment("Who may ask whether nginx is alive.")
    yield block("geo", "$tenfold_local", body=[line("default", 0), line("127.0.0.0/8", 1), line("::1/128", 1)])


def _snake(header: str) -> str:
    return header.lower().replace("-", "_")


def _servers(topology: Topology, features: Features) -> Iterator[Node]:
    listen = Literal(topology.balancer.listen)
    names = _server_names(topology)
    if names:
        yield Gap()
        yield Comment("Any other host name: not ours.")
        yield block(
            "server",
            body=[
                line("listen", listen, "default_server"),
                line("server_name", "_"),
                _health(),
                block("location", "/", body=[line("return", 421)]),
            ],
        )
    yield Gap()
    yield block(
        "server",
        body=[
            line("listen", listen, *([] if names else ["default_server"])),
            line("server_name", *(names or ["_"])),
            *limits.rules(topology.balancer.limits),
            *_headers(topology, features),
            Gap(),
            _health(),
            Comment("Dotfiles, dumps and left-overs are not served, whoever asks and whatever the app has."),
            block("location", "~", _DOTFILE, body=[line("return", 404)]),
            block("location", "~*", _LEFTOVERS, body=[line("return", 404)]),
            block("location", "/", body=_proxy(topology, features)),
        ],
    )


def _server_names(topology: Topology) -> list[str]:
    """The names that are answered; none means any."""
    names = []
    for domain in topology.platform.domains:
        if not _DOMAIN.fullmatch(domain) or len(domain) > 253:
            raise BalancerError(
                f"{topology.file.name}: platform.domains: {domain!r} is not a host name",
                hint='write it as "example.com" or "*.example.com"; letters outside ASCII in punycode (xn--…)',
            )
        names.append(domain.lower())
    if names and _is_loopback(topology.balancer.listen):
        # Nobody from outside can send these names to a loopback address; the developer does.
        names += ["localhost", "127.0.0.1", "[::1]"]
    return list(dict.fromkeys(names))


def _is_loopback(listen: str) -> bool:
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _headers(topology: Topology, features: Features) -> Iterator[Node]:
    # All of them stand here: a `location` with an add_header of its own would inherit none.
    for header in ("X-Content-Type-Options", "Referrer-Policy", "X-Request-ID"):
        yield line("add_header", header, f"$tenfold_{_snake(header)}", "always")
    if upstreams.needs_cookie_maps(topology, features):
        yield line("add_header", "Set-Cookie", "$tenfold_cookie", "always")


def _health() -> Node:
    # `if`, not allow/deny: `return` comes before the access rules are looked at.
    return block(
        "location",
        "=",
        HEALTH_PATH,
        body=[
            line("access_log", "off"),
            block("if", "($tenfold_local", "=", "0)", body=[line("return", 404)]),
            line("return", 204),
        ],
    )


def _proxy(topology: Topology, features: Features) -> Iterator[Node]:
    yield line("proxy_pass", upstreams.target(topology, features))
    yield line("proxy_http_version", "1.1")
    yield Comment("This is the edge: what the client says about itself is overwritten, never passed on.")
    for header, value in (
        ("Host", "$host$tenfold_port"),
        ("X-Forwarded-For", "$remote_addr"),
        ("X-Forwarded-Proto", "$tenfold_scheme" if topology.balancer.trusted_proxies else "$scheme"),
        ("X-Forwarded-Host", "$host$tenfold_port"),
        ("X-Forwarded-Port", ""),
        ("X-Forwarded-Prefix", ""),
        ("X-Real-IP", "$remote_addr"),
        ("Forwarded", ""),
        ("X-Request-ID", "$request_id"),
        ("Proxy", ""),
        ("Upgrade", "$tenfold_upgrade"),
        ("Connection", "$tenfold_connection"),
    ):
        yield line("proxy_set_header", header, value)
    yield line("proxy_connect_timeout", "2s")
    yield line("proxy_send_timeout", "60s")
    yield line("proxy_read_timeout", "60s")
    yield line("proxy_buffer_size", "16k")
    yield line("proxy_buffers", 8, "16k")
    yield line("proxy_busy_buffers_size", "32k")
    yield Comment("Never non_idempotent: a POST that a backend has seen is not sent to another one.")
    yield line("proxy_next_upstream", "error", "timeout", "http_502", "http_503")
    yield line("proxy_next_upstream_tries", len(topology.app.backends))
    yield line("proxy_next_upstream_timeout", "5s")
