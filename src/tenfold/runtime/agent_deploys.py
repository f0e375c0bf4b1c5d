"""The lead agent's eye on deploys: what a killed deployer has left is taken back without anybody's command. Edge.

It looks at the lock with a connection of its own, in a process of its own while it acts, so that nothing of a deploy
holds up the figures. Where it cannot reach the hosts, it says so once, and leaves the rest to the next command.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Mapping

from tenfold.deploy.journal import Holder, Journal
from tenfold.deploy.lock import boot_clock
from tenfold.deploy.order import Deployed, State
from tenfold.errors import NotifyError, TenfoldError
from tenfold.notify.notice import Notice
from tenfold.notify.outbox import NAME, Outbox
from tenfold.runtime.aside import aside
from tenfold.runtime.place import Place
from tenfold.topology.model import Topology
from tenfold.topology.operations import Severity

LOOK_S = 3.0
AGAIN_S, LATER_S = 600.0, 15.0
"""How long it waits after a roll-back of its own that did not go whole, and after one that could not begin."""
TRY_LATER, TRIES = 75, 3
"""The exit code of what could not begin; so often in turn before somebody is told."""
LONGEST_S = 3600.0
log = logging.getLogger(__name__)


class Silence:
    """Since when the lock shows no life. clock: seconds that go on while the machine sleeps."""

    def __init__(self, clock: Callable[[], float] = boot_clock) -> None:
        self._clock = clock
        self._seen: tuple[str, int] = ("", 0)
        self._since_s = clock()

    def lasts_s(self, holder: Holder) -> float:
        """How long the holder has been silent."""
        now = (holder.token, holder.beat)
        if now != self._seen:
            self._seen, self._since_s = now, self._clock()
        return self._clock() - self._since_s


class DeployWatch:
    """Looks at the lock; acts by `tenfold rollback`, as a person would."""

    def __init__(self, topology: Topology, place: Place, environ: Mapping[str, str]) -> None:
        self._topology, self._place, self._environ = topology, place, dict(environ)
        self._silence = Silence()
        self._not_before_s = float("-inf")
        self._in_vain = 0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                left = await aside(self._look)
                if left is not None and time.monotonic() >= self._not_before_s:
                    await self._take_back(left)
            except TenfoldError as error:
                log.debug("the journal of deploys cannot be read: %s", error)

    def _look(self) -> Deployed | None:
        """The deploy that a dead deployer has left; None: there is none, or its deployer may live."""
        journal = Journal(self._topology)
        try:
            if journal.history().unfinished is None:
                return None
            holder = journal.holder()
            # Once more: whoever held the lock a moment ago may have ended it meanwhile.
            left = journal.history().unfinished
            if left is None or journal.holder().token != holder.token:
                return None
        finally:
            journal.close()
        if left.state is State.STUCK and not holder.token:
            return None  # a person has been told what to mend
        if not holder.token:
            return left
        limit_s = max(self._topology.deploy.lock_s, holder.lock_s)
        return left if self._silence.lasts_s(holder) >= limit_s else None

    async def _take_back(self, left: Deployed) -> None:
        log.warning("deploy %d of %s was left open: taking it back", left.id, left.order.release)
        words = [sys.executable, "-m", "tenfold.cli.main", "rollback", "--unfinished", "--yes"]
        words += ["--file", str(self._topology.file)]
        if self._topology.environment:
            words += ["--env", self._topology.environment]
        # A session of its own: an agent that is restarted in the middle does not take the roll-back with it.
        process = await asyncio.create_subprocess_exec(
            *words, cwd=self._place.root, env=self._environ, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        said = b""
        try:
            async with asyncio.timeout(LONGEST_S):
                _, said = await process.communicate()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
        if process.returncode == 0:
            log.warning("deploy %d was taken back", left.id)
            self._in_vain = 0
            return
        self._in_vain += 1
        later = process.returncode == TRY_LATER
        self._not_before_s = time.monotonic() + (LATER_S if later else AGAIN_S)
        if later and self._in_vain != TRIES:
            return
        why = said.decode("utf-8", "replace").strip()[-1500:] or f"it did not end within {LONGEST_S:g} s"
        log.error("deploy %d could not be taken back: %s", left.id, why)
        await aside(lambda: self._tell(left, why))

    def _tell(self, left: Deployed, why: str) -> None:
        name = self._topology.platform.name
        notice = Notice(
            key=f"deploy:{name}:{self._topology.environment or ''}:{left.id}:agent",
            severity=Severity.CRITICAL,
            title=f"{name}: a deploy was killed, and could not be taken back from here",
            text=f"deploy {left.id} of {left.order.release}: {why}\nRun `tenfold rollback --unfinished` elsewhere.",
            at_s=time.time(),
            source="deploy",
            facts={"release": left.order.release, "by": left.who},
        )
        try:
            Outbox(self._place.agent / NAME).put(notice)
        except NotifyError as error:
            log.error("the outbox cannot be written: %s", error)
