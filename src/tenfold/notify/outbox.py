"""The outbox: notices on disk until every channel has taken them, or they are dead letters. Edge.

Each call is one transaction on a connection of its own: any process of the account may call, and die at any moment.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold.errors import NotifyError
from tenfold.notify import outboxfile
from tenfold.notify.backoff import LONGEST_S
from tenfold.notify.notice import DEPLOYS, Notice, bounded, notice_of

NAME = "outbox.db"
MOST_WAITING = 10_000
REMEMBERED_S = 7 * 86_400.0
DEAD_KEPT_S = 30 * 86_400.0
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
_SHOWN = ("channel", "attempts", "tried_s", "due_s", "reason")
_LISTED = (
    "SELECT n.body, d.channel, d.attempts, d.tried_s, d.due_s, d.reason FROM delivery d"
    " JOIN notice n ON n.id = d.notice WHERE d.state = ? ORDER BY d.notice DESC, d.id LIMIT ?"
)
_UNDELIVERED = (
    "SELECT channel, SUM(state = 'waiting'), SUM(state = 'dead'), MIN(since_s),"
    " (SELECT reason FROM delivery r WHERE r.channel = d.channel AND r.state IN ('waiting', 'dead') AND reason <> ''"
    " ORDER BY tried_s DESC LIMIT 1) FROM delivery d"
    " WHERE state IN ('waiting', 'dead') AND channel IN (SELECT value FROM json_each(?)) GROUP BY channel"
    " HAVING SUM(state = 'dead' OR reason <> '') ORDER BY channel"
)
_OLD = (
    "FROM notice WHERE assigned = 1 AND ended_s < ? AND NOT EXISTS"
    " (SELECT 1 FROM delivery d WHERE d.notice = notice.id AND d.state <> 'delivered')"
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notice on its way to one channel.

    left      recipients that are still to get it; empty: all
    since_s   when it was first to be sent, or last taken back from the dead letters
    """

    number: int
    notice: Notice
    channel: str
    attempts: int
    since_s: float
    left: tuple[str, ...] = ()


