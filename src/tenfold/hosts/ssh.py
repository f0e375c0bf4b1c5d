"""A machine reached over SSH: one connection, host keys verified always, no password ever. Edge."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import asyncssh

from tenfold.errors import HostError
from tenfold.hosts import content as files
from tenfold.hosts.call import LINGER_S, Call, within
from tenfold.hosts.dial import Login, dial
from tenfold.hosts.port import MOST_READ, NOTHING, Ran
from tenfold.hosts.shell import GRACE_S, LOGIN_SHELL, ending, opening, shown
from tenfold.hosts.talk import converse, nobody, question

# sshd allows ten sessions a connection unless told otherwise.
SESSIONS = 8
_LOST = (asyncssh.Error, OSError)


class _Session(asyncssh.SSHClientSession[bytes]):
    """Tells a Call what becomes of a command."""

    def __init__(self) -> None:
        self.call = Call()
        self.lost: Exception | None = None

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        (self.call.said if datatype is None else self.call.output.err)(data)

    def pause_writing(self) -> None:
        self.call.full()

    def resume_writing(self) -> None:
        self.call.roomy()

    def exit_status_received(self, status: int) -> None:
        self.call.exited(status)

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self.call.exited(128 + _number(signal))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = exc
        self.call.gone()


class SshHost:
    """Connects when it is first needed, and anew after the connection was lost."""

    def __init__(self, name: str, login: Login) -> None:
        self.name, self.login = name, login
        self._connection: asyncssh.SSHClientConnection | None = None
        self._dialling = asyncio.Lock()
        self._sessions = asyncio.Semaphore(SESSIONS)

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        environment: Mapping[str, str] = NOTHING,
        input: bytes | memoryview = b"",
        timeout_s: float = 60.0,
    ) -> Ran:
        """As Host.run; `timeout_s` is counted from when the connection stands."""
        feeds = isinstance(input, memoryview) or bool(input)
        line = opening(argv, cwd, environment, feeds)
        async with self._sessions:
            connection = await self._connected()
            session = _Session()
            channel: asyncssh.SSHClientChannel[bytes] | None = None
            try:
                async with asyncio.timeout(timeout_s):
                    channel, _ = await connection.create_session(lambda: session, LOGIN_SHELL, encoding=None)
                    await session.call.feed(channel.write, line, input)
                    if feeds:
                        channel.write_eof()
                    await session.call.ended.wait()
            except TimeoutError:
                raise self._too_long(argv, timeout_s) from None
            except _LOST as error:
                raise self._lost(argv, error) from None
            finally:
                if channel is not None:
                    # Cancelled: by Ctrl-C for one. It has to be over before anybody takes back what it did.
                    await asyncio.shield(_end(connection, channel, session.call, feeds))
        if session.call.code is None:
            raise self._lost(argv, session.lost)
        if session.call.output.group is None:
            raise self._no_shell(session.call)
        return session.call.ran()

    async def write(self, path: str, content: bytes | memoryview, mode: int = 0o640) -> None:
        """As Host.write."""
        await files.write(self, path, content, mode)

    async def read(self, path: str, limit_bytes: int = MOST_READ) -> bytes | None:
        """As Host.read."""
        return await files.read(self, path, limit_bytes)

    async def ask(self, socket: str, command: Mapping[str, Any], timeout_s: float = 10.0) -> dict[str, Any]:
        """As Host.ask; the SSH server must allow the forwarding of Unix sockets, as it does unless told otherwise."""
        frame, where = question(command), f"{self.name}: {socket}"
        connection = await self._connected()
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await connection.open_unix_connection(socket, encoding=None)
                try:
                    return await converse(where, reader, writer, frame)
                finally:
                    writer.close()
        except TimeoutError:
            raise nobody(where, f"nothing within {timeout_s:g} s") from None
        except asyncssh.ChannelOpenError as error:
            raise nobody(where, str(error.reason) or "refused") from None
        except _LOST as error:
            raise nobody(where, str(error)) from None

    async def close(self) -> None:
        """As Host.close."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(GRACE_S):
                    await connection.wait_closed()

    async def _connected(self) -> asyncssh.SSHClientConnection:
        async with self._dialling:
            if self._connection is None or self._connection.is_closed():
                self._connection = await dial(self.name, self.login)
            return self._connection

    def _too_long(self, argv: Sequence[str], timeout_s: float) -> HostError:
        return HostError(
            f"{self.name}: `{shown(argv)}` did not end within {timeout_s:g} s, and was stopped",
            hint="see on that machine what it waits for, then try again",
        )

    def _lost(self, argv: Sequence[str], error: Exception | None) -> HostError:
        why = f" ({error})" if error and str(error) else ""
        return HostError(
            f"{self.name}: the connection was lost during `{shown(argv)}`{why}; whether it was done is not known",
            hint="see that the machine is well, then try again: what was half done is repaired by that",
        )

    def _no_shell(self, call: Call) -> HostError:
        said = call.ran().last_lines(3)
        return HostError(
            f"{self.name}: {self.login.user} gets no shell there" + (f": {said}" if said else ""),
            hint="give the account a login shell (usermod -s /bin/sh), and no command= in its authorized_keys",
            retryable=False,
        )


async def _end(
    connection: asyncssh.SSHClientConnection, channel: asyncssh.SSHClientChannel[bytes], call: Call, feeds: bool
) -> None:
    """Hear the last words of a command that has ended; end one that has not, with all that it started."""
    try:
        with suppress(TimeoutError, *_LOST):
            if call.ended.is_set():
                await within(call.closed, LINGER_S)
                return
            if not feeds:
                channel.write_eof()  # the watch hears it
            elif call.output.group is not None:
                # The protocol's own signals are refused for root, and where authorized_keys names a command.
                other = _Session()
                killer, _ = await connection.create_session(lambda: other, LOGIN_SHELL, encoding=None)
                await other.call.feed(killer.write, ending(call.output.group), b"")
            await within(call.closed, 2.0 * GRACE_S + LINGER_S)
    finally:
        channel.close()


def _number(name: str) -> int:
    try:
        return int(signal.Signals[f"SIG{name}"])
    except KeyError:
        return 0
