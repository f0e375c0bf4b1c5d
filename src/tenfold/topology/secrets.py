"""Fetches the secrets that the file refers to, from the environment and from files. Edge."""

from __future__ import annotations

import shlex
import stat
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from pydantic import SecretStr

from tenfold.topology import files, toml
from tenfold.topology.mistakes import Mistake, Path
from tenfold.topology.references import Reference, references

LARGEST_BYTES = 64 * 1024


class _Unusable(Exception):
    """(problem, remedy) of a secret that cannot be used."""


def fetch(
    raw: dict[str, Any], root: FilePath, environ: Mapping[str, str]
) -> tuple[dict[Path, SecretStr], list[Mistake]]:
    """The secret for each reference of the file as one environment sees it, and a mistake for each that is missing.

    root  directory of tenfold.toml; relative `file:` references start there.
    """
    found: dict[Path, SecretStr] = {}
    mistakes: list[Mistake] = []
    for reference in references(raw):
        try:
            found[reference.path] = SecretStr(_value(reference, root, environ))
        except _Unusable as missing:
            problem, remedy = missing.args
            mistakes.append(Mistake(reference.path, problem, remedy))
    return found, mistakes


def _value(reference: Reference, root: FilePath, environ: Mapping[str, str]) -> str:
    if reference.variable is not None:
        value = environ.get(reference.variable, "")
        if not value:
            state = "is empty" if reference.variable in environ else "is not set"
            remedy = f'set {reference.variable} in the environment of this command, or write "file:PATH"'
            raise _Unusable(f"the environment variable {reference.variable} {state}", remedy)
        return value
    return _from_file(root / (reference.file or ""))


def _from_file(path: FilePath) -> str:
    name = toml.text(str(path))
    try:
        content, mode = files.read(path, LARGEST_BYTES)
    except files.NotAFile as other:
        raise _Unusable(f"{name} is {other}", "write the path of a file that holds the secret") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "not a path"
        remedy = "write the secret into it, readable by you alone"
        raise _Unusable(f"the file {name} cannot be read ({why})", remedy) from None
    if mode & stat.S_IROTH:
        raise _Unusable(f"every account may read the file {name}", f"run chmod o-r {shlex.quote(str(path))}")
    if len(content) > LARGEST_BYTES:
        raise _Unusable(f"the file {name} is too large for a secret", "write the path of another")
    try:
        # One line break: editors and `echo` put it there. A second one would be part of the secret.
        value = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise _Unusable(f"the file {name} is not UTF-8", "save it as UTF-8") from None
    if not value or "\0" in value:
        raise _Unusable(f"the file {name} holds no text", "write the secret into it")
    return value
