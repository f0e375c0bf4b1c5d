"""Takes what waits in the outbox to its channels, each at its own pace. Edge."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tenfold.errors import NotifyError
from tenfold.notify.backoff import delay_s
from tenfold.notify.dialling import Unreached
from tenfold.notify.notice import RANK
from tenfold.notify.outbox import Delivery, Outbox
from tenfold.notify.send import Channel, channels
from tenfold.topology.model import Topology
from tenfold.topology.operations import Severity

# After so many answers that were none, another notice may go before: that one may be what the receiver cannot take.
PATIENCE = 3
log = logging.getLogger(__name__)


def takers(every: list[Channel], least: Severity) -> dict[str, frozenset[str]]:
    """{channel: severities that it takes}, for Outbox.assign."""
    severities = frozenset(severity.value for severity, rank in RANK.items() if rank >= RANK[least])
    return {channel.name: severities for channel in every}


@dataclass(frozen=True, slots=True)
class _Failed:
    """A delivery in vain: when it is due again (None: never), and whether it, not the receiver, may be the trouble."""

    due_s: float | None
    may_be_its_own: bool


class Sender:
    """Drains one channel, in the order in which notices were put.

    give_up_s  after which a notice that was tried in vain is a dead letter
    clock      seconds since 1970; `chance` gives 0..1
    """

    def __init__(
        self, outbox: Outbox, channel: Channel, give_up_s: float, *,
        clock: Callable[[], float] = time.time, chance: Callable[[], float] = random.random,
    ) -> None:  # fmt: skip
        self.outbox, self.channel, self._give_up_s = outbox, channel, give_up_s
        self._clock, self._chance = clock, chance

    def round(self, stop: Callable[[], bool] = lambda: False) -> int:
        """Send what is due until nothing is, or the receiver fails, or another process sends; returns how many were
        delivered. Raises NotifyError."""
        with self.outbox.hold(self.channel.name) as ours:
            return self._round(stop) if ours else 0

    def _round(self, stop: Callable[[], bool]) -> int:
        name, count, failures = self.channel.name, 0, self.outbox.failures(self.channel.name)
        failed_before, due_s = False, 0.0
        while not stop() and (delivery := self.outbox.next(name, self._clock())) is not None:
            failed = self._try(delivery, failures)
            if failed is None:
                if failures:
                    self.outbox.rest(name, 0.0, 0)
                count, failures, failed_before = count + 1, 0, False
            elif failed.due_s is not None:
                # The last of them: when the channel goes on, all are due, and the oldest goes first.
                failures, due_s = failures + 1, max(due_s, failed.due_s)
                if failed_before or not failed.may_be_its_own:
                    self.outbox.rest(name, due_s, failures)
                    break
                failed_before = True
        return count

    def _try(self, delivery: Delivery, failures: int) -> _Failed | None:
        """One delivery; None: it was taken."""
        outbox, notice = self.outbox, delivery.notice
        try:
            self._send(delivery)
        except Unreached as error:
            now_s, reason = self._clock(), f"{error.reason}; {error.hint}" if error.hint else error.reason
            left = error.left or delivery.left
            log.warning("%s: notice %s: %s", self.channel.name, notice.identity, reason)
            if error.permanent or now_s - delivery.since_s >= self._give_up_s:
                outbox.buried(delivery, now_s, reason, left)
                return _Failed(None, True)
            wait_s = delay_s(max(failures, delivery.attempts) + 1, self._chance(), error.asked_s)
            due_s = min(now_s + wait_s, max(now_s, delivery.since_s + self._give_up_s))
            outbox.failed(delivery, now_s, reason, due_s, left)
            # Who asks for time asks it for all notices.
            return _Failed(due_s, error.answered and error.asked_s is None and delivery.attempts >= PATIENCE)
        outbox.delivered(delivery, self._clock())
        return None

    def _send(self, delivery: Delivery) -> None:
        try:
            self.channel.send(delivery.notice, delivery.left)
        except Unreached:
            raise
        except Exception as error:  # a bug of ours must not end the thread; its text may hold a secret
            raise Unreached(f"{type(error).__name__} in Tenfold", "please report it", answered=True) from None


def deliver(
    outbox: Outbox, topology: Topology, within_s: float, *, clock: Callable[[], float] = time.time
) -> Mapping[str, int]:
    """Send what waits, for a process beside which no agent may run; returns Outbox.counts() at the end.

    Comes back once nothing waits, or after `within_s`: what is left stays in the outbox for the agent, or for the next
    that calls this. Beside an agent it is harmless: a channel has one sender at a time. Raises NotifyError.
    """
    every = channels(topology)
    outbox.assign(takers(every, topology.notify.min_severity), clock())
    over, until_s = threading.Event(), time.monotonic() + within_s

    def drain(sender: Sender) -> None:
        try:
            while not over.is_set():
                sender.round(over.is_set)
                due_s = outbox.due_s(sender.channel.name)
                if due_s is None:
                    return
                over.wait(min(1.0, max(0.1, due_s - clock())))
        except NotifyError as error:
            log.warning("%s", error)

    senders = [Sender(outbox, channel, topology.notify.give_up_s, clock=clock) for channel in every]
    threads = [threading.Thread(target=drain, args=(one,), daemon=True, name="deliver") for one in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until_s - time.monotonic()))
    over.set()
    return outbox.counts()
