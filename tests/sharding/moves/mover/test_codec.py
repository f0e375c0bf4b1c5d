"""Rows arrive as they were, byte for byte, whatever their types hold. Edge."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tenfold.errors import MoveError
from tenfold.sharding.engine.router import opener
from tenfold.sharding.moves.record import Leg
from tests.sharding.engine.sites import Site, mariadb_site
from tests.sharding.moves.mover.places import POSTS, Kill, Killed, Place

MARIA = """
CREATE TABLE posts (
  a VARCHAR(40) COLLATE utf8mb4_general_ci, b VARBINARY(20), c BIGINT UNSIGNED,
  tiny TINYINT, zero INT(5) UNSIGNED ZEROFILL, deci DECIMAL(65,30), flo FLOAT, flo74 FLOAT(7,4), dou DOUBLE,
  bits BIT(64), bit1 BIT(1),
  en ENUM('x','y'), se SET('p','q','r'), ye YEAR, da DATE, dt DATETIME(6), ts TIMESTAMP(3) NULL, ti TIME(6),
  ch CHAR(10), lat VARCHAR(30) CHARACTER SET latin1, sj VARCHAR(30) CHARACTER SET sjis, txt LONGTEXT, js JSON,
  bin BINARY(4), bl LONGBLOB, uu UUID, ip INET6, pt POINT,
  gen BIGINT GENERATED ALWAYS AS (tiny + 1) STORED, vir VARCHAR(50) GENERATED ALWAYS AS (CONCAT(a, '!')) VIRTUAL,
  PRIMARY KEY (a, b, c))"""
COLUMNS = (
    "a, b, c, tiny, zero, deci, flo, flo74, dou, bits, bit1, en, se, ye, da, dt, ts, ti, ch, lat, sj, txt, js, bin, bl,"
    " uu, ip, pt"
)
NASTY = (
    r"('O\'Brien \\', x'00ff2700', 18446744073709551615, -128, 7, 12345678901234567890123456789012345."
    r"123456789012345678901234567890, 0.1, 123.4567, 1.7976931348623157e308, b'1111111111111111111111111111111111111111"
    r"111111111111111111111111', b'1', 'y', 'p,r', 1901, '0000-00-00', '9999-12-31 23:59:59.999999',"
    r" '2038-01-19 03:14:07.999', '-838:59:59.999999', 'x  ', 'é€', '表ソ', 'zero\0 tab\t new\n \\ \' \" 😀 % ? :name',"
    r" '{\"a\": [1.5, \"\\u00e9\", null]}', x'01', x'00ff80feC3285c27', 'AB0E8400-e29b-41d4-a716-446655440000', '::1',"
    r" ST_GeomFromText('POINT(1.25 -3)'))",
    "('', x'', 0, 127, 0, -0.000000000000000000000000000001, -3.4028235e38, -0.0001, -0e0, b'0', b'0', '', '', 0,"
    " '2024-02-30', '0000-00-00 00:00:00', NULL, '838:59:59', '', '', '', '', '[]', x'', x'',"
    " '00000000-0000-0000-0000-000000000000', '255.255.255.255', NULL)",
    f"('ä 😀', x'00', 1, NULL, NULL, NULL, 1e-45, NULL, 5e-324{', NULL' * 19})",
    "('Ä 😀z', x'00', 1, 1, 1, 1, 16777217, 1, 0.1, 1, 1, 1, 7, 2155, '1000-01-01', '1000-01-01', '1970-01-02',"
    " 0, ' a', ' a', 'a', REPEAT('l', 5000), 'null', x'00000000', REPEAT(x'00', 3000), UUID(), '::', NULL)",
)
# Every value as its bytes, and the column as the server prints it.
SEEN = (
    "SELECT HEX(a), HEX(b), c, tiny, zero, deci, flo, flo74, dou, bits + 0, bit1 + 0, en + 0, se + 0, ye, da, dt, ts,"
    " ti, HEX(ch), HEX(lat), HEX(sj), HEX(txt), HEX(js), HEX(bin), HEX(bl), uu, ip, HEX(pt), gen, HEX(vir),"
    " CAST(flo AS DOUBLE) FROM posts ORDER BY 1, 2, 3"
)
LITE = """
CREATE TABLE posts (
  a TEXT NOT NULL COLLATE NOCASE, b BLOB NOT NULL, i INTEGER, r REAL, n NUMERIC, t TEXT, o BLOB, untyped,
  gen INTEGER GENERATED ALWAYS AS (i + 1) STORED, PRIMARY KEY (a, b))"""
LITE_ROWS: tuple[tuple[Any, ...], ...] = (
    ("O'Brien", b"\0\xff'", 2**63 - 1, 0.1, 1e308, "zero\0byte 😀 ' \"", b"\0\xff\xfe", 1),
    ("ä", b"", -(2**63), -0.0, 5e-324, "", b"", "1"),
    ("b", b"\0", None, None, None, None, None, None),
    ("c", b"1", 0, float("inf"), 123456789012345678, "123", b"x" * 5000, -0.0),
    ("d", "text where a blob should be", "text", "text", "1e999x", b"a blob", "text", 3.0),
    ("zero\0here", b"z", 1, 1e15, 0.30000000000000004, "O''", b"'", float("-inf")),
)
LITE_SEEN = (
    "SELECT hex(a), typeof(b), hex(b), typeof(i), i, typeof(r), quote(r), typeof(n), quote(n), typeof(t), hex(t),"
    " typeof(o), hex(o), typeof(untyped), quote(untyped), gen FROM posts ORDER BY 1, 3"
)


@pytest.fixture(params=["sqlite", "mysql"])
def odd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A place whose pinned table has a column of every type."""
    root = tmp_path_factory.mktemp("odd") / "site"
    if request.param == "sqlite":
        yield _with_posts(Site(root), LITE)
    else:
        with mariadb_site(root, request.getfixturevalue("three_servers")) as site:
            yield _with_posts(site, MARIA)


