"""Passwords: argon2 with the library's own parameters, off the event loop, a few at a time. Edge.

One hash takes a tenth of a second and 64 MiB, on purpose. So only as many run at once as there are
processors (two at most), and who cannot begin within WAIT_S is told to come again.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from tenfold.demo.ledger.problems import Busy

AT_ONCE = min(2, os.cpu_count() or 1)
WAIT_S = 10.0
T = TypeVar("T")


class Turn:
    """The right to hash or verify now."""

    def __init__(self, passwords: Passwords) -> None:
        self._passwords = passwords

    async def hash(self, password: str) -> str:
        """The argon2 hash to store."""
        return await self._passwords.run(self._passwords.hasher.hash, password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password is the one of the stored hash.

        Without a stored hash (no such user) the same work is done on another one, so that the time of the
        answer does not tell whether the account exists.
        """
        passwords = self._passwords
        right = await passwords.run(_verify, passwords.hasher, stored or passwords.decoy, password)
        return right and stored is not None


class Passwords:
    """Hands out turns."""

    def __init__(self) -> None:
        self.hasher = PasswordHasher()
        self.decoy = ""
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="argon2")

    async def prepare(self) -> None:
        """Make the hash that stands in for unknown users, with the parameters that the others have."""
        self.decoy = await self.run(self.hasher.hash, secrets.token_hex(16))

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        """Wait for a turn. Raises Busy after WAIT_S."""
        try:
            async with asyncio.timeout(WAIT_S):
                await self._turns.acquire()
        except TimeoutError:
            raise Busy("Too many people are signing in at this moment.") from None
        try:
            yield Turn(self)
        finally:
            self._turns.release()

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Do the work in a thread; argon2 lets other threads run meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def outdated(self, stored: str) -> bool:
        """Whether the library would hash with other parameters by now."""
        return self.hasher.check_needs_rehash(stored)

    def close(self) -> None:
        """End the threads; hashes that have begun are finished."""
        self._threads.shutdown(wait=True, cancel_futures=True)


def _verify(hasher: PasswordHasher, stored: str, password: str) -> bool:
    try:
        return hasher.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
