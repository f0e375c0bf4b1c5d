"""Orders, against the real database and the real cache."""

import os
import uuid

import pytest
import redis

from shop import orders
from shop.serve import app


@pytest.fixture
def connection():
    with orders.database(os.environ["DATABASE_URL"]) as made:
        orders.prepare(made)
        yield made


@pytest.fixture
def cache():
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as made:
        made.delete(orders.COUNT)
        yield made


def test_an_order_is_counted(connection, cache):
    before = orders.count(connection, cache)
    orders.place(connection, cache, f"Middlemarch {uuid.uuid4()}")
    assert orders.count(connection, cache) == before + 1


def test_the_count_comes_from_the_cache(connection, cache):
    cache.set(orders.COUNT, 4711)
    assert orders.count(connection, cache) == 4711


def test_a_book_has_a_title(connection, cache):
    with pytest.raises(ValueError, match="title"):
        orders.place(connection, cache, " ")


def test_the_shop_says_that_it_is_well():
    said = []
    assert app({"PATH_INFO": "/healthz"}, lambda status, _: said.append(status)) == [b"well\n"]
    assert said == ["200 OK"]
