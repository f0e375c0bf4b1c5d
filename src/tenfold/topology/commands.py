"""The app's commands: how they are cut into arguments, and what may stand in them. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from tenfold.topology.addresses import has_password
from tenfold.topology.mistakes import Mistake, Path, nearest, shown, table

PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
# The setup command runs once, before any backend has a port.
KNOWN = {"command": ("port", "host", "python"), "setup": ("python",)}
# Both run in the release; the Python of the host makes the release's own.
IN_RELEASE = ("python", "host_python")
OF_A_SHELL = {"&&", "||", "|", ";", "&", ">", ">>", "<", "<<", "2>&1"}


def arguments(command: str, **values: str | int) -> list[str]:
    """The arguments of a command of the file, cut as a shell cuts words, {name} replaced after cutting: so a value
    with spaces stays one argument. Braces around anything else stay as they are."""
    return [
        PLACEHOLDER.sub(lambda hit: str(values[hit[1]]) if hit[1] in values else hit[0], word)
        for word in shlex.split(command)
    ]


def check(raw: dict[str, Any]) -> Iterator[Mistake]:
    """What is wrong with the commands of [app] and [deploy], and with deploy.repository, an argument of git."""
    app, deploy = table(raw, "app"), table(raw, "deploy")
    for name, known in KNOWN.items():
        if isinstance(app.get(name), str) and app[name]:
            yield from _command(("app", name), app[name], known)
    if isinstance(deploy.get("install"), str) and deploy["install"]:
        yield from _command(("deploy", "install"), deploy["install"], IN_RELEASE)
    build = deploy.get("build")
    for position, command in enumerate(build if isinstance(build, list | tuple) else ()):
        if isinstance(command, str):
            yield from _command(("deploy", "build", position), command, IN_RELEASE)
    if isinstance(deploy.get("repository"), str) and has_password(deploy["repository"]):
        remedy = "leave it out: use a deploy key over SSH, or git's credential.helper"
        yield Mistake(("deploy", "repository"), "holds a password, and every account sees git's arguments", remedy)


def _command(path: Path, command: str, known: Sequence[str]) -> Iterator[Mistake]:
    # The text itself is never shown: somebody may have put a password into it.
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
    for placeholder in dict.fromkeys(PLACEHOLDER.findall(command)):
        if placeholder not in known:
            near = nearest(placeholder, known)
            choices = " or ".join(f"{{{k}}}" for k in ((near,) if near else known))
            yield Mistake(path, f"{{{placeholder}}} stands for nothing here", f"write {choices}")
