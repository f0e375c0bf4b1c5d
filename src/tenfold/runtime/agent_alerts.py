"""Alerts in the agent: judged each second, kept over restarts, told, and obeyed when people say something. Edge."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tenfold.audit.trail import NAME as TRAIL
from tenfold.audit.trail import Trail, whoami
from tenfold.balancer.render import ACCESS_LOG
from tenfold.dashboard import inputs as page
from tenfold.errors import NotifyError
from tenfold.monitor.alerts import wording
from tenfold.monitor.alerts.book import Book, Change
from tenfold.monitor.alerts.machine import Alert
from tenfold.monitor.alerts.rules import id_of, key_of, rules_of
from tenfold.monitor.alerts.silences import Silence, length, matchers, text
from tenfold.notify.grouping import Firing
from tenfold.runtime import agent_alerts_kept
from tenfold.runtime.agent_alerts_kept import AlertKeeper
from tenfold.runtime.agent_notify import MEMORY, Notifier
from tenfold.runtime.agent_readings import Beside, readings
from tenfold.runtime.agent_view import Facts
from tenfold.runtime.aside import aside
from tenfold.runtime.place import Place
from tenfold.topology.addresses import sqlite_file
from tenfold.topology.model import Engine, Topology

STATE = "alerts.json"
# What only lets clocks run on is written so often; what changes an alert is written at once.
SAVE_S = 10.0
LONGEST_NAME = 200
LIST = "list"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Act:
    """Something that a person wants done: what the trail says of it, and what does it."""

    did: str
    about: Mapping[str, Any]
    do: Callable[[], Mapping[str, Any]]


class AgentAlerts:
    """Owns the book of alerts. Everything but its keeper's writing happens in the agent's event loop."""

    def __init__(self, facts: Facts, place: Place, notifier: Notifier, clock: Callable[[], float] = time.time) -> None:
        """`facts`: judged, and told what alerts; `notifier`: told what fires; `clock`: seconds since 1970."""
        topology = facts.topology
        self._facts, self._notifier, self._clock = facts, notifier, clock
        self._log = place.var / ACCESS_LOG
        self._trail = Trail(place.var / TRAIL)
        self._platform = ":".join(filter(None, (topology.platform.name, topology.environment)))
        self._rules = rules_of(topology.monitor)
        self.book = Book(self._rules, len(topology.app.backends))
        self._state = place.agent / STATE
        if not agent_alerts_kept.restore(self._state, self.book, clock()):
            # Else what was told would be told to have ended, by one who does not know.
            with suppress(NotifyError):
                notifier.outbox.put(remember={MEMORY: {}})
        self._keeper = AlertKeeper(self._state)
        self._kept_s = float("-inf")
        self._broken: str | None = None
        self.look()
        self._show()

    # --- each second ---

    def evaluate(self, now_s: float) -> None:
        """Judge everything once, tell what is to be told, and keep it. Never raises."""
        try:
            self._evaluate(now_s)
            self._broken = None
        except Exception as error:  # a bug of ours must not take the page and the balancer's owner with it
            if self._broken != repr(error):
                log.exception("alerts cannot be judged")
            self._broken, self._facts.alerts = repr(error), None

    def _evaluate(self, now_s: float) -> None:
        history = self._facts.agent.store_trouble
        beside = Beside(self._log_missing, {"history": history, "alerts": self.trouble})
        changes = self.book.step(now_s, readings(self._facts, beside, self.book.watched(), now_s))
        for change in changes:
            log.info("%s", self._said(change))
        # First kept, then told: an alert that was told must be found firing by the next agent.
        if changes or abs(now_s - self._kept_s) >= SAVE_S:
            self._kept_s = now_s
            self._keeper.keep(self.book.as_json())
        self._notifier.tell(now_s, [self._firing(alert) for alert in self.book.firing()])
        self._show()

    @property
    def trouble(self) -> str | None:
        """What keeps alerts from being kept or told; None when all is well."""
        return self._keeper.trouble or self._notifier.trouble or self._damage

    def look(self) -> None:
        """Look at the files that alerts tell of. It may block, and belongs into a collector's thread."""
        self._log_missing = not self._log.exists()
        self._damage = agent_alerts_kept.damage(self._state) or agent_alerts_kept.lost(self._notifier.outbox.path)

    def close(self, within_s: float) -> None:
        """Write what waits, and end."""
        self._keeper.keep(self.book.as_json())
        self._keeper.close(within_s)

    def _firing(self, alert: Alert) -> Firing:
        rule = self._rules[alert.key[0]]
        return Firing(
            id=id_of(alert.key),
            group=self._platform,
            severity=alert.severity,
            title=wording.summary(rule, alert),
            text=wording.text(rule, alert),
            since_s=alert.since_s,
            quiet=self.book.is_quiet(alert),
            known=self.book.known_as(alert),
        )

    def _said(self, change: Change) -> str:
        alert, rule = change.alert, self._rules[change.alert.key[0]]
        words = {"fires": "fires", "graver": "is now", "lesser": "is now only", "over": "is over, which was"}
        what = words[change.what]
        return f"alert {id_of(alert.key)} {what} {alert.severity.value}: {wording.summary(rule, alert)}"

    def _show(self) -> None:
        view = self.book.view()
        self._facts.alerts = page.Alerts(view["counts"], view["items"], view["silences"], self._notifier.undelivered)

    # --- what people say ---

    async def command(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        """{"do": "alerts", "action": list | ack | silence | unsilence | explain, "id", "note", "who", "for_s",
        "matches"}. Raises NotifyError for what cannot be done.

        list       {"alerts": as in the view, "undelivered": of the notices, too}
        ack        "id", "note"  →  {"item"}
        silence    "matches": words or a table, "for_s", "note"  →  {"silence", "covers": alerts of now}
        unsilence  "id"  →  {"silence"}
        explain    "id" of an alert, or a rule  →  {"explained": [one for each target]}
        """
        action = command.get("action", LIST)
        if action == LIST:
            return {"alerts": {**self.book.view(), "undelivered": list(self._notifier.undelivered)}}
        if action == "explain":
            return {"explained": self._explain(command.get("id"))}
        return await self._perform(action, command, _who(command.get("who")))

    async def act(self, action: str, fields: Mapping[str, str], who: str) -> None:
        """The same for the page: ack, silence, unsilence with the fields of a form. Raises NotifyError.

        fields  ack: id, note; silence: id of an alert or matches, for_s, note (or comment); unsilence: id
        """
        given: dict[str, Any] = dict(fields)
        try:
            given["for_s"] = float(given.get("for_s") or "nan")
        except ValueError:
            given["for_s"] = None
        await self._perform(action, given, _who(who))

    async def _perform(self, action: object, given: Mapping[str, Any], who: str) -> Mapping[str, Any]:
        act = self._act(action, given, who)
        # Before the act: what is not on the trail was not done. Beside the event loop: a disk may hang.
        await aside(lambda: self._note(act, who))
        answer = act.do()
        self._keeper.keep(self.book.as_json())
        self._show()
        return answer

    def _act(self, action: object, given: Mapping[str, Any], who: str) -> Act:
        """Raises NotifyError for what cannot be done."""
        note, book = text(given.get("note", given.get("comment")), "note"), self.book
        match action:
            case "ack":
                name = _id(given, "tenfold alerts ack response_time:platform")
                item = {"id": name, "note": note}
                book.to_ack(name)
                return Act("alerts.ack", item, lambda: {"item": book.ack(name, who, note, self._clock())})
            case "silence":
                matches = matchers(_words(given))
                for_s = length(given.get("for_s"))
                until_s = round(self._clock() + for_s, 3)
                about = {"matches": matches, "until_s": until_s, "comment": note}
                book.has_room()
                return Act("alerts.silence", about, lambda: self._silenced(book.silence(matches, until_s, who, note)))
            case "unsilence":
                name = _id(given, "tenfold alerts unsilence s1")
                about = {"id": name, "matches": dict(book.named(name).matches)}
                return Act("alerts.unsilence", about, lambda: {"silence": book.unsilence(name).as_json()})
        raise NotifyError(
            f"alerts know no action {str(action)[:60]!r}", hint="one of: list ack silence unsilence explain"
        )

    def _silenced(self, silence: Silence) -> Mapping[str, Any]:
        return {"silence": silence.as_json(), "covers": self.book.covered(silence)}

    def _note(self, act: Act, who: str) -> None:
        try:
            self._trail.write(act.did, who, **act.about)
        except OSError as error:
            raise NotifyError(
                f"the audit trail cannot be written ({error.strerror}), so nothing was done",
                hint=f"make room on the disk, or see who owns {self._trail.path}",
                retryable=True,
            ) from None

    def _explain(self, given: object) -> list[dict[str, Any]]:
        """Of an alert's id that one; of a rule, all its targets."""
        name = given if isinstance(given, str) else ""
        rule, target = key_of(name)
        known = [key for key in self.book.watched() if key[0] == rule and target in ("", key[1])]
        if known:
            return [self.book.explain(key) for key in known]
        if not self.book.watched():
            raise NotifyError("nothing was judged yet", hint="ask again in a second", retryable=True)
        if rule in self._rules and not target:
            raise NotifyError(f"nothing is judged by {rule} here", hint="tenfold alerts lists what alerts")
        every = [id_of(key) for key in self.book.watched()]
        near = get_close_matches(name, [*self._rules, *every], n=1)
        hint = f'did you mean "{near[0]}"?' if near else "a rule: " + " ".join(self._rules)
        raise NotifyError(f"nothing that is watched is called {name[:LONGEST_NAME]!r}", hint=hint)


def directories(topology: Topology, place: Place) -> dict[str, Path]:
    """Where the platform writes, by the names that its file uses: var, SQLite shards, backups."""
    shards = [shard.url for shard in topology.database.shards.values() if topology.database.engine is Engine.SQLITE]
    every = [
        place.var,
        *(Path(sqlite_file(url, topology.root)).parent for url in shards),
        place.root / topology.backup.directory,
    ]
    return {str(one.relative_to(place.root) if one.is_relative_to(place.root) else one): one for one in every}


def _id(given: Mapping[str, Any], example: str) -> str:
    name = given.get("id")
    if not isinstance(name, str) or not name or len(name) > 2 * LONGEST_NAME:
        raise NotifyError("no id was given", hint=f"for example: {example}")
    return name


def _words(given: Mapping[str, Any]) -> Sequence[str] | Mapping[str, Any]:
    words = given.get("matches")
    if isinstance(words, str):
        words = words.split()
    # A form names one alert by its id; that may hold spaces.
    words = words or [one for one in (given.get("id"),) if one]
    if not isinstance(words, list | tuple | Mapping):
        raise NotifyError("a silence of what?", hint='an alert\'s id, a rule, or "target=backend_*"')
    return words


def _who(given: object) -> str:
    """Who it is, on one line; this account where nobody is named."""
    return text(given, "name of who asks")[:LONGEST_NAME] or whoami()
