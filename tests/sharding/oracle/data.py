"""Rows for the oracle's tables: NULLs, ties, texts that are one to a collation, huge numbers, odd bytes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from tenfold.sharding.keys import KeyType, bucket_of
from tests.sharding.oracle.schema import COLUMNS

Row = tuple[Any, ...]
World = dict[str, list[Row]]

KEYS = range(1, 30)
NAMES = [
    "ann", "Ann", "ANN", "bob", "Bob", "bob ", "Zoë", "zoe", "it's", "", " ", "😀", "😁", "a%b", "a_b", "back\\slash",
    'say "hi"', "ß", "ss", "日本", None, None, "?", "%s", ":name",
]  # fmt: skip
CITIES = ["Bern", "bern", "Rome", "rome ", "Rome ", "Oslo", "Århus", "", None, None, "日本", "x😀", "Z", "a"]
SCORES = [0, 1, 2, 2, 3, -1, -5, 10, 100, -2147483648, 2147483647, None]
RATES = [0.1, 0.25, 1.5, 2.75, 3.3333, 1e6, 0.0, 1e-9, 7.0, None]
BIG = [0, 1, -1, 2**31, 2**53, 2**53 + 1, 2**62, -(2**62), 2**63 - 1, -(2**63), None]
EMAILS = [f"{name}@x" for name in "abcdefghijklmnopqrstuvwxyz"] + ["A@x", "a@x "]
HANDLES = ["ann", "Ann", "ann ", "42", "Zoë", "日本", "handle", "it's", "😀", "b\\c", "ANN", ""]
CODES = ["CHF", "EUR", "USD", "GBP"]
SIZES = ["small", "medium", "large", None]
TAGS = ["a", "b", "c", "", "b,a", "a,c", "b,a,c", None]
DATA = [b"", b"\x00", b"a", b"A", b"\xff\xfe", b"a ", b"it's", None]
DAYS = [date(2024, 2, 29), date(2024, 3, 1), date(1999, 12, 31), date(2030, 1, 1), None]
TIMES = [
    *(datetime.fromisoformat(text) for text in (
        "2024-02-29 12:00", "2024-02-29 12:00:00.000001", "2000-01-01", "2038-01-19 03:14:08",
    )), None,
]  # fmt: skip
TOKENS = [
    "7f8e0000-0000-4000-8000-00000000000a", "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-1fff-bfff-ffffffffffff", "0a000000-0000-1000-8000-000000000001",
    "1a000000-0000-1000-8000-000000000000", "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
]  # fmt: skip
RAW = [b"", b"\x00", b"a", b"A", b"\xff", b"a ", b"ann", b"\xf0\x9f", b"it's", b"\\"]
WIDE = [0, 1, 7, 42, 2**31, 2**53, 2**53 + 1, 2**63 - 1]
STAMPS = [datetime.fromisoformat(text) for text in ("2024-03-31 02:30:00.005", "2001-01-01")] + [None]
CLOCKS = [timedelta(hours=1), timedelta(hours=-2, minutes=-5), timedelta(hours=100, milliseconds=5), timedelta(), None]
PRICES = ["0.00", "0.10", "0.20", "12.34", "-5.50", "99999.99", "7.00", None]
EXACT = ["0.000000", "0.000001", "123456789.123456", "-3.500000", "3.500000", None]
VALUES = ["", "1", "02", "x", "X", "it's", None]


@dataclass
class Maker:
    """Draws rows as one engine holds them."""

    random: Random
    engine: str

    def any(self, listed: list[Any]) -> Any:
        """One of them, as the engine's column holds it."""
        return self.held(self.random.choice(listed))

    def held(self, item: Any) -> Any:
        """SQLite has no type for dates: texts that sort as they do."""
        if self.engine == "mysql" or not isinstance(item, date | timedelta):
            return item
        return item.isoformat(" ") if isinstance(item, datetime) else str(item)

    def number(self, listed: list[str | None]) -> Any:
        """A decimal; on SQLite a float that is not negative: a sum of both signs is as good as its order."""
        text = self.random.choice(listed)
        if text is None:
            return None
        return Decimal(text) if self.engine == "mysql" else abs(float(text))

    def value(self, table: str, column: str) -> Any:
        """A value that this column may hold, keys aside."""
        if column == "amount" and self.engine == "sqlite" and self.random.random() < 0.07:
            return self.random.choice([0.5, "x"])  # its columns take anything
        if table == "kinds" and column in ("bits", "wide") and self.engine == "sqlite":
            return self.random.choice([0, 1, 511, None])
        listed = _LISTED.get((table, column)) or _LISTED["", column]
        return self.number(listed) if column in ("price", "exact") else self.any(listed)

    def rest(self, table: str, first: int) -> Row:
        """Values for the columns of a table from `first` on."""
        return tuple(self.value(table, column) for column in COLUMNS[table][first:])


