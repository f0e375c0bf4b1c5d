"""Orders are rows; how many there are is remembered in the cache."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pymysql
import redis

COUNT = "orders:count"


def database(url: str) -> Any:
    """A connection to the database at mysql://user@host:port/name."""
    parts = urlsplit(url)
    return pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password or "",
        database=parts.path.lstrip("/"),
        autocommit=True,
    )


def prepare(connection: Any) -> None:
    """Make the table where there is none."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE IF NOT EXISTS orders"
            " (id INT AUTO_INCREMENT PRIMARY KEY, title VARCHAR(200) NOT NULL)"
        )


def place(connection: Any, cache: redis.Redis, title: str) -> int:
    """Order a book; its number."""
    if not title.strip():
        raise ValueError("a book has a title")
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO orders (title) VALUES (%s)", (title,))
        number = int(cursor.lastrowid)
    cache.delete(COUNT)
    return number


def count(connection: Any, cache: redis.Redis) -> int:
    """How many orders there are."""
    known: Any = cache.get(COUNT)
    if known is not None:
        return int(known)
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM orders")
        number = int(cursor.fetchone()[0])
    cache.set(COUNT, number)
    return number
