"""The app's commands: how they are cut into arguments, and what may stand in them. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

from tenfold.topology.addresses import has_password, listen_address
from tenfold.topology.mistakes import Mistake, nearest, shown, table
from tenfold.topology.model import App, Balancer

PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
# The setup command runs once, before any backend has a port.
KNOWN = {"command": ("port", "python"), "setup": ("python",)}
OF_A_SHELL = {"&&", "||", "|", ";", "&", ">", ">>", "<", "<<", "2>&1"}


def arguments(command: str, **values: str | int) -> list[str]:
    """The arguments of a command of the file, cut as a shell cuts words, {name} replaced after cutting: so a value
    with spaces stays one argument. Braces around anything else stay as they are."""
    return [
        PLACEHOLDER.sub(lambda hit: str(values[hit[1]]) if hit[1] in values else hit[0], word)
        for word in shlex.split(command)
    ]


def check(raw: dict[str, Any]) -> Iterator[Mistake]:
    """What is wrong with app.command, app.setup and the ports of the backends."""
    app = table(raw, "app")
    for name in KNOWN:
        if isinstance(app.get(name), str) and app[name]:
            yield from _command(name, app[name])
    yield from _ports(raw)


def _command(name: str, command: str) -> Iterator[Mistake]:
    # The text itself is never shown: somebody may have put a password into it.
    path = ("app", name)
    if "\0" in command:
        yield Mistake(path, "holds a NUL character", "write it without")
        return
    try:
        words = shlex.split(command)
    except ValueError as error:
        what = "a quote that is not closed" if "quotation" in str(error) else "a backslash at its end"
        yield Mistake(path, f"has {what}", "write quotes in pairs; \\\\ is one backslash")
        return
    if not words:
        yield Mistake(path, "holds no program", "write the program and its arguments")
    for word in dict.fromkeys(words):
        if word in OF_A_SHELL:
            remedy = 'write one program and its arguments, or a shell by name: sh -c "…"'
            yield Mistake(path, f"{shown(word)} needs a shell, and none is used", remedy)
    if any(has_password(word) for word in words):
        remedy = "write it into [app.environment] as a reference, and read it from there"
        yield Mistake(path, "holds a password, and every account of the machine sees arguments", remedy)
    known = KNOWN[name]
    for placeholder in dict.fromkeys(PLACEHOLDER.findall(command)):
        if placeholder not in known:
            near = nearest(placeholder, known)
            choices = " or ".join(f"{{{k}}}" for k in ((near,) if near else known))
            yield Mistake(path, f"{{{placeholder}}} stands for nothing here", f"write {choices}")


def _ports(raw: dict[str, Any]) -> Iterator[Mistake]:
    app, base = table(raw, "app"), App.model_fields["base_port"].default
    first = app.get("base_port", base)
    backends = app.get("backends", [{}])
    if not isinstance(backends, list) or not _is_port(first):
        return
    taken: dict[int, str] = {}
    for position, backend in enumerate(backends):
        port = backend.get("port", first + position) if isinstance(backend, dict) else None
        path = ("app", "backends", position)
        if isinstance(port, int) and port > 65535 and "port" not in backend:
            yield Mistake(path, f"would get port {port}", "write a smaller base_port; the highest port is 65535")
        if not isinstance(port, int) or not _is_port(port):
            continue
        if port in taken:
            free = next(p for p in range(first, 2 * 65536) if p not in taken)
            yield Mistake(path, f"has port {port} as {taken[port]} has", f"write another, such as port = {free}")
        taken.setdefault(port, f"app.backends[{position}]")
    balancer = _listening_port(raw)
    if balancer in taken:
        remedy = "write another port in balancer.listen or for the backend"
        yield Mistake(("balancer", "listen"), f"has port {balancer} as {taken[balancer]} has", remedy)


def _listening_port(raw: dict[str, Any]) -> int:
    listen = table(raw, "balancer").get("listen", Balancer.model_fields["listen"].default)
    try:
        return listen_address(listen)[1] if isinstance(listen, str) else 0
    except ValueError:
        return 0


def _is_port(port: object) -> bool:
    return isinstance(port, int) and not isinstance(port, bool) and 1 <= port <= 65535
