"""A shard that is a MySQL or MariaDB server, for threads. Edge."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from tenfold.errors import NodeDown, NodeError, StatementError, TenfoldError
from tenfold.sharding.engine.mysqlerrors import (
    DEADLOCK,
    LOST,
    closed_amid,
    ended_before,
    silent,
    still_reading,
    too_large,
    translated,
)
from tenfold.sharding.engine.mysqllibrary import library
from tenfold.sharding.engine.mysqlline import Unread
from tenfold.sharding.engine.mysqloptions import KILL_WAIT_S, MysqlOptions, unanswered, untrusted
from tenfold.sharding.engine.mysqltext import encoded, in_bulk, rendered, row_template
from tenfold.sharding.engine.pools import CHANCE
from tenfold.sharding.ports import Params, Reply

LONGEST_UNASKED = 1_000_000
"""A statement of more bytes is sent only once the server has said that it takes so many; also how long an INSERT
of many rows becomes."""
DRAIN_ROWS, DRAIN_S = 1_000, 0.05
"""How much of a result that nobody wants any more is read to keep its connection."""
REPEATS = 3
"""How often what was undone by a deadlock, and is no part of the caller's transaction, is done again."""


def repeat_pause_s(nth: int) -> float:
    """How long to wait before the nth repetition, so that those who met do not meet again."""
    return CHANCE() * 0.01 * 2.0**nth


