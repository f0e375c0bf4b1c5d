"""A streaming cursor reads rows from the shards as they are fetched, on both engines. Edge."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tenfold import dbapi
from tenfold.sharding.interfaces.stream import Stream
from tenfold.sharding.ports import Reply
from tests.sharding.engine.sites import Site
from tests.sharding.interfaces.conftest import Connect

DEPOSIT = "INSERT INTO deposits (user_id, amount) VALUES (%s, %s)"
ALL = "SELECT amount FROM deposits ORDER BY amount"


@pytest.fixture
def thousands(site: Site) -> list[tuple[int]]:
    """Three thousand deposits on three shards; → their amounts, as a SELECT in order gives them."""
    site.write(settings="pool_size = 1\npool_wait_s = 0.2")
    with dbapi.connect(site.file, autocommit=True) as connection:
        keys = [site.key(shard) for shard in site.shards]
        rows = [(keys[number % 3], number) for number in range(1, 3001)]
        connection.cursor().executemany(DEPOSIT, rows)
    return [(number,) for number in range(1, 3001)]


def test_a_stream_gives_the_rows_of_a_plain_cursor(connect: Connect, thousands: list[tuple[int]]) -> None:
    connection = connect()
    with connection.cursor(stream=True) as cursor:
        cursor.execute(ALL)
        assert cursor.rowcount == -1 and cursor.rownumber == 0
        assert cursor.description is not None and [item[0] for item in cursor.description] == ["amount"]
        assert cursor.fetchone() == (1,)
        assert cursor.fetchmany(1500) == thousands[1:1501] and cursor.rownumber == 1501
        assert cursor.fetchall() == thousands[1501:] and cursor.rownumber == 3000
        assert cursor.fetchone() is None and cursor.fetchall() == []
        assert list(cursor.execute(ALL)) == thousands
        cursor.execute("SELECT amount FROM deposits WHERE amount < 0")
        assert cursor.description is not None and cursor.fetchall() == []
    assert connection.cursor().execute(ALL).fetchall() == thousands


def test_rows_that_are_not_read_are_not_fetched(site: Site, connect: Connect, thousands: list[tuple[int]]) -> None:
    """Each shard has one connection here, which a stream holds while it is read."""
    connection, other = connect(), connect()

    def begin() -> dbapi.Cursor:
        stream = connection.cursor(stream=True).execute(ALL)
        assert stream.fetchone() == (1,)
        with pytest.raises(dbapi.OperationalError, match="busy") as caught:
            other.cursor().execute("SELECT amount FROM deposits WHERE user_id = %s", (site.key("shard_1"),))
        assert caught.value.retryable
        return stream

    begin().close()
    assert other.cursor().execute(ALL).fetchone() == (1,)
    assert begin().execute("SELECT 1").fetchall() == [(1,)]
    assert other.cursor().execute(ALL).fetchone() == (1,)
    held = begin()
    connection.close()
    assert other.cursor().execute(ALL).fetchone() == (1,)
    with pytest.raises(dbapi.InterfaceError):
        held.fetchone()


def test_a_closed_stream_has_ended_its_source() -> None:
    ended: list[bool] = []

    def replies() -> Generator[Reply, None, None]:
        try:
            while True:
                yield Reply(("n",), [(1,), (2,)])
        finally:
            ended.append(True)

    stream = Stream(replies())
    assert stream.columns == ("n",) and [len(stream.fetch()) for _ in range(3)] == [2, 2, 2]
    stream.close()
    assert ended == [True] and not stream.fetch()


def test_a_stream_that_nobody_holds_any_more_gives_its_connections_back(
    connect: Connect, thousands: list[tuple[int]]
) -> None:
    connection = connect()
    assert connection.cursor(stream=True).execute(ALL).fetchone() == (1,)
    assert connection.cursor().execute(ALL).fetchall() == thousands


def test_a_streaming_cursor_writes_and_refuses_as_any_other(
    site: Site, connect: Connect, thousands: list[tuple[int]]
) -> None:
    connection, key = connect(), site.key("shard_1")
    cursor = connection.cursor(stream=True)
    cursor.execute(DEPOSIT, (key, 9000))
    assert cursor.rowcount == 1 and cursor.lastrowid and connection.in_transaction
    cursor.execute("SELECT amount FROM deposits WHERE user_id = %s AND amount > 3000", (key,))
    assert cursor.fetchone() == (9000,), "inside the transaction it sees what was written"
    other = connection.cursor(stream=True).execute(ALL)
    assert other.fetchone() == (1,)
    connection.cursor().execute(DEPOSIT, (key, 9001))  # the transaction's connection is not taken by the stream
    assert other.fetchall() == [*thousands[1:], (9000,)]
    for sql, kind in (("SELECT nothing FROM deposits", dbapi.ProgrammingError), ("BEGIN", dbapi.NotSupportedError)):
        with pytest.raises(kind):
            cursor.execute(sql)
    connection.rollback()
    assert cursor.execute("SELECT COUNT(*) FROM deposits").fetchall() == [(3000,)]
