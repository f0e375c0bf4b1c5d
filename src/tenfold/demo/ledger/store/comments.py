"""Comments under posts and pages, on the shard of these. Edge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tenfold
from tenfold.demo.ledger.problems import Refused
from tenfold.demo.ledger.records import Comment, Person, Topic
from tenfold.demo.ledger.store.cache import Cache
from tenfold.demo.ledger.store.options import Options

PER_PAGE = 20


class Comments:
    """What people say to a post or page."""

    def __init__(self, db: tenfold.AsyncDatabase, cache: Cache, options: Options, clock: Callable[[], int]) -> None:
        self._db = db
        self._cache = cache
        self._options = options
        self._clock = clock

    async def of(self, topic: Topic, topic_id: int, before: int | None = None, limit: int = PER_PAGE) -> list[Comment]:
        """At most `limit` comments, newest first, those with an id below `before`. The first page is cached."""

        async def load() -> list[list[Any]]:
            found = await self._db.execute(
                "SELECT id, author, body, created_at FROM comments"
                " WHERE topic = ? AND topic_id = ? AND id < ? ORDER BY id DESC LIMIT ?",
                (topic, topic_id, 2**63 - 1 if before is None else before, limit),
            )
            return [list(row) for row in found]

        first_page = before is None and limit == PER_PAGE
        rows = await (self._cache.read_through(f"comments:{topic}:{topic_id}", load) if first_page else load())
        return [Comment(*row) for row in rows]

    async def add(self, author: Person, topic: Topic, topic_id: int, body: str) -> Comment:
        """Write a comment. Raises Refused while comments are closed."""
        if not await self._options.is_open("comments"):
            raise Refused("Comments are closed at the moment.")
        now = self._clock()
        added = await self._db.execute(
            "INSERT INTO comments (topic, topic_id, author_id, author, body, created_at) VALUES (?, ?, ?, ?, ?, ?)",
            (topic, topic_id, author.id, author.name, body, now),
        )
        await self._cache.forget(f"comments:{topic}:{topic_id}")
        assert added.lastrowid is not None  # noqa: S101  # the shard numbers its comments
        return Comment(added.lastrowid, author.name, body, now)