class MysqlDriver:
    """One connection. A statement outside a transaction is one of its own."""

    def __init__(self, options: MysqlOptions) -> None:
        """Connect. Raises NodeDown, NodeError (denied, no such database, TLS) and ConfigError (the CA file)."""
        self._shard, self._options = options.shard, options
        # _lost: of the transaction nothing is left; _gone: of the connection, on which nothing more may be asked
        self._begun = self._lost = self._gone = self._busy = self._closed = self._deadlocked = False
        self._asked: str | bytes = ""
        self._reading: MysqlCursor | None = None
        self._packet_limit = 0
        self.patience_s = options.read_s
        self._library = library(options)
        with self._connecting():
            self._session = self._library.open(options, options.connect_s, options.read_s)

    def execute(self, sql: str, params: Params, *, stream: bool = False) -> Reply:
        """Run one statement: in the open transaction, else in one of its own."""
        text: str | bytes = rendered(sql, params)
        if len(text) > LONGEST_UNASKED // 4:
            text = self._measured(text)
        if stream:
            return self._opened(text)
        try:
            return self._answer(text)
        except NodeError:
            if self._begun or not self._deadlocked:
                raise
        return self._repeated(lambda: self._answer(text))

    def _repeated(self, ask: Callable[[], Reply]) -> Reply:
        """Once more after a deadlock, which has undone all of it."""
        for nth in range(1, REPEATS):
            time.sleep(repeat_pause_s(nth))
            try:
                return ask()
            except NodeError:
                if not self._deadlocked:
                    raise
        time.sleep(repeat_pause_s(REPEATS))
        return ask()

    def _answer(self, text: str | bytes) -> Reply:
        if self._begun or self._gone or self._reading is not None:
            self._refuse_lost()
        self._busy = True
        try:
            return self._session.ask(text)
        except BaseException as error:
            raise self._known(error) from None
        finally:
            self._busy = False

    def start(self, sql: str, params: Params) -> None:
        """Send one statement, whose answer `finish` takes; nothing else may be asked in between."""
        text: str | bytes = rendered(sql, params)
        if len(text) > LONGEST_UNASKED // 4:
            text = self._measured(text)
        self._refuse_lost()
        self._busy, self._asked = True, text
        try:
            self._session.send(text)
        except BaseException as error:
            self._busy = False
            raise self._known(error) from None

    def finish(self, *, overdue: bool = False) -> Reply:
        """The answer to the statement that was started. overdue: it was waited for long enough."""
        try:
            if overdue:
                self._session.hurry()
            return self._session.answer()
        except BaseException as error:
            known = self._known(error)
            if not self._deadlocked:
                raise known from None
        finally:
            self._busy = False
        return self._repeated(lambda: self._answer(self._asked))

    def _opened(self, text: str | bytes) -> Reply:
        self._refuse_lost()
        self._busy = True
        try:
            unread = self._session.unread(text)
        except BaseException as error:
            self._busy = False
            raise self._known(error) from None
        self._reading = MysqlCursor(self, unread)
        return Reply(self._reading.columns, (), 0, None, self._reading.types, self._reading)

    def execute_many(self, sql: str, rows: Sequence[Params]) -> Reply:
        """Run one statement for each row of parameters, all or none.

        An INSERT or REPLACE … VALUES (…) goes out as few statements of many rows. The reply has no lastrowid.
        """
        template = row_template(sql, isinstance(rows[0], Mapping)) if rows else None
        texts = in_bulk(template, rows, LONGEST_UNASKED) if template else [rendered(sql, row) for row in rows]
        ask = partial(self._one if len(texts) == 1 else self._all, [self._measured(text) for text in texts])
        try:
            return ask()
        except NodeError:
            if self._begun or not self._deadlocked:
                raise
        return self._repeated(ask)

    def _one(self, texts: Sequence[bytes]) -> Reply:
        return Reply(rowcount=self._answer(texts[0]).rowcount)

    def _all(self, texts: Sequence[bytes]) -> Reply:
        inside = self._begun
        self._answer("SAVEPOINT tf_many" if inside else "START TRANSACTION")
        try:
            total = sum(self._answer(text).rowcount for text in texts)
            self._answer("RELEASE SAVEPOINT tf_many" if inside else "COMMIT")
        except BaseException:
            with contextlib.suppress(TenfoldError):
                self._answer("ROLLBACK TO SAVEPOINT tf_many" if inside else "ROLLBACK")
            raise
        return Reply(rowcount=total)

    def begin(self, *, reads: bool = False) -> None:
        """Open a transaction. Rows are locked as they are read for update or written."""
        self._answer("START TRANSACTION")
        self._begun = True

    def commit(self) -> None:
        """Commit; after an error the connection is closed and the outcome unknown."""
        self._refuse_lost()
        try:
            self._answer("COMMIT")
        except NodeError:
            self._gone = True
            self._session.cut()
            raise
        self._begun = False

    def rollback(self) -> None:
        """Undo what the open transaction did; nothing when none is open."""
        if self._gone:
            raise self._lost_line()
        begun, self._begun = self._begun, False
        if begun or self._session.in_transaction:
            self._answer("ROLLBACK")
        self._lost = False

    def close(self) -> None:
        """Close; an open transaction is rolled back. A statement that runs is stopped on the server too, which is
        given a second for it."""
        if self._closed:
            return
        self._closed = True
        if self._busy:
            # The connection is still another thread's, which closes it when it wakes.
            self._session.cut()
            self._kill()
            if self._reading is None:
                return
        self._shut()

    def fileno(self) -> int:
        """Of its socket; -1 once it is closed."""
        return self._session.fileno()

    def _shut(self) -> None:
        if self._reading is not None:
            self._reading.forget()
        self._session.close()

    def _give_up(self) -> None:
        """Never ask here again, and stop what the server may still be at."""
        self._gone = True
        self._session.cut()
        self._kill()

    def _kill(self) -> None:
        """Stop what the server still does for this connection, by another one."""
        with contextlib.suppress(*self._library.errors, TenfoldError):
            side = self._library.open(self._options, KILL_WAIT_S, KILL_WAIT_S)
            try:
                side.ask(f"KILL {self._session.number:d}")
            finally:
                side.close()

    def _measured(self, text: str | bytes) -> bytes:
        """The bytes of a long statement. Raises StatementError where the server would hang up because of them."""
        data = text if isinstance(text, bytes) else encoded(text)
        if len(data) > LONGEST_UNASKED:
            if not self._packet_limit:
                self._packet_limit = int(self._answer("SELECT @@max_allowed_packet").rows[0][0])
            if len(data) >= self._packet_limit:
                raise too_large(self._shard, len(data), self._packet_limit)
        return data

    def _refuse_lost(self) -> None:
        """Some errors (a deadlock, a killed statement) and DDL end the transaction. What follows in it would be
        committed statement by statement, and the caller told that all of it was one."""
        if self._gone and not self._begun:
            raise self._lost_line()
        if self._reading is not None:
            raise still_reading(self._shard)
        if self._begun and (self._gone or self._lost or not self._session.in_transaction):
            raise ended_before(self._shard)

    def _lost_line(self) -> NodeDown:
        return NodeDown(f"the connection to {self._shard} was lost before", hint="try again")

    @contextmanager
    def _connecting(self) -> Iterator[None]:
        try:
            yield
        except self._library.errors as error:
            failure = self._library.failure(error)
            if isinstance(failure.cause, ssl.SSLError):
                raise untrusted(self._shard, failure.cause) from None
            if failure.code in LOST:
                raise unanswered(self._options, failure.cause) from None
            raise translated(self._shard, failure.code, failure.words, self._options.limits) from None

    def _known(self, error: BaseException) -> BaseException:
        """What to raise for an error of a statement; brings what is known of the transaction up to date."""
        self._deadlocked = False
        if isinstance(error, UnicodeEncodeError):
            return StatementError("a text holds half of a surrogate pair, which is no character", hint="mend the text")
        if not isinstance(error, Exception):
            # Ctrl-C, or what a signal's handler raised: the answer may still come, and would be the next one's.
            self._give_up()
            return error
        if self._closed:
            self._shut()
            return closed_amid(self._shard)
        failure = self._library.failure(error)
        self._deadlocked = failure.code == DEADLOCK
        if failure.code in LOST:
            self._gone = True
            if not isinstance(failure.cause, TimeoutError):
                self._session.cut()
            else:
                self._give_up()
                return silent(self._shard, self._options.read_s)
        elif self._begun:
            # The packet of an error does not say whether the transaction is still there; the one of a ping does.
            try:
                self._session.ping()
            except self._library.errors:
                self._lost = True
        return translated(self._shard, failure.code, failure.words, self._options.limits)


