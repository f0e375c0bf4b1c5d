"""Takes a port for the page and tells where it is, before anything that takes long is even loaded. Edge."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path

from tenfold.errors import PlatformError
from tenfold.runtime import agent_state

log = logging.getLogger(__name__)
HOST = "127.0.0.1"
ABOVE, PORTS = 100, 100


def ports(balancer_port: int) -> list[int]:
    """Where the page may be, the best first: a hundred above the balancer, the ones after that, any."""
    first = balancer_port + ABOVE
    return [*(port for port in range(first, first + PORTS) if port < 65536), 0]


def take(wanted: Sequence[int]) -> socket.socket:
    """A socket that listens on the first of `wanted` that is free. Raises PlatformError when none is."""
    for port in wanted:
        server = socket.socket()
        # Connections of an earlier run that the kernel has yet to forget do not stand in the way.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((HOST, port))
            server.listen(128)
        except OSError as error:
            server.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise PlatformError(f"the page cannot listen on {HOST}:{port}: {error.strerror}") from None
            continue
        server.setblocking(False)
        return server
    raise PlatformError(f"no port of {HOST} is free for the page")


def announce(balancer_port: int, state: Path) -> tuple[socket.socket, str]:
    """Take a port and write `state`, where the disk allows; returns the socket and the token. Raises PlatformError."""
    before = agent_state.read(state)
    # Where an earlier agent was, open pages ask again.
    server = take([*([before.port] if before else []), *ports(balancer_port)])
    token = secrets.token_urlsafe(32)
    try:
        agent_state.write(state, agent_state.PageState(url_of(server), token, os.getpid()))
    except OSError as error:
        log.warning("%s cannot be written: %s", state, error.strerror)
    return server, token


def url_of(server: socket.socket) -> str:
    """The root of what is served on a socket."""
    return f"http://{HOST}:{server.getsockname()[1]}"