class Outbox:
    """The outbox at a path: var/agent/outbox.db. Every method raises NotifyError where the disk does not do its part.

    Times are seconds since 1970. A clock that was set back holds nothing up: a moment that lies further ahead than any
    wait may be counts as come.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, *notices: Notice, remember: Mapping[str, object] | None = None) -> int:
        """Keep notices until they are delivered; returns how many are new.

        A key that was put before, within REMEMBERED_S after its end, is not put again. `remember` is kept in the same
        transaction (`recall`): so what decides what to tell, and what is told, cannot disagree after a crash.
        Raises NotifyError, and nothing is kept: also when MOST_WAITING notices wait.
        """
        rows = [(notice.key, notice.at_s, notice.as_json()) for notice in map(bounded, notices)]
        with self._transaction() as db:
            (waiting,) = db.execute("SELECT COUNT(*) FROM notice WHERE ended_s IS NULL").fetchone()
            if rows and waiting + len(rows) > MOST_WAITING:
                raise NotifyError(
                    f"{waiting} notices wait already; no more are taken", hint="tenfold notify list shows what is wrong"
                )
            insert = "INSERT OR IGNORE INTO notice (key, at_s, body) VALUES (?, ?, ?)"
            new = sum(db.execute(insert, row).rowcount for row in rows)
            for name, value in (remember or {}).items():
                db.execute("INSERT OR REPLACE INTO memory (name, value) VALUES (?, ?)", (name, json.dumps(value)))
        return new

    def recall(self, name: str) -> Any:
        """What was last remembered under a name; None where nothing was."""
        with self._transaction() as db:
            found = db.execute("SELECT value FROM memory WHERE name = ?", (name,)).fetchone()
        return json.loads(found[0]) if found else None

    def assign(self, channels: Mapping[str, frozenset[str]], now_s: float) -> bool:
        """Put each new notice on the way to the channels that take its severity; tell whether there was one.

        How a deploy ended goes to all: it was asked for, and one that nobody is told of looks like none.
        """
        with self._transaction() as db:
            fresh = db.execute("SELECT id, body FROM notice WHERE assigned = 0 ORDER BY id").fetchall()
            for number, body in fresh:
                notice = notice_of(body)
                always = notice.source == DEPLOYS
                takers = [name for name, taken in channels.items() if always or notice.severity.value in taken]
                db.executemany(
                    "INSERT OR IGNORE INTO delivery (notice, channel, since_s, due_s) VALUES (?, ?, ?, 0)",
                    [(number, channel, now_s) for channel in takers],
                )
                db.execute(
                    "UPDATE notice SET assigned = 1, ended_s = ? WHERE id = ?", (None if takers else now_s, number)
                )
        return bool(fresh)

    @contextmanager
    def hold(self, channel: str) -> Iterator[bool]:
        """Have a channel to oneself; False while another sender has it. The kernel lets go of it for one that dies."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self.path.with_name(f"{self.path.name}.{channel}.lock"), _LOCK_FLAGS, 0o600)
        except OSError as error:
            raise self._unusable(error) from None
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(lock)

    def next(self, channel: str, now_s: float) -> Delivery | None:
        """What is to be sent now: the oldest that is due; None where nothing is, or the channel rests."""
        with self._transaction() as db:
            rests = db.execute("SELECT due_s FROM channel WHERE name = ?", (channel,)).fetchone()
            if rests is not None and now_s < rests[0] <= now_s + LONGEST_S:
                return None
            found = db.execute(
                "SELECT d.id, n.body, d.attempts, d.since_s, d.remaining FROM delivery d JOIN notice n"
                " ON n.id = d.notice WHERE d.channel = ? AND d.state = 'waiting' AND NOT (d.due_s > ? AND d.due_s <= ?)"
                " ORDER BY d.notice LIMIT 1",
                (channel, now_s, now_s + LONGEST_S),
            ).fetchone()
        if found is None:
            return None
        number, body, attempts, since_s, left = found
        return Delivery(number, notice_of(body), channel, attempts, since_s, tuple(json.loads(left)))

    def rest(self, channel: str, due_s: float, failures: int) -> None:
        """Leave a channel alone until `due_s`, after so many failures in a row."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO channel (name, due_s, failures) VALUES (?, ?, ?)", (channel, due_s, failures)
            )

    def failures(self, channel: str) -> int:
        """How often a channel has failed in a row."""
        with self._transaction() as db:
            found = db.execute("SELECT failures FROM channel WHERE name = ?", (channel,)).fetchone()
        return int(found[0]) if found else 0

    def delivered(self, delivery: Delivery, now_s: float, remark: str = "") -> None:
        """The receiver has taken it."""
        self._settle(delivery, "delivered", now_s, remark, ())

    def failed(self, delivery: Delivery, now_s: float, reason: str, due_s: float, left: Sequence[str]) -> None:
        """The receiver has not taken it; it is tried again from `due_s` on, for those that are `left`."""
        with self._transaction() as db:
            db.execute(
                "UPDATE delivery SET attempts = attempts + 1, due_s = ?, tried_s = ?, reason = ?, remaining = ?"
                " WHERE id = ? AND state = 'waiting'",
                (due_s, now_s, reason, json.dumps(list(left)), delivery.number),
            )

    def buried(self, delivery: Delivery, now_s: float, reason: str, left: Sequence[str]) -> None:
        """It is a dead letter: `retry` takes it back."""
        self._settle(delivery, "dead", now_s, reason, left)

    def retry(self, now_s: float, channel: str | None = None) -> int:
        """Send the dead letters (of one channel) again, and what waits at once; returns how many dead there were."""
        values = {"now_s": now_s, "channel": channel}
        with self._transaction() as db:
            db.execute(
                "UPDATE notice SET ended_s = NULL WHERE id IN (SELECT notice FROM delivery"
                " WHERE state = 'dead' AND (:channel IS NULL OR channel = :channel))",
                values,
            )
            count = db.execute(
                "UPDATE delivery SET state = 'waiting', attempts = 0, due_s = 0, since_s = :now_s"
                " WHERE state = 'dead' AND (:channel IS NULL OR channel = :channel)",
                values,
            ).rowcount
            db.execute(
                "UPDATE delivery SET due_s = 0 WHERE state = 'waiting' AND (:channel IS NULL OR channel = :channel)",
                values,
            )
            db.execute("UPDATE channel SET due_s = 0, failures = 0 WHERE :channel IS NULL OR name = :channel", values)
        return count

    def listed(self, most: int = 50) -> dict[str, list[dict[str, Any]]]:
        """{"waiting", "delivered", "dead"}: each the newest first, as rows for a person; "unassigned" too."""
        with self._transaction() as db:
            told = {}
            for state in ("waiting", "delivered", "dead"):
                found = db.execute(_LISTED, (state, most)).fetchall()
                told[state] = [_row(notice_of(body), dict(zip(_SHOWN, rest, strict=True))) for body, *rest in found]
            fresh = db.execute("SELECT body FROM notice WHERE assigned = 0 ORDER BY id DESC LIMIT ?", (most,))
            told["unassigned"] = [_row(notice_of(body), {}) for (body,) in fresh]
        return told

    def counts(self) -> dict[str, int]:
        """How many deliveries are "waiting", "delivered", "dead", and how many notices "unassigned"."""
        with self._transaction() as db:
            told = dict.fromkeys(("waiting", "delivered", "dead"), 0)
            told.update(db.execute("SELECT state, COUNT(*) FROM delivery GROUP BY state").fetchall())
            (told["unassigned"],) = db.execute("SELECT COUNT(*) FROM notice WHERE assigned = 0").fetchone()
        return told

    def undelivered(self, channels: Sequence[str]) -> list[dict[str, Any]]:
        """Of each channel that has failed with what waits, or has dead letters: {"channel", "waiting", "dead",
        "since_s": when the first of them was to be sent, "reason": of the last failure}."""
        names = ("channel", "waiting", "dead", "since_s", "reason")
        with self._transaction() as db:
            found = db.execute(_UNDELIVERED, (json.dumps(list(channels)),)).fetchall()
        return [dict(zip(names, row, strict=True)) for row in found]

    def drop(self, channel: str | None = None) -> int:
        """Forget the dead letters (of one channel); returns how many there were."""
        with self._transaction() as db:
            return db.execute(
                "DELETE FROM delivery WHERE state = 'dead' AND (:channel IS NULL OR channel = :channel)",
                {"channel": channel},
            ).rowcount

    def due_s(self, channel: str) -> float | None:
        """When there is next something to send; None: nothing waits."""
        with self._transaction() as db:
            (first,) = db.execute(
                "SELECT MIN(due_s) FROM delivery WHERE channel = ? AND state = 'waiting'", (channel,)
            ).fetchone()
            rests = db.execute("SELECT due_s FROM channel WHERE name = ?", (channel,)).fetchone()
        return None if first is None else max(float(first), float(rests[0]) if rests else 0.0)

    def tidy(self, channels: Sequence[str], give_up_s: float, now_s: float) -> None:
        """Forget what has ended long ago, and bury what waits for a channel that is no longer in the file."""
        with self._transaction() as db:
            db.execute(
                "UPDATE delivery SET state = 'dead', tried_s = ?, reason = 'the channel is no longer in tenfold.toml'"
                " WHERE state = 'waiting' AND since_s < ? AND channel NOT IN (SELECT value FROM json_each(?))",
                (now_s, now_s - give_up_s, json.dumps(list(channels))),
            )
            db.execute("DELETE FROM delivery WHERE state = 'dead' AND tried_s < ?", (now_s - DEAD_KEPT_S,))
            db.execute(
                "UPDATE notice SET ended_s = ? WHERE assigned = 1 AND ended_s IS NULL AND NOT EXISTS"
                " (SELECT 1 FROM delivery d WHERE d.notice = notice.id AND d.state = 'waiting')",
                (now_s,),
            )
            db.execute(f"DELETE FROM delivery WHERE notice IN (SELECT id {_OLD})", (now_s - REMEMBERED_S,))  # noqa: S608
            db.execute(f"DELETE {_OLD}", (now_s - REMEMBERED_S,))

    def _settle(self, delivery: Delivery, state: str, now_s: float, reason: str, left: Sequence[str]) -> None:
        with self._transaction() as db:
            db.execute(
                "UPDATE delivery SET state = ?, attempts = attempts + 1, tried_s = ?, reason = ?, remaining = ?"
                " WHERE id = ?",
                (state, now_s, reason, json.dumps(list(left)), delivery.number),
            )
            db.execute(
                "UPDATE notice SET ended_s = ? WHERE id = (SELECT notice FROM delivery WHERE id = ?) AND NOT EXISTS"
                " (SELECT 1 FROM delivery d WHERE d.notice = notice.id AND d.state = 'waiting')",
                (now_s, delivery.number),
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(outboxfile.connect(self.path)) as db:
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            if outboxfile.is_damage(error):  # met in the middle of it: the next call has a new file
                with suppress(sqlite3.Error, OSError):
                    outboxfile.mend(self.path)
            raise self._unusable(error) from None

    def _unusable(self, error: Exception) -> NotifyError:
        return NotifyError(
            f"the outbox {self.path} cannot be used: {error}",
            hint="see that its disk is neither full nor read-only, and that the file belongs to this account",
            retryable=True,
        )


def _row(notice: Notice, more: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": notice.identity,
        "key": notice.key,
        "severity": notice.word,
        "title": notice.title,
        "at_s": notice.at_s,
        "source": notice.source,
        **more,
    }
