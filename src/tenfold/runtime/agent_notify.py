"""Notices in the agent: alerts grouped, kept and taken to their channels, in threads that hold up nobody. Edge."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tenfold.audit.trail import NAME as TRAIL
from tenfold.audit.trail import Trail
from tenfold.errors import NotifyError
from tenfold.notify.dialling import Unreached
from tenfold.notify.grouping import Firing, Grouping
from tenfold.notify.notice import Notice
from tenfold.notify.outbox import NAME, Outbox
from tenfold.notify.send import NAMES, Channel, channels
from tenfold.notify.sender import Sender, takers
from tenfold.runtime.aside import aside
from tenfold.runtime.place import Place
from tenfold.topology.model import Topology
from tenfold.topology.operations import Severity

# Other processes put too: how often the outbox is looked into, and tidied up.
LOOK_S, SEE_S, TIDY_S = 1.0, 2.0, 600.0
MEMORY = "alerts.grouping"
# Evaluations that wait for a disk that has stopped; the newest says what fires, so older ones may go.
WAITING = 5
LONGEST_WHO = 200
log = logging.getLogger(__name__)


def outbox_of(place: Place) -> Outbox:
    """The outbox of a platform."""
    return Outbox(place.agent / NAME)


class Notifier:
    """What of notices happens in the agent.

    `tell` takes what fires, each evaluation; `command` answers {"do": "notify", "action": test | list | retry | drop}.

    trouble      what keeps notices from being kept; None when all is well
    undelivered  what channels have not taken (Outbox.undelivered), as it was a moment ago
    """

    def __init__(self, topology: Topology, place: Place, clock: Callable[[], float] = time.time) -> None:
        self._settings, self._clock = topology.notify, clock
        self._trail = Trail(place.var / TRAIL)
        self.outbox = outbox_of(place)
        self._channels = channels(topology)
        self._teller = Teller(self.outbox, topology.notify.group_wait_s, topology.notify.repeat_s)
        self._told: queue.Queue[tuple[float, tuple[Firing, ...]]] = queue.Queue(WAITING)
        self._stop = threading.Event()
        self._wakes = {channel.name: threading.Event() for channel in self._channels}
        self._threads: list[threading.Thread] = []
        self.trouble: str | None = None
        self.undelivered: Sequence[Mapping[str, Any]] = ()

    def start(self) -> None:
        """Begin to send."""
        senders = [Sender(self.outbox, one, self._settings.give_up_s, clock=self._clock) for one in self._channels]
        work: list[Callable[[], None]] = [self._keep, *(lambda one=one: self._drain(one) for one in senders)]
        self._threads = [threading.Thread(target=one, daemon=True, name="notify") for one in work]
        for thread in self._threads:
            thread.start()

    def stop(self, within_s: float) -> None:
        """End; a delivery that hangs is left behind, and made again by the next agent."""
        self._stop.set()
        for wake in self._wakes.values():
            wake.set()
        until_s = time.monotonic() + within_s
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))

    def tell(self, now_s: float, firing: Sequence[Firing]) -> None:
        """What fires now, all of it; what is to be told of it is told soon. Never waits for disk or network."""
        while True:
            try:
                self._told.put_nowait((now_s, tuple(firing)))
                return
            except queue.Full:
                try:
                    self._told.get_nowait()
                except queue.Empty:
                    continue

    async def command(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer a command of the agent's socket. Raises NotifyError."""
        action = command.get("action")
        channel = command.get("channel")
        if channel is not None and not isinstance(channel, str):
            raise NotifyError("a channel is named by a text", hint="one of: " + " ".join(NAMES))
        if action == "list":
            return await aside(lambda: listed(self.outbox, self._channels, self.trouble))
        who = str(command["who"])[:LONGEST_WHO] if command.get("who") else None
        if action == "test":
            return {"channels": await aside(lambda: self._test(channel, who))}
        if action in ("retry", "drop") and channel not in (None, *NAMES):
            raise NotifyError(f"there is no channel {channel[:LONGEST_WHO]!r}", hint="one of: " + " ".join(NAMES))
        if action == "retry":
            return {"retried": await aside(lambda: self._retry(channel, who))}
        if action == "drop":
            return {"dropped": await aside(lambda: self._drop(channel, who))}
        raise NotifyError(f"there is no action {action!r}", hint="one of: test list retry drop")

    def _test(self, channel: str | None, who: str | None) -> list[dict[str, Any]]:
        told = try_out(self._channels, channel, self._clock())
        self._note("notify.test", who, **{one["channel"]: one["delivered"] for one in told})
        return told

    def _retry(self, channel: str | None, who: str | None) -> int:
        count = self.outbox.retry(self._clock(), channel)
        for wake in self._wakes.values():
            wake.set()
        self._note("notify.retry", who, channel=channel, letters=count)
        return count

    def _drop(self, channel: str | None, who: str | None) -> int:
        count = self.outbox.drop(channel)
        self._note("notify.drop", who, channel=channel, letters=count)
        return count

    def _note(self, did: str, who: str | None, **about: Any) -> None:
        try:
            self._trail.write(did, who, **about)
        except OSError as error:
            log.warning("the audit trail cannot be written: %s", error.strerror)

    def _keep(self) -> None:
        """Group what fires and put it; and put what anybody has put on its ways."""
        tidied_s = saw_s = float("-inf")
        while not self._stop.is_set():
            try:
                now_s, firing = self._told.get(timeout=LOOK_S)
            except queue.Empty:
                firing = None
            try:
                if firing is not None:
                    self._teller.step(now_s, firing)
                if self.outbox.assign(takers(self._channels, self._settings.min_severity), self._clock()):
                    for wake in self._wakes.values():
                        wake.set()
                if time.monotonic() - saw_s >= SEE_S:
                    saw_s = time.monotonic()
                    self.undelivered = self.outbox.undelivered(list(self._wakes))
                if time.monotonic() - tidied_s > TIDY_S:
                    tidied_s = time.monotonic()
                    self.outbox.tidy(list(self._wakes), self._settings.give_up_s, self._clock())
                self.trouble = None
            except NotifyError as error:
                self._complain(error)
            except Exception:
                log.exception("notices are held up")

    def _drain(self, sender: Sender) -> None:
        name = sender.channel.name
        wake = self._wakes[name]
        while not self._stop.is_set():
            wake.clear()
            due_s = None
            try:
                sender.round(self._stop.is_set)
                due_s = sender.outbox.due_s(name)
            except NotifyError as error:
                self._complain(error)
            except Exception:
                log.exception("%s is held up", name)
            wake.wait(LOOK_S if due_s is not None else 10 * LOOK_S)

    def _complain(self, error: NotifyError) -> None:
        if self.trouble != str(error):
            log.warning("%s", error)
        self.trouble = str(error)
        self._stop.wait(LOOK_S)


