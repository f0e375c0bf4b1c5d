"""Connections to one shard, shared by threads. Edge."""

from __future__ import annotations

import ctypes
import os
import random
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from tenfold.errors import TenfoldError
from tenfold.sharding.poolrules import Counters, Link, Rules, Shelf, timed_out
from tenfold.sharding.ports import Driver

CHANCE = random.SystemRandom().random  # forked processes share the state of `random`
SILENT_S = 0.005
"""A connection that was idle for longer is looked at, which costs a microsecond, before it is lent unasked."""
AT_ONCE_S = 0.1
"""A connection that has gone says so at once; whatever takes longer is another trouble."""


def ask(driver: Driver) -> None:
    """See whether a connection still answers. Raises NodeError."""
    driver.execute("SELECT 1", ())


def keep_alive(driver: Any) -> None:
    """Let go of a connection that a fork copied, without closing it: it belongs to the parent.

    Closing would run SQLite's last-connection clean-up on files that the parent still uses, so the object
    is kept for good.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(driver))


def drop_socket(driver: HasSocket) -> None:
    """Let go of a connection that a fork copied, unheard by the server, which goes on serving the parent."""
    number = driver.fileno()
    if number >= 0:
        # Put in its place, so that nothing that still knows the number meets a stranger's file.
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, number)
        os.close(nothing)
    keep_alive(driver)


def hung_up(driver: HasSocket) -> bool:
    """Whether a connection on which nothing was asked has something to say, which is that it has ended: the server
    was restarted, or closed it for being idle. Known before anything is sent, so that nothing is in doubt."""
    number = driver.fileno()
    if number < 0:
        return True
    news = select.poll()
    news.register(number, select.POLLIN)
    return bool(news.poll(0))


class HasSocket(Protocol):
    """A connection over the network."""

    def fileno(self) -> int:
        """Of its socket; -1 once it is closed."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the connections of a pool come from.

    open   opens one. Raises NodeError
    check  raises NodeError when a connection that was idle no longer answers
    drop   in the child of a fork: lets go of a copied connection, unheard by the shard
    alone  whether none may be open while the process forks
    starts whether its drivers are `sidebyside.Starter`s
    locks  whether a write locks the whole shard
    stale  tells, without asking the shard, of a connection that was idle that it has ended
    """

    open: Callable[[], Driver]
    check: Callable[[Driver], None] = ask
    drop: Callable[[Any], None] = keep_alive
    alone: bool = True
    starts: bool = False
    locks: bool = False
    stale: Callable[[Any], bool] = lambda _: False


class _Waiter:
    """A thread in the queue; `ready` is released once it has a place, and maybe a connection."""

    __slots__ = ("link", "ready")

    def __init__(self) -> None:
        self.ready = threading.Lock()
        self.ready.acquire()
        self.link: Link[Driver] | None = None


class Pool:
    """At most `rules.size` connections to a shard, for threads; opened when first needed, lent in order of asking.

    Whoever waits for one shard holds nothing that another shard's pool needs.
    """

    def __init__(self, rules: Rules, source: Source) -> None:
        self._rules, self._source = rules, source
        self._shelf: Shelf[Driver] = Shelf(rules)
        self._lock = threading.Lock()
        self._waiting: deque[_Waiter] = deque()
        self.starts, self.locks = source.starts, source.locks

    def at_once(self) -> Link[Driver] | None:
        """A connection that lies ready; None: `acquire` may have to wait."""
        shelf = self._shelf
        with self._lock:
            if not shelf.idle or not shelf.has_place() or self._waiting:
                return None
            if not self._is_fresh(shelf.idle[-1], time.monotonic()):
                return None
            shelf.borrowed += 1
            shelf.used += 1
            return shelf.take()

    def acquire(self) -> Link[Driver]:
        """A connection for this thread alone. Raises PoolTimeout, NodeDown, and what opening raises."""
        shelf = self._shelf
        with self._lock:
            shelf.borrowed += 1
            if shelf.has_place() and not self._waiting:
                shelf.used += 1
                link = shelf.take()
                if link is not None and self._is_fresh(link, time.monotonic()):
                    return link
                waiter = None
            else:
                waiter = _Waiter()
                self._waiting.append(waiter)
        return self._readied(link if waiter is None else self._waited(waiter))

    def release(self, link: Link[Driver]) -> None:
        """Give a connection back, without a transaction and with nothing left to read."""
        shelf = self._shelf
        now_s = time.monotonic()
        with self._lock:
            if link not in shelf.out:
                return
            why = shelf.returned(link, now_s)
            if why is None:
                self._pass_on(link)
            gone = shelf.unused(now_s) if shelf.idle and shelf.too_old(shelf.idle[0], now_s) else ()
        if why is not None:
            self._end(link, why, place=True)
        for unused in gone:
            self._end(unused, "idle", place=False)

    def discard(self, link: Link[Driver], why: str = "cut", *, down: bool = False) -> None:
        """Close a connection that cannot go on. down: the shard vanished, so others are checked before use."""
        with self._lock:
            if link not in self._shelf.out:
                return
            self._shelf.lost(link, down=down)
        self._end(link, why, place=True)

    def lends(self, link: Link[Driver]) -> bool:
        """Whether it is lent by this pool. One that was lent when the process forked is the parent's: in the child
        nothing may be sent on it, and to give it back does nothing."""
        return link in self._shelf.out

    def counters(self) -> Counters:
        """What the pool holds and what has happened in it."""
        with self._lock:
            return self._shelf.counters(len(self._waiting))

    def drain(self) -> None:
        """Close what is idle; the next one is opened anew."""
        with self._lock:
            idle, self._shelf.idle = self._shelf.idle, []
        for link in idle:
            self._end(link, "end", place=False)

    def renew(self) -> None:
        """Have every connection that is open now closed: what is idle at once, what is out when it comes back."""
        with self._lock:
            for link in self._shelf.out:
                link.spoiled = True
        self.drain()

    def close(self) -> None:
        """Close what is idle; what is out is closed when it comes back, and whoever waits is told."""
        self._shelf.closed = True
        self.drain()

    def hold(self, until_s: float) -> None:
        """Before a fork: wait until nothing is out, at most until the monotonic clock says `until_s`, and close all.

        SQLite counts its locks for each process. A child takes the count over and not the locks, so with a
        connection open across the fork its own ones lock nothing, and the parent's last close deletes the
        write-ahead log that the child writes to: what it committed is gone (measured).
        """
        if not self._source.alone:
            return
        self._shelf.paused = True
        while self._shelf.used and time.monotonic() < until_s:
            time.sleep(0.002)
        self.drain()

    def resume(self) -> None:
        """In the parent, after the fork."""
        shelf = self._shelf
        with self._lock:
            shelf.paused = False
            while self._waiting and shelf.has_place():
                shelf.used += 1
                self._pass_on(shelf.take())

    def forget(self) -> None:
        """In the child of a fork: start anew."""
        old, self._shelf = self._shelf, Shelf(self._rules)
        self._shelf.closed = old.closed
        self._lock = threading.Lock()
        self._waiting = deque()
        for link in [*old.idle, *old.out]:
            self._source.drop(link.driver)

    def _waited(self, waiter: _Waiter) -> Link[Driver] | None:
        started_s = time.monotonic()
        try:
            granted = waiter.ready.acquire(timeout=self._rules.wait_s)
        except BaseException:
            with self._lock:
                if waiter in self._waiting:
                    self._waiting.remove(waiter)
                else:
                    self._give_back(waiter.link)
            raise
        shelf = self._shelf
        with self._lock:
            shelf.waited += 1
            shelf.waited_s += time.monotonic() - started_s
            if not granted and waiter in self._waiting:
                self._waiting.remove(waiter)
                shelf.timed_out += 1
                raise timed_out(self._rules)
        return waiter.link

    def _readied(self, link: Link[Driver] | None) -> Link[Driver]:
        """For someone who has a place: `link` if it is still good, else another, else a new one."""
        shelf = self._shelf
        try:
            while link is not None:
                now_s = time.monotonic()
                why = shelf.too_old(link, now_s)
                if why is None and (self._is_fresh(link, now_s) or self._answers(link)):
                    return link
                with self._lock:
                    shelf.out.discard(link)
                ending, link = link, None
                self._end(ending, why or "check", place=False)
                with self._lock:
                    link = shelf.take()
            with self._lock:
                shelf.may_open(time.monotonic())
            return self._opened()
        except BaseException:
            if link is not None:  # interrupted while it was asked
                self.discard(link)
            else:
                with self._lock:
                    self._pass_on(None)
            raise

    def _opened(self) -> Link[Driver]:
        try:
            driver = self._source.open()
        except BaseException as error:
            with self._lock:
                self._shelf.not_made(error, time.monotonic(), CHANCE())
            raise
        with self._lock:
            return self._shelf.made(driver, time.monotonic(), CHANCE())

    def _is_fresh(self, link: Link[Driver], now_s: float) -> bool:
        """Whether it may be used unasked."""
        if not self._shelf.is_fresh(link, now_s):
            return False
        return now_s - link.idle_s < SILENT_S or not self._source.stale(link.driver)

    def _answers(self, link: Link[Driver]) -> bool:
        try:
            self._source.check(link.driver)
        except TenfoldError:
            return False
        self._shelf.answered(link)
        return True

    def _end(self, link: Link[Driver], why: str, *, place: bool) -> None:
        """Close; a place comes free only then, so that never more than `size` are open."""
        try:
            link.driver.close()
        finally:
            with self._lock:
                self._shelf.ended(why)
                if place:
                    self._pass_on(None)

    def _give_back(self, link: Link[Driver] | None) -> None:
        if link is not None:
            self._shelf.out.discard(link)
        self._pass_on(link)

    def _pass_on(self, link: Link[Driver] | None) -> None:
        """The caller's place, and maybe a connection, go to who has waited longest, else are free. Under the lock."""
        shelf = self._shelf
        if self._waiting and not shelf.paused:
            waiter = self._waiting.popleft()
            waiter.link = link
            if link is not None:
                shelf.out.add(link)
            waiter.ready.release()
            return
        shelf.used -= 1
        if link is not None:
            shelf.idle.append(link)