def _with_posts(site: Site, create: str) -> Place:
    place = Place(site)
    for shard in site.shards:
        site.look(shard, "DROP TABLE posts")
        site.look(shard, create)
    return place


def test_every_value_arrives_as_it_was(odd: Place) -> None:
    site = odd.site
    lite = site.engine == "sqlite"
    if lite:
        for row in LITE_ROWS:
            marks = ", ".join("?" * len(row))
            site.look("shard_0", f"INSERT INTO posts (a, b, i, r, n, t, o, untyped) VALUES ({marks})", row)
        site.look("shard_0", "INSERT INTO posts (a, b, t) VALUES ('bad utf-8', x'', CAST(x'ff41c328' AS TEXT))")
    else:
        with site.client("shard_0") as line, line.cursor() as cursor:
            cursor.execute("SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'")
            for values in NASTY:
                cursor.execute(f"INSERT INTO posts ({COLUMNS}) VALUES {values}")
    seen = LITE_SEEN if lite else SEEN
    before = _seen(site, "shard_0", seen)
    assert len(before) == (7 if lite else 4)
    for target, source in (("shard_1", "shard_0"), ("shard_2", "shard_1")):
        odd.mover().begin([Leg(source, target, (POSTS,))])
        odd.mover().run()
        odd.mover().finish()
        assert _seen(site, target, seen) == before
        assert not site.look(source, "SELECT 1 FROM posts")


def _seen(site: Site, shard: str, sql: str) -> list[Any]:
    if site.engine == "sqlite":
        return site.look(shard, sql)
    with site.client(shard) as line, line.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        cursor.execute(sql)
        return list(cursor.fetchall())


@pytest.mark.parametrize("killed_at", ["", "phase.copied"], ids=["copied", "followed"])
def test_a_value_too_long_to_be_sent_stops_the_move_and_never_arrives_as_nothing(odd: Place, killed_at: str) -> None:
    site = odd.site
    if site.engine == "sqlite":
        pytest.skip("there a statement may have a gigabyte")
    look, too_long = site.look, "REPEAT('x', 9000000)"  # twice as long in hexadecimal, and 16 MB may be sent
    look("shard_0", f"INSERT INTO posts (a, b, c, bl) VALUES ('long', '', 1, {'NULL' if killed_at else too_long})")
    odd.mover().begin([Leg("shard_0", "shard_1", (POSTS,))])
    if killed_at:
        with pytest.raises(Killed):
            odd.mover(Kill(killed_at)).run()
        look("shard_0", f"UPDATE posts SET bl = {too_long}")
    with pytest.raises(MoveError, match=r"'long'.*cannot go.*max_allowed_packet"):
        odd.mover().run()
    look("shard_0", "UPDATE posts SET bl = REPEAT('y', 4000000)")
    odd.mover().run()
    odd.mover().finish()
    assert look("shard_1", "SELECT a, LENGTH(bl) FROM posts") == [("long", 4000000)]


