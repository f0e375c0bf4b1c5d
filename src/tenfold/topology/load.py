"""Reads tenfold.toml: from a path to the platform, with its secrets, or to every mistake. Edge."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from tenfold.errors import ConfigError
from tenfold.topology import files, overlay, secrets
from tenfold.topology.mistakes import in_order
from tenfold.topology.model import Topology
from tenfold.topology.parse import config_error, everywhere, examine, warnings
from tenfold.topology.syntax import explained

# A platform of thousands of tables fits into a tenth of it.
LARGEST_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Survey:
    """Everything that can be said of a file without reaching anything."""

    topology: Topology | None  # None where there are mistakes
    mistakes: tuple[str, ...]
    warnings: tuple[str, ...]
    environments: tuple[str, ...]


def load(
    path: str | PathLike[str], environment: str | None = None, environ: Mapping[str, str] = os.environ
) -> Topology:
    """The platform that the file describes, as `environment` sees it, secrets filled in.

    Raises ConfigError whose text holds every mistake, one a line: of the file, of the environment, and of secrets.
    """
    file, raw = _read(path)
    topology, mistakes, _ = _examine(file, raw, environment, environ)
    if topology is None:
        raise config_error(mistakes)
    return topology


def survey(
    path: str | PathLike[str], environment: str | None = None, environ: Mapping[str, str] = os.environ
) -> Survey:
    """As `load`, but every environment is examined. Secrets are fetched for the one asked for alone: those of
    production are not on a laptop. Raises ConfigError where the file cannot be read at all."""
    file, raw = _read(path)
    topology, mistakes, told = _examine(file, raw, environment, environ)
    mistakes = list(dict.fromkeys([*(m.line(file.name) for m in everywhere(raw, file=file)), *mistakes]))
    return Survey(None if mistakes else topology, tuple(mistakes), told, tuple(overlay.names(raw)))


def _examine(
    file: Path, raw: dict[str, Any], environment: str | None, environ: Mapping[str, str]
) -> tuple[Topology | None, list[str], tuple[str, ...]]:
    topology, wrong = examine(raw, file=file, environment=environment)
    if topology is None and any(not mistake.path for mistake in wrong):
        return None, [mistake.line(file.name) for mistake in wrong], ()
    seen = overlay.seen_by(raw, environment)
    found, missing = secrets.fetch(seen, file.parent, environ)
    if environment:
        missing = [overlay.attributed(mistake, raw, environment) for mistake in missing]
    lines = [mistake.line(file.name) for mistake in in_order([*wrong, *missing], raw)]
    if lines:
        return None, lines, ()
    # What a secret says may be wrong too: the address of a webhook is one.
    topology, wrong = examine(raw, file=file, environment=environment, secrets=found)
    if topology is None:
        return None, [mistake.line(file.name) for mistake in wrong], ()
    return topology, [], tuple(f"{file.name}: {line}" for line in warnings(topology))


def _read(path: str | PathLike[str]) -> tuple[Path, dict[str, Any]]:
    """The file's absolute path and what TOML holds."""
    file = Path(path).absolute()
    source = _decoded(file, _content(file))
    try:
        return file, tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise _refused(file, explained(str(error), source)) from None
    except (ValueError, RecursionError):
        # Python refuses numbers of thousands of digits; tomllib recurses into nested arrays.
        problem = "a number of thousands of digits, or thousands of nested arrays; remove them"
        raise _refused(file, problem) from None


def _content(file: Path) -> bytes:
    try:
        content, _ = files.read(file, LARGEST_BYTES)
    except files.NotAFile as other:
        problem = f"is {other}; name the file itself, such as --file {file.name}/tenfold.toml"
        raise _refused(file, problem) from None
    except FileNotFoundError:
        raise ConfigError(f"{file.name}: there is no such file in {file.parent}", hint="tenfold init") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "not a path"
        raise ConfigError(f"{file.name}: cannot be read: {why}", hint=f"ls -l {file}") from None
    if len(content) > LARGEST_BYTES:
        raise _refused(file, "is larger than 1 MiB, so hardly a tenfold.toml; name another file")
    return content


def _decoded(file: Path, content: bytes) -> str:
    try:
        # utf-8-sig: some editors put a byte order mark at the start, which TOML does not know.
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _refused(file, f"line {line}: is not UTF-8; save the file as UTF-8") from None


def _refused(file: Path, problem: str) -> ConfigError:
    return config_error([f"{file.name}: {problem}"])
