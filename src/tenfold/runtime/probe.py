"""Ask whether something is well: over HTTP, or the agent on its socket. Edge."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from tenfold.errors import TenfoldError
from tenfold.hosts.agent_link import AgentLink
from tenfold.runtime.aside import aside
from tenfold.runtime.programs import Address, Program

TIMEOUT_S = 2.0
# An app's health page is small; what is longer is not waited for.
LONGEST_ANSWER = 64 * 1024


async def status_of(address: Address, path: str, host: str, timeout_s: float = TIMEOUT_S) -> int | None:
    """The HTTP status that GET `path` is answered with; None for no answer in time, or none that is HTTP."""
    with suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
        return await asyncio.wait_for(_get(address, path, host), timeout_s)
    return None


async def agent_answers(path: Path, timeout_s: float = TIMEOUT_S) -> bool:
    """Tell whether an agent answers at the socket `path`."""
    link = AgentLink(path, timeout_s)
    with suppress(TenfoldError):
        await aside(lambda: link.ask({"do": "status"}))
        return True
    return False


async def answer_of(program: Program) -> int | None:
    """The status that a program answers its health question with; one that answers on a socket says 200."""
    if program.socket is None:
        return await status_of(program.address, program.health, program.host)
    return 200 if await agent_answers(Path(program.socket)) else None


async def _get(address: Address, path: str, host: str) -> int:
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tenfold\r\nConnection: close\r\n\r\n"
        writer.write(request.encode("ascii"))
        line = await reader.readline()
        version, _, rest = line.partition(b" ")
        if not version.startswith(b"HTTP/1."):
            raise ValueError("not HTTP")
        # Read on: an app whose client leaves early may write that to its log each time.
        with suppress(TimeoutError):
            await asyncio.wait_for(reader.read(LONGEST_ANSWER), 0.2)
        return int(rest[:3])
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