_LISTED: dict[tuple[str, str], list[Any]] = {
    ("", "name"): NAMES, ("", "city"): CITIES, ("", "score"): SCORES, ("", "rate"): RATES, ("", "email"): EMAILS,
    ("", "amount"): SCORES, ("", "price"): PRICES, ("", "currency"): [*CODES, None], ("", "note"): NAMES,
    ("", "made"): TIMES, ("", "body"): NAMES, ("", "stars"): [0, 1, 2, 3, 65535, None], ("", "value"): VALUES,
    ("", "big"): BIG, ("", "exact"): EXACT, ("", "rough"): [0.5, 0.25, 3.0, 1024.5, None], ("", "day"): DAYS,
    ("", "clock"): CLOCKS, ("", "size"): SIZES, ("", "tags"): TAGS, ("", "data"): DATA, ("", "bio"): NAMES,
    ("", "title"): NAMES, ("clubs", "title"): CITIES, ("options", "value"): SCORES, ("places", "name"): CITIES,
    ("user_meta", "name"): ["x", "y", "X", "lang "], ("currencies", "name"): NAMES, ("", "other"): HANDLES,
    ("", "bits"): [b"\x00\x01", b"\x01\xff", b"\x00\x00", None], ("", "born"): [1999, 2024, 2155, None],
    ("", "fixed"): [b"abc", b"a\x00\x00", b"\x00\x00\x00", b"\xff\x00a", None],
    ("", "wide"): [0, 1, 2**63, 2**64 - 1, None],
    ("", "stamp"): STAMPS, ("", "doc"): ['{"a": 1}', '{"a": -2, "b": []}', "{}", None],
    ("", "token"): TOKENS, ("", "k"): RAW, ("wide_uses", "wide"): WIDE, ("wides", "id"): WIDE, ("", "m"): SCORES,
    ("", "flag"): SCORES[:5], ("tokens", "n"): SCORES, ("raws", "n"): SCORES, ("wides", "n"): SCORES[:8],
    ("members", "who"): EMAILS, ("", "user_id"): [*KEYS], ("", "author"): [*KEYS], ("", "id"): [*KEYS],
}  # fmt: skip


def deposit_id(user: int, number: int) -> int:
    """An id as Tenfold draws them, of long ago: its first 12 bits are the owner's bucket."""
    return bucket_of(user, KeyType.INTEGER) << 51 | 1000 << 20 | number


def large_world(random: Random, engine: str) -> World:
    """So many rows that they are read in several batches, and that lists of keys are sent in parts."""
    rest = Maker(random, engine).rest
    found = world_of(random, engine)

    found["deposits"] = [
        (deposit_id(user, n), user, *rest("deposits", 2)) for n, user in enumerate(random.choices(KEYS, k=4500))
    ]
    found["people"] = [(f"{random.choice(HANDLES)}#{n}", *rest("people", 1)) for n in range(2000)]
    handles = [row[0] for row in found["people"]]
    found["follows"] = [(random.choice(handles), random.choice(handles)) for _ in range(3500)]
    return found


def world_of(random: Random, engine: str) -> World:
    """Rows of every table; now and then of none."""
    rest = Maker(random, engine).rest
    users = random.sample(KEYS, random.choice([0, 1, 5, 12, 12, 20, 25]))
    many = random.choice([0, 3, 15, 30, 40]) if users else 0

    def owner() -> int:
        # Some rows have an owner that does not exist.
        return random.choice(users) if users and random.random() < 0.9 else random.choice(KEYS)

    emails = random.sample(EMAILS, len(users))
    found: World = {
        "users": [(user, emails[n], *rest("users", 2)) for n, user in enumerate(users)],
        "deposits": [
            (deposit_id(user, n), user, *rest("deposits", 2)) for n, user in enumerate(owner() for _ in range(many))
        ],
        "notes": [(owner(), *rest("notes", 1)) for _ in range(random.choice([0, 5, 15]))],
        "banned": [(key,) for key in random.sample(KEYS, random.choice([0, 3, 6]))],
        "clubs": [(key, *rest("clubs", 1)) for key in random.sample(KEYS, random.choice([0, 4, 10]))],
        "members": [(random.choice(KEYS), *rest("members", 1)) for _ in range(random.choice([0, 6, 12]))],
        "people": [(handle, *rest("people", 1)) for handle in random.sample(HANDLES, random.choice([0, 4, 9]))],
        "follows": [(random.choice(HANDLES), *rest("follows", 1)) for _ in range(random.choice([0, 5, 10]))],
        "fans": [(random.choice(HANDLES), *rest("fans", 1)) for _ in range(random.choice([0, 5]))],
        "posts": [(n + 1, owner(), *rest("posts", 2)) for n in range(random.choice([0, 4, 10]))],
        "options": [(name, *rest("options", 1)) for name in random.sample("abcdef", random.choice([0, 2, 5]))],
        "currencies": [
            (code, *rest("currencies", 1)[:1], owner()) for code in random.sample(CODES, random.choice([0, 3, 4]))
        ],
    }  # fmt: skip
    pairs = {(owner(), name): None for name in ("x", "y", "X", "lang ") for _ in range(random.choice([0, 2, 5]))}
    found["user_meta"] = [(*pair, *rest("user_meta", 2)) for pair in pairs]
    numbered = {(owner(), random.randint(1, 3)): None for _ in range(random.choice([0, 10, 20]))}
    found["kinds"] = [(*pair, *rest("kinds", 2)) for pair in numbered]
    wides = [*WIDE, *([] if engine == "sqlite" else [2**63, 2**64 - 1])]
    for parent, uses, listed in (
        ("tokens", "token_uses", TOKENS),
        ("raws", "raw_uses", RAW),
        ("wides", "wide_uses", wides),
    ):
        found[parent] = [(key, *rest(parent, 1)) for key in random.sample(listed, random.choice([0, 3, len(listed)]))]
        keys = [row[0] for row in found[parent]] if parent == "tokens" else listed
        found[uses] = [(random.choice(keys), *rest(uses, 1)) for _ in range(random.choice([0, 8]) if keys else 0)]
    count = random.choice([0, 5, 7])
    found["places"] = [
        (n, random.randint(1, n - 1) if n > 1 else None, *rest("places", 2)) for n in range(1, count + 1)
    ]
    return found