class MysqlCursor:
    """Rows of one statement, read from the server as they are wanted."""

    def __init__(self, driver: MysqlDriver, unread: Unread) -> None:
        self._driver, self._unread = driver, unread
        self.columns, self.types = unread.columns, unread.types

    def fetch(self, count: int) -> Sequence[tuple[Any, ...]]:
        """The next rows, at most `count`; none left: an empty sequence."""
        driver = self._driver
        if driver._reading is not self:
            return ()
        try:
            rows = self._unread.fetch(count)
        except BaseException as error:
            self.forget()
            raise driver._known(error) from None
        if len(rows) < count:
            self._end()
        return rows

    def close(self) -> bool:
        """Read no further; → whether the connection can go on. What little is left is read to that end; of more,
        the connection must be closed, which stops the statement on the server."""
        driver = self._driver
        if driver._reading is not self:
            return not driver._gone and not driver._closed
        until_s, left = time.monotonic() + DRAIN_S, DRAIN_ROWS
        try:
            with driver._session.within(DRAIN_S):
                while left > 0 and time.monotonic() < until_s:
                    if len(self._unread.fetch(100)) < 100:
                        self._end()
                        return True
                    left -= 100
        except Exception:
            driver._gone = True
        return False

    def _end(self) -> None:
        self._driver._reading, self._driver._busy = None, False

    def forget(self) -> None:
        """Leave what was not read unread."""
        self._unread.forget()
        self._end()