def test_rows_that_fit_no_statement_together_are_followed_a_few_at_a_time(odd: Place) -> None:
    site = odd.site
    if site.engine == "sqlite":
        pytest.skip("there a statement may have a gigabyte")
    site.look("shard_0", "INSERT INTO posts (a, b, c) SELECT 'long', '', seq FROM seq_1_to_30")
    odd.mover().begin([Leg("shard_0", "shard_1", (POSTS,))])
    with pytest.raises(Killed):
        odd.mover(Kill("phase.copied")).run()
    site.look("shard_0", "UPDATE posts SET bl = REPEAT('x', 500000)")
    odd.mover().run()
    odd.mover().finish()
    assert site.look("shard_1", "SELECT COUNT(*), MIN(LENGTH(bl)) FROM posts") == [(30, 500000)]


def test_rows_are_told_apart_by_every_key_that_sqlite_keeps_apart(tmp_path: Path) -> None:
    """By type too, in a STRICT table; text that is no UTF-8; and beside more columns than an expression has levels."""
    many = ", ".join(f"v{number} ANY" for number in range(600))
    create = f"CREATE TABLE posts (k ANY NOT NULL, n TEXT NOT NULL, {many}, PRIMARY KEY (k, n)) STRICT"
    place = _with_posts(Site(tmp_path / "site"), create)
    look = place.site.look
    keys = ["1, 'a'", "'1', 'a'", "x'31', 'a'", "1.5, 'a'", "'1.5', 'a'", "'é', CAST(x'80' AS TEXT)",
            "CAST(x'ff41' AS TEXT), 'nul' || char(0)"]  # fmt: skip
    for key in keys:
        look("shard_0", f"INSERT INTO posts (k, n, v0) VALUES ({key}, 'first')")

    class Written(Kill):
        def step(self, name: str) -> None:
            if name == "cutover.fence":  # compared ahead; from here on there are marks alone
                with closing(opener(place.site.topology(), "shard_0")()) as driver:
                    for number, key in enumerate(keys):
                        driver.execute(f"UPDATE posts SET v599 = ? WHERE (k, n) = ({key})", (number,))

    place.mover().begin([Leg("shard_0", "shard_1", (POSTS,))])
    place.mover(Written()).run()
    seen = "SELECT typeof(k), hex(k), hex(n), v0, v599 FROM posts ORDER BY v599"
    before = look("shard_0", seen)
    assert [row[4] for row in before] == [*range(len(keys))]
    assert look("shard_1", seen) == before
    place.mover().finish()
    assert not look("shard_0", "SELECT 1 FROM posts")


def test_a_default_that_replace_puts_for_null_displaces_a_row_on_both_shards(tmp_path: Path) -> None:
    create = "CREATE TABLE posts (id INTEGER PRIMARY KEY, name TEXT NOT NULL DEFAULT 'none' UNIQUE)"
    place = _with_posts(Site(tmp_path / "site"), create)
    place.site.look("shard_0", "INSERT INTO posts VALUES (1, 'none'), (2, 'two')")
    place.mover().begin([Leg("shard_0", "shard_1", (POSTS,))])
    with pytest.raises(Killed):
        place.mover(Kill("phase.copied")).run()
    with closing(opener(place.site.topology(), "shard_0")()) as driver:
        driver.execute("INSERT OR REPLACE INTO posts VALUES (3, NULL)", ())
        driver.execute("UPDATE OR REPLACE posts SET name = NULL WHERE id = 2", ())
    place.mover().run()
    place.mover().finish()
    assert place.site.look("shard_1", "SELECT * FROM posts") == [(2, "none")]


@pytest.mark.parametrize("ending", ["finish", "undo"])
def test_a_number_that_a_deleted_row_had_is_not_given_to_another(place: Place, ending: str) -> None:
    look, lite = place.site.look, place.site.engine == "sqlite"
    ((home,),) = look("shard_0", "SELECT shard FROM tf_bucket WHERE bucket = ?", (POSTS,))
    target = "shard_1" if home != "shard_1" else "shard_2"
    for shard in place.site.shards if lite else ():
        look(shard, "DROP TABLE posts")
        look(shard, "CREATE TABLE posts (id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT)")

    def posted(shard: str) -> int:
        with closing(opener(place.site.topology(), shard)()) as driver:
            number = driver.execute("INSERT INTO posts (title) VALUES ('one')", ()).lastrowid
            driver.execute("DELETE FROM posts WHERE id = ?", (number,))
        return int(number or 0)

    first = posted(home)
    place.mover().begin([Leg(home, target, (POSTS,))])
    place.mover().run()
    assert posted(target) == first + 1
    getattr(place.mover(), ending)()
    assert posted(target if ending == "finish" else home) == first + 2
