"""What PEP 249 promises to any program, on both engines. Edge."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tenfold import dbapi, errors
from tests.sharding.engine.sites import Site
from tests.sharding.interfaces.conftest import Connect

DEPOSIT = "INSERT INTO deposits (user_id, amount) VALUES (%s, %s)"
OWN = "SELECT amount FROM deposits WHERE user_id = %s ORDER BY amount"


@pytest.fixture
def five(site: Site, connection: dbapi.Connection) -> dbapi.Cursor:
    """A cursor that has run a SELECT of the amounts 1 to 5 of one user."""
    cursor, key = connection.cursor(), site.key("shard_1")
    cursor.executemany(DEPOSIT, [(key, amount) for amount in range(1, 6)])
    connection.commit()
    return cursor.execute(OWN, (key,))


def test_the_module_says_what_it_is() -> None:
    assert (dbapi.apilevel, dbapi.threadsafety, dbapi.paramstyle) == ("2.0", 1, "format")


def test_a_connection_carries_the_errors_of_the_module(connection: dbapi.Connection) -> None:
    for name in (
        "Warning", "Error", "InterfaceError", "DatabaseError", "DataError", "OperationalError", "IntegrityError",
        "InternalError", "ProgrammingError", "NotSupportedError",
    ):  # fmt: skip
        assert getattr(connection, name) is getattr(dbapi, name)
        assert issubclass(getattr(dbapi, name), Exception)


def test_a_new_cursor_has_nothing_to_say(connection: dbapi.Connection) -> None:
    cursor = connection.cursor()
    assert (cursor.description, cursor.rowcount, cursor.lastrowid, cursor.arraysize) == (None, -1, None, 1)
    assert cursor.rownumber is None and cursor.connection is connection
    for fetch in (cursor.fetchone, cursor.fetchmany, cursor.fetchall, lambda: next(cursor)):
        with pytest.raises(dbapi.ProgrammingError, match="no rows to fetch") as caught:
            fetch()
        assert caught.value.hint and isinstance(caught.value, errors.TenfoldError)


def test_a_write_has_a_rowcount_and_no_rows(site: Site, connection: dbapi.Connection) -> None:
    cursor, key = connection.cursor(), site.key("shard_1")
    assert cursor.execute(DEPOSIT, (key, 1)) is cursor
    first = cursor.lastrowid
    assert isinstance(first, int) and (cursor.rowcount, cursor.description) == (1, None)
    cursor.execute(DEPOSIT, (key, 2))
    assert cursor.lastrowid not in (None, first)
    cursor.execute("UPDATE deposits SET amount = amount + 1 WHERE user_id = %s", (key,))
    assert [cursor.rowcount, cursor.lastrowid, cursor.description] == [2, None, None]
    with pytest.raises(dbapi.ProgrammingError, match="no rows to fetch"):
        cursor.fetchall()
    cursor.execute("DELETE FROM deposits WHERE user_id = %s", (key,))
    assert cursor.rowcount == 2


def test_rows_are_described_by_seven_items_each(site: Site, connection: dbapi.Connection) -> None:
    cursor, key = connection.cursor(), site.key("shard_1")
    cursor.execute("SELECT id, amount AS paid FROM deposits WHERE user_id = %s", (key,))
    assert cursor.description is not None
    assert [item[0] for item in cursor.description] == ["id", "paid"]
    assert all(len(item) == 7 and item[2:] == (None,) * 5 for item in cursor.description)
    assert cursor.rowcount == 0 and cursor.fetchone() is None and cursor.fetchall() == [] == cursor.fetchmany()
    kinds = [item[1] for item in cursor.description]
    assert kinds == ([None, None] if site.engine == "sqlite" else [dbapi.NUMBER, dbapi.NUMBER])


def test_type_objects_know_their_columns(on_mariadb: Site) -> None:
    with dbapi.connect(on_mariadb.file) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT 'a', 1, 1.5, CAST(1 AS DOUBLE), CURRENT_DATE, CURRENT_TIMESTAMP, CURRENT_TIME, CAST('a' AS BINARY)"
        )
        assert cursor.description is not None
        kinds = [item[1] for item in cursor.description]
    text, number, when = dbapi.STRING, dbapi.NUMBER, dbapi.DATETIME
    assert kinds[:-1] == [text, number, number, number, when, when, when]
    for code in kinds[:-1]:
        assert sum(code == one for one in (text, number, when, dbapi.ROWID)) == 1
    assert dbapi.STRING != dbapi.NUMBER and dbapi.STRING == dbapi.STRING and len({dbapi.STRING, dbapi.STRING}) == 1
    assert repr(dbapi.DATETIME) == "DATETIME" and dbapi.NUMBER != "NUMBER"


def test_rows_come_one_by_one_until_none_is_left(five: dbapi.Cursor) -> None:
    assert five.rowcount == 5 and five.rownumber == 0
    assert [five.fetchone() for _ in range(7)] == [(1,), (2,), (3,), (4,), (5,), None, None]
    assert five.rownumber == 5 and five.fetchall() == []


def test_rows_come_in_handfuls_of_arraysize_or_of_any_size(five: dbapi.Cursor) -> None:
    assert five.fetchmany() == [(1,)]
    five.arraysize = 2
    assert five.fetchmany() == [(2,), (3,)]
    assert five.fetchmany(0) == [] and five.rownumber == 3
    assert five.fetchmany(size=100) == [(4,), (5,)]
    assert five.fetchmany(3) == []


def test_all_rows_that_are_left_come_at_once(five: dbapi.Cursor) -> None:
    assert five.fetchone() == (1,)
    assert five.fetchmany(2) == [(2,), (3,)]
    rows = five.fetchall()
    assert rows == [(4,), (5,)] and all(type(row) is tuple for row in rows)
    assert five.fetchall() == [] and five.fetchone() is None


def test_a_cursor_is_iterated(five: dbapi.Cursor) -> None:
    assert next(five) == (1,)
    assert list(five) == [(2,), (3,), (4,), (5,)]
    assert list(five) == []


def test_the_next_statement_ends_the_rows_of_the_last_even_when_it_fails(five: dbapi.Cursor) -> None:
    with pytest.raises(dbapi.ProgrammingError):
        five.execute("SELECT nothing FROM posts")
    assert five.description is None and five.rowcount == -1
    with pytest.raises(dbapi.ProgrammingError, match="no rows to fetch"):
        five.fetchone()


def test_one_statement_for_many_rows(site: Site, connection: dbapi.Connection) -> None:
    cursor, key = connection.cursor(), site.key("shard_1")
    cursor.executemany(DEPOSIT, ((key, amount) for amount in (1, 2)))  # any iterable
    assert cursor.rowcount == 2 and cursor.description is None
    cursor.executemany("UPDATE deposits SET amount = :now WHERE user_id = :owner AND amount = :was",
                       [{"owner": key, "was": 1, "now": 8}, {"owner": key, "was": 2, "now": 9}])  # fmt: skip
    assert cursor.rowcount == 2
    cursor.executemany(DEPOSIT, [])
    assert cursor.rowcount == 0
    assert cursor.execute(OWN, (key,)).fetchall() == [(8,), (9,)]
    with pytest.raises(dbapi.ProgrammingError, match="executemany is for"):
        cursor.executemany(OWN, [(key,)])
    with pytest.raises(dbapi.IntegrityError):
        cursor.executemany(DEPOSIT, [(key, 3), (key, -3)])
    assert cursor.execute(OWN, (key,)).fetchall() == [(8,), (9,)]


@pytest.mark.parametrize(
    ("sql", "params"),
    [
        ("SELECT %s, 'a%%b', '%%s'", [7]),
        ("SELECT %s, 'a%%b', '%%s'", (7,)),
        ("SELECT %(n)s, 'a%%b', '%%s'", {"n": 7, "unused": 1}),
        ("SELECT ?, 'a%b', '%s'", (7,)),
        ("SELECT :n, 'a%b', '%s'", {"n": 7, "unused": 1}),
        ("SELECT 7, 'a%b', '%s'", None),
        ("SELECT 7, 'a%b', '%s'", ()),
    ],
)
def test_parameters_of_every_style_arrive(connection: dbapi.Connection, sql: str, params: Any) -> None:
    assert connection.cursor().execute(sql, params).fetchall() == [(7, "a%b", "%s")]


def test_parameters_that_do_not_fit_are_told(connection: dbapi.Connection) -> None:
    cursor = connection.cursor()
    wrong: Any
    for wrong in ("a", b"a", 7, {1, 2}):
        with pytest.raises(dbapi.ProgrammingError, match=r"a sequence or a mapping") as caught:
            cursor.execute("SELECT %s", wrong)
        assert "(value,)" in caught.value.hint
        with pytest.raises(dbapi.ProgrammingError, match=r"a sequence or a mapping"):
            cursor.executemany(DEPOSIT, [wrong])
    for sql, few in (("SELECT %s, %s", (1,)), ("SELECT :a", {"b": 1})):
        with pytest.raises(dbapi.ProgrammingError):
            cursor.execute(sql, few)


def test_values_come_back_as_they_went(site: Site, connection: dbapi.Connection) -> None:
    cursor, key = connection.cursor(), site.key("shard_1")
    for name in ("", 'O\'Brien "x" \\ %s ? :a', "naïve 😀", " a ", "a\nb\tc\x01", None):
        cursor.execute("INSERT INTO users (id, name) VALUES (%s, %s)", (key, name))
        assert cursor.execute("SELECT name FROM users WHERE id = %s", (key,)).fetchone() == (name,)
        connection.rollback()
    for number in (0, -1, 2**63 - 1, -(2**63), 1.5):
        assert cursor.execute("SELECT %s", (number,)).fetchone() == (number,)
    blob = dbapi.Binary(bytearray(range(256)))
    assert cursor.execute("SELECT HEX(%s)", (blob,)).fetchone() == (blob.hex().upper(),)


def test_values_that_mariadb_has_types_for(on_mariadb: Site) -> None:
    with dbapi.connect(on_mariadb.file) as connection, connection.cursor() as cursor:
        when = dbapi.Timestamp(2026, 2, 28, 23, 59, 58)
        cursor.execute(
            "SELECT CAST(%s AS DATETIME), CAST(%s AS DATE), CAST(%s AS DECIMAL(10,3))",
            (when, dbapi.Date(2026, 2, 28), Decimal("1.250")),
        )
        assert cursor.fetchone() == (when, date(2026, 2, 28), Decimal("1.250"))


def test_constructors_take_parts_and_local_ticks() -> None:
    ticks = time.mktime((2026, 2, 28, 23, 59, 58, 0, 0, -1))
    assert dbapi.DateFromTicks(ticks) == dbapi.Date(2026, 2, 28)
    assert dbapi.TimeFromTicks(ticks + 0.9) == dbapi.Time(23, 59, 58)
    assert dbapi.TimestampFromTicks(ticks) == dbapi.Timestamp(2026, 2, 28, 23, 59, 58)
    assert dbapi.Binary(memoryview(b"ab")) == b"ab"
    with pytest.raises(TypeError, match="bytes, not str"):
        dbapi.Binary("ab")  # type: ignore[arg-type]


def test_what_is_not_needed_may_be_called_and_what_is_not_there_is_refused(connection: dbapi.Connection) -> None:
    cursor = connection.cursor()
    cursor.setinputsizes([1])
    cursor.setoutputsize(1)
    cursor.setoutputsize(1, 0)
    with pytest.raises(dbapi.NotSupportedError, match="one set of rows"):
        cursor.nextset()


def test_a_closed_cursor_does_nothing_and_its_connection_goes_on(five: dbapi.Cursor) -> None:
    connection = five.connection
    five.close()
    five.close()
    for use in (five.fetchone, five.fetchall, five.fetchmany, lambda: five.execute("SELECT 1")):
        with pytest.raises(dbapi.InterfaceError, match="the cursor is closed"):
            use()
    with connection.cursor() as cursor:
        assert cursor.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(dbapi.InterfaceError, match="the cursor is closed"):
        cursor.executemany(DEPOSIT, [(1, 1)])


def test_a_closed_connection_does_nothing(connection: dbapi.Connection) -> None:
    cursor = connection.cursor().execute("SELECT 1")
    connection.close()
    connection.close()
    uses = (connection.cursor, connection.commit, connection.rollback, lambda: connection.autocommit,
            lambda: connection.in_transaction, connection.__enter__, cursor.fetchone,
            lambda: cursor.execute("SELECT 1"))  # fmt: skip
    for use in uses:
        with pytest.raises(dbapi.InterfaceError, match="the connection is closed") as caught:
            use()
        assert caught.value.hint
    cursor.close()


def test_mistakes_are_of_both_trees(site: Site, connection: dbapi.Connection) -> None:
    cursor, key = connection.cursor(), site.key("shard_1")
    cases: list[tuple[str, Any, type[dbapi.Error], type[errors.TenfoldError]]] = [
        ("SELEC 1", (), dbapi.ProgrammingError, errors.StatementError),
        ("", (), dbapi.ProgrammingError, errors.StatementError),
        ("SELECT nothing FROM deposits WHERE user_id = 1", (), dbapi.ProgrammingError, errors.StatementError),
        (DEPOSIT, (key, -1), dbapi.IntegrityError, errors.ConstraintError),
        (DEPOSIT, (None, 1), dbapi.NotSupportedError, errors.ShardKeyError),
        (DEPOSIT, ("x", 1), dbapi.NotSupportedError, errors.ShardKeyError),
        ("UPDATE deposits SET user_id = 1 WHERE user_id = 2", (), dbapi.NotSupportedError, errors.RoutingError),
        ("BEGIN", (), dbapi.NotSupportedError, errors.RoutingError),
        ("SELECT 1; SELECT 2", (), dbapi.NotSupportedError, errors.RoutingError),
    ]
    for sql, params, theirs, ours in cases:
        with pytest.raises(theirs) as caught:
            cursor.execute(sql, params)
        assert isinstance(caught.value, ours) and caught.value.hint, sql
        assert isinstance(caught.value.__cause__, ours)


def test_a_file_that_is_missing_or_was_never_initialised_is_told(tmp_path: Path) -> None:
    with pytest.raises(dbapi.InterfaceError) as missing:
        dbapi.connect(tmp_path / "nothing.toml")
    assert isinstance(missing.value, errors.ConfigError)
    bare = Site(tmp_path / "bare")
    with pytest.raises(dbapi.OperationalError) as bare_error:
        dbapi.connect(bare.file)
    assert bare_error.value.hint and isinstance(bare_error.value, errors.CatalogError | errors.NodeError)
    bare.set_up()
    dbapi.connect(bare.file).close()  # a failed try leaves nothing behind


def kinds_of(root: type[errors.TenfoldError]) -> Iterator[type[errors.TenfoldError]]:
    yield root
    for kind in root.__subclasses__():
        if kind.__module__ == "tenfold.errors":
            yield from kinds_of(kind)


# No statement raises them: on a connection they would be errors of the database and no more.
OF_OPERATIONS = {
    errors.BalancerError, errors.HostError, errors.DeployError, errors.GateError, errors.BackupError,
    errors.NotifyError,
}  # fmt: skip


@pytest.mark.parametrize("kind", list(kinds_of(errors.TenfoldError)))
def test_every_error_of_tenfold_is_one_of_pep_249_too(kind: type[errors.TenfoldError]) -> None:
    from tenfold.sharding.interfaces.errors import of_both

    found = of_both(kind("what", hint="then", retryable=True))
    assert isinstance(found, dbapi.DatabaseError | dbapi.InterfaceError)
    again = pickle.loads(pickle.dumps(found))  # noqa: S301
    assert type(again) is type(found)
    for error in (found, again):
        assert isinstance(error, kind) or kind in OF_OPERATIONS
        assert (str(error), error.hint, error.retryable) == ("what", "then", True)
    assert of_both(found) is found


def test_a_value_that_cannot_be_stored_is_a_data_error(on_mariadb: Site) -> None:
    key = on_mariadb.key("shard_1")
    with dbapi.connect(on_mariadb.file) as connection, connection.cursor() as cursor:
        with pytest.raises(dbapi.DataError) as caught:
            cursor.execute("INSERT INTO users (id, name) VALUES (%s, %s)", (key, "x" * 101))
        assert isinstance(caught.value, errors.StatementError) and "xxx" not in str(caught.value)


def test_a_connection_as_a_block_commits_or_rolls_back_and_is_closed(site: Site, connect: Connect) -> None:
    key = site.key("shard_1")
    with connect() as connection:
        connection.cursor().execute(DEPOSIT, (key, 1))
    with pytest.raises(ZeroDivisionError), connect() as broken:  # noqa: PT012
        broken.cursor().execute(DEPOSIT, (key, 2))
        raise ZeroDivisionError
    for one in (connection, broken):
        with pytest.raises(dbapi.InterfaceError, match="is closed"):
            one.cursor()
    assert connect().cursor().execute(OWN, (key,)).fetchall() == [(1,)]
