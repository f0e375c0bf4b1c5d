"""Secrets in the file: only as references, `${NAME}` or `file:PATH`, never the secret itself. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tenfold.topology.addresses import has_password
from tenfold.topology.mistakes import Mistake, Path, table

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
FILE = "file:"
# One $ more makes plain text of it: "$${" and, at the start, "$file:".
ESCAPED, ESCAPED_FILE = "$${", "$file:"
# Only the end of a name tells: SESSION_TOKEN holds a secret, TOKEN_LIFETIME does not.
SECRET_NAME = re.compile(
    r"(?i)(^|_)(password|passwd|passphrase|secret|token|key|credentials?|secret_key_base)$|_pwd$", re.ASCII
)
# The address of a webhook lets whoever knows it speak: it is a secret as a whole.
IN_NOTIFY = (("slack", "url"), ("email", "password"), ("webhook", "url"), ("webhook", "secret"))
SET_BY_TENFOLD = ("PORT", "TENFOLD_FILE", "TENFOLD_ENV", "TENFOLD_BACKEND")


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a secret is: an environment variable, or a file, relative to tenfold.toml."""

    path: Path
    variable: str | None = None
    file: str | None = None


def references(raw: dict[str, Any]) -> Iterator[Reference]:
    """Every reference in a place that may hold a secret."""
    for path, text in _places(raw):
        if whole := VARIABLE.fullmatch(text):
            yield Reference(path, variable=whole[1])
        elif text.startswith(FILE) and len(text) > len(FILE):
            yield Reference(path, file=text.removeprefix(FILE))


def check(raw: dict[str, Any]) -> Iterator[Mistake]:
    """Literal passwords, and what looks like a reference but is none. Never shows a value."""
    known = {reference.path for reference in references(raw)}
    for path, text in _places(raw):
        name = str(path[-1])
        if path[0] == "app":
            yield from _variable_name(path, name)
        if path[0] == "database" and table(raw, "database").get("engine", "sqlite") == "sqlite":
            yield Mistake(path, "a SQLite file has no password", "remove this key")
            continue
        if path in known or not text:
            continue
        reference = f'"${{{_variable(path)}}}"'
        if path[0] != "app" or SECRET_NAME.search(name):
            problem = "is a literal secret, or a reference not written as one"
            yield Mistake(path, problem, f'write {name} = {reference} or "file:PATH"')
        elif has_password(text):
            yield Mistake(path, "is an address that holds a password", f'write {name} = {reference} or "file:PATH"')
        elif "${" in text.replace(ESCAPED, "") or text == FILE:
            remedy = f"write {name} = {reference} and keep the whole value there; $${{ is a plain ${{"
            yield Mistake(path, "has a reference inside other text, which is not filled in", remedy)


def plain(text: str) -> str:
    """A value of app.environment that is no reference, as the app gets it."""
    if text.startswith(ESCAPED_FILE):
        text = text.removeprefix("$")
    return text.replace(ESCAPED, "${")


def _variable(path: Path) -> str:
    """A fitting name for the environment variable of a secret."""
    fitting = re.sub(r"\W", "_", str(path[-1]), flags=re.ASCII).upper()
    if path[0] == "notify":
        return {"email": "MAIL_PASSWORD"}.get(str(path[1]), f"{path[1]}_{path[2]}".upper())
    return {"database": "DB_PASSWORD", "cache": "CACHE_PASSWORD"}.get(str(path[0]), fitting)


def _variable_name(path: Path, name: str) -> Iterator[Mistake]:
    if name in SET_BY_TENFOLD:
        yield Mistake(path, "is set by Tenfold for each backend", "remove it")


def _places(raw: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """(path, text) of each value that may be a secret."""
    for name, shard in table(raw, "database", "shards").items():
        if isinstance(shard, dict) and isinstance(shard.get("password"), str):
            yield ("database", "shards", name, "password"), shard["password"]
    if isinstance(table(raw, "cache").get("password"), str):
        yield ("cache", "password"), raw["cache"]["password"]
    for channel, name in IN_NOTIFY:
        value = table(raw, "notify", channel).get(name)
        if isinstance(value, str):
            yield ("notify", channel, name), value
    for name, value in table(raw, "app", "environment").items():
        if isinstance(value, str):
            yield ("app", "environment", name), value