class Teller:
    """Groups what fires, and keeps its state and its notices as one: whenever it is killed, nothing is told twice and
    nothing forgotten."""

    def __init__(self, outbox: Outbox, group_wait_s: float, repeat_s: float) -> None:
        self._outbox, self._group_wait_s, self._repeat_s = outbox, group_wait_s, repeat_s
        self._state: dict[str, Any] | None = None

    def step(self, now_s: float, firing: Sequence[Firing]) -> list[Notice]:
        """Put what is to be told of it, and return it. Raises NotifyError, and nothing has happened."""
        if self._state is None:
            self._state = self._outbox.recall(MEMORY) or {}
        if not firing and not self._state:
            return []
        grouping = Grouping(self._group_wait_s, self._repeat_s, self._state)
        notices = grouping.step(now_s, firing)
        after = grouping.as_json()
        if notices or after != self._state:
            self._outbox.put(*notices, remember={MEMORY: after})
            self._state = after
        return notices


def try_out(every: Sequence[Channel], channel: str | None, now_s: float) -> list[dict[str, Any]]:
    """Send a test notice by each channel, or one, side by side. Raises NotifyError where there is no such channel."""
    chosen = [one for one in every if channel in (None, one.name)]
    if not chosen:
        missing = f"no channel {channel}" if channel else "no channel"
        raise NotifyError(f"{missing} in tenfold.toml", hint="write [notify.slack], [notify.email] or [notify.webhook]")
    notice = Notice(
        key=f"test/{now_s:.6f}",
        severity=Severity.INFO,
        title="a test of the notices",
        text="Somebody has run tenfold notify test. If you can read this, alerts reach you this way.",
        at_s=now_s,
        source="test",
    )
    results: dict[str, dict[str, Any]] = {}

    def send(one: Channel) -> None:
        told: dict[str, Any] = {"channel": one.name, "host": one.host, "delivered": True, "reason": "", "hint": ""}
        try:
            one.send(notice)
        except Unreached as error:
            told |= {"delivered": False, "reason": error.reason, "hint": error.hint}
        except Exception as error:
            told |= {"delivered": False, "reason": f"{type(error).__name__} in Tenfold", "hint": "please report it"}
        results[one.name] = told

    threads = [threading.Thread(target=send, args=(one,), daemon=True) for one in chosen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[one.name] for one in chosen]


def listed(outbox: Outbox, every: Sequence[Channel], trouble: str | None = None) -> dict[str, Any]:
    """What waits, was delivered lately, and is dead; with how many there are of each."""
    there = outbox.path.exists()
    return {
        "channels": [{"channel": one.name, "host": one.host} for one in every],
        "trouble": trouble,
        # To look must make nothing where nothing is.
        "counts": outbox.counts() if there else dict.fromkeys(("waiting", "delivered", "dead", "unassigned"), 0),
        **(outbox.listed() if there else {name: [] for name in ("waiting", "delivered", "dead", "unassigned")}),
    }
