"""Posts and pages, on their one shard. Edge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tenfold
from tenfold.demo.ledger.problems import Missing, Taken
from tenfold.demo.ledger.records import Page, Person, Post
from tenfold.demo.ledger.store.cache import Cache
from tenfold.errors import ConstraintError

PER_PAGE = 10


class Content:
    """What the site says."""

    def __init__(self, db: tenfold.AsyncDatabase, cache: Cache, clock: Callable[[], int]) -> None:
        self._db = db
        self._cache = cache
        self._clock = clock

    async def posts(self, before: int | None = None, limit: int = PER_PAGE) -> list[Post]:
        """At most `limit` posts, newest first, those with an id below `before`. The first page is cached."""

        async def load() -> list[list[Any]]:
            found = await self._db.execute(
                "SELECT id, title, body, author, created_at FROM posts WHERE id < ? ORDER BY id DESC LIMIT ?",
                (2**63 - 1 if before is None else before, limit),
            )
            return [list(row) for row in found]

        first_page = before is None and limit == PER_PAGE
        rows = await (self._cache.read_through("posts", load) if first_page else load())
        return [Post(*row) for row in rows]

    async def post(self, post_id: int) -> Post:
        """Raises Missing."""

        async def load() -> list[Any] | None:
            found = await self._db.execute(
                "SELECT id, title, body, author, created_at FROM posts WHERE id = ?", (post_id,)
            )
            row = found.first()
            return list(row) if row else None

        held = await self._cache.read_through(f"post:{post_id}", load)
        if held is None:
            raise Missing("There is no such post.")
        return Post(*held)

    async def add_post(self, author: Person, title: str, body: str) -> int:
        """Publish a post and return its id."""
        added = await self._db.execute(
            "INSERT INTO posts (title, body, author_id, author, created_at) VALUES (?, ?, ?, ?, ?)",
            (title, body, author.id, author.name, self._clock()),
        )
        await self._cache.forget("posts")
        assert added.lastrowid is not None  # noqa: S101  # the shard numbers its posts
        return added.lastrowid

    async def pages(self) -> list[tuple[str, str]]:
        """(slug, title) of every page, by title."""

        async def load() -> list[list[str]]:
            return [list(row) for row in await self._db.execute("SELECT slug, title FROM pages ORDER BY title")]

        return [(slug, title) for slug, title in await self._cache.read_through("pages", load)]

    async def page(self, slug: str) -> Page:
        """Raises Missing."""

        async def load() -> list[Any] | None:
            found = await self._db.execute(
                "SELECT id, slug, title, body, updated_at FROM pages WHERE slug = ?", (slug,)
            )
            row = found.first()
            return list(row) if row else None

        held = await self._cache.read_through(f"page:{slug}", load)
        if held is None:
            raise Missing("There is no such page.")
        return Page(*held)

    async def save_page(self, slug: str, title: str, body: str) -> None:
        """Change the page with this slug, or add it. Raises Taken when another adds it at this moment."""
        now = self._clock()
        try:
            async with self._db.transaction() as tx:
                held = (await tx.execute("SELECT id FROM pages WHERE slug = ?", (slug,))).scalar()
                if held is None:
                    await tx.execute(
                        "INSERT INTO pages (slug, title, body, updated_at) VALUES (?, ?, ?, ?)",
                        (slug, title, body, now),
                    )
                else:
                    await tx.execute(
                        "UPDATE pages SET title = ?, body = ?, updated_at = ? WHERE id = ?", (title, body, now, held)
                    )
        except ConstraintError:
            raise Taken("Someone has just added a page with this address.") from None
        await self._cache.forget("pages", f"page:{slug}")
