"""One question and its answer over an open stream to one of our sockets, as frames. Edge."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Mapping
from typing import Any, Protocol

from tenfold.errors import HostError, TenfoldError
from tenfold.hosts.agent_link import COMMAND, MAX_ANSWER, MAX_COMMAND

_LENGTH = struct.Struct(">I")


class Reader(Protocol):
    """What asyncio and asyncssh both give."""

    async def readexactly(self, n: int) -> bytes: ...


class Writer(Protocol):
    """Likewise."""

    def write(self, data: bytes) -> Any: ...


def question(command: Mapping[str, Any]) -> bytes:
    """The frame that asks it. Raises TenfoldError for one that is too long."""
    text = json.dumps(command).encode()
    if len(text) > MAX_COMMAND:
        raise TenfoldError(f"a command of {len(text)} bytes; at most {MAX_COMMAND} are taken", hint="ask for less")
    return COMMAND + _LENGTH.pack(len(text)) + text


async def converse(where: str, reader: Reader, writer: Writer, frame: bytes) -> dict[str, Any]:
    """The answer to `frame`, without its "ok".

    where   names the other side in messages: "web_1: /srv/tenfold/var/run/up.sock"
    Raises  TenfoldError with the other side's words, hint and `retryable` when it refuses; HostError when it hangs up
            or what it says is no answer
    """
    try:
        writer.write(frame)
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > MAX_ANSWER:
            raise _babble(where)
        answer = json.loads(await reader.readexactly(length))
    except asyncio.IncompleteReadError:
        raise HostError(f"{where} hung up before its answer", hint="try again") from None
    except (ValueError, RecursionError):
        raise _babble(where) from None
    if not isinstance(answer, dict) or not isinstance(answer.get("ok"), bool):
        raise _babble(where)
    if answer.pop("ok"):
        return answer
    raise TenfoldError(
        str(answer.get("error") or "the other side refused"),
        hint=str(answer.get("hint") or ""),
        retryable=answer.get("retryable") is True,
    )


def nobody(where: str, why: str) -> HostError:
    """The error for a socket that nobody serves."""
    return HostError(
        f"{where} does not answer ({why})", hint="see that the platform runs there: `tenfold status`; `tenfold up`"
    )


def _babble(where: str) -> HostError:
    return HostError(
        f"what answers at {where} is no Tenfold of this version",
        hint="install the same version on every machine, and restart the platform there",
        retryable=False,
    )
