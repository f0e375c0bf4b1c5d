"""Where the agent's page is: var/run/agent.json, written by the agent, read by who tells a person. Edge."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PageState:
    """url: of the page; token: opens it once; pid: of the agent that serves it."""

    url: str
    token: str
    pid: int

    @property
    def link(self) -> str:
        """The address that opens the page, once."""
        return link(self.url, self.token)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


def link(url: str, token: str) -> str:
    """The address that opens the page at `url` by `token`."""
    return f"{url}/enter?token={token}"


def read(path: Path) -> PageState | None:
    """What the file says; None when there is none that can be read."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        data = json.loads(path.read_text(encoding="utf-8"))
        state = PageState(str(data["url"]), str(data["token"]), int(data["pid"]))
        return state if 0 < state.port < 65536 else None
    return None


def write(path: Path, state: PageState) -> None:
    """Replace the file as one step, readable by this account alone. Raises OSError."""
    replace(path, json.dumps(asdict(state)).encode())


def replace(path: Path, data: bytes, *, lasting: bool = False) -> None:
    """Give `path` new content as one step, readable by this account alone. Raises OSError.

    lasting  whether it must survive a power cut
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        if lasting:
            file.flush()
            os.fsync(file.fileno())
    beside.replace(path)
