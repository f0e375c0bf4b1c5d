"""The port through which a machine is reached: small, and the same for this machine and over SSH. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

MOST_OUTPUT = 8 << 20
"""Bytes of each of a command's outputs that are kept: the last ones."""
MOST_READ = 1 << 20
NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended.

    code      its exit code; 128 and the signal's number where one ended it; 126, 127: could not be run, not found
    out, err  what it wrote, of more than MOST_OUTPUT bytes the last
    """

    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        """What it wrote, without the line break at its end; bytes that are no UTF-8 show as such."""
        return self.out.decode("utf-8", "backslashreplace").rstrip("\n")

    def last_lines(self, count: int = 20) -> str:
        """The end of what it said, its errors last."""
        lines = (self.out[-16_384:] + b"\n" + self.err[-16_384:]).decode("utf-8", "backslashreplace").splitlines()
        return "\n".join([line for line in lines if line.strip()][-count:])


class Host(Protocol):
    """A machine. Every call is bounded in time and may run beside others.

    Each raises HostError when the machine cannot be reached, is not who it should be, or does not answer in time;
    after that the next call connects anew.
    """

    name: str

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        environment: Mapping[str, str] = NOTHING,
        input: bytes | memoryview = b"",
        timeout_s: float = 60.0,
    ) -> Ran:
        """Run a program, without a shell, as the account that logs in.

        argv         the program and its arguments, any text but NUL; every account of the host may see them
        cwd          absolute; default: the account's home, here the directory of this process
        environment  on top of the account's own; no other account sees it
        input        its standard input; where there is none, the command is ended as soon as nobody waits for it:
                     when time is up, the caller is cancelled, or this process or the line dies
        Returns      how it ended; an exit code is an answer, not an error
        Raises       HostError; for a command that took too long only after it, and what it started, was ended
        """
        ...

    async def write(self, path: str, content: bytes | memoryview, mode: int = 0o640) -> None:
        """Put a file there, whole or not at all, and the directories above it. Raises HostError."""
        ...

    async def read(self, path: str, limit_bytes: int = MOST_READ) -> bytes | None:
        """The content of a file; None where there is none. Raises HostError, also for one beyond `limit_bytes`."""
        ...

    async def ask(self, socket: str, command: Mapping[str, Any], timeout_s: float = 10.0) -> dict[str, Any]:
        """What the process behind a Unix socket there answers, as AgentLink.ask.

        Raises HostError when nobody answers, TenfoldError with that process's own words when it refuses.
        """
        ...

    async def close(self) -> None:
        """Let go of the machine; what runs there by `run` is ended."""
        ...
