"""Where tables live, and which schemas a group refuses. Pure."""

from __future__ import annotations

import pytest

from tenfold.errors import ConfigError, CrossShardError, RoutingError
from tenfold.sharding.keys import KeyType
from tenfold.sharding.layout import Grouped, Pinned, Referenced, group_mistakes, group_table, same_shard
from tests.sharding.plans import layout_named, ledger_shape, shape_of

USERS = "tenfold.toml: database.groups.user.tables.users"
UNIQUE = "tenfold.toml: database.groups.user.unique.users"


def mistakes(
    columns: str, *more: str, key: str = "id", unique: tuple[str, ...] = (), ids: bool | None = None
) -> list[str]:
    shape = shape_of(f"CREATE TABLE users ({columns})", "users", *more)
    return group_mistakes(Grouped("users", "user", key, unique, ids), shape)


def test_tables_are_found_whatever_the_case_of_their_name() -> None:
    layout = layout_named("by user")
    assert layout.placed("USERS") == Grouped("users", "user", "id", ("email",))
    assert layout.placed("Deposits") == Grouped("deposits", "user", "user_id")
    assert layout.placed("posts") == Pinned("posts", "shard_2")
    assert layout.placed("currencies") == Referenced("currencies")


def test_a_table_exists_on_its_shard_or_on_all() -> None:
    layout = layout_named("by user")
    assert layout.shards_of("posts") == ("shard_2",)
    assert layout.shards_of("users") == layout.shards_of("currencies") == ("shard_0", "shard_1", "shard_2")


@pytest.mark.parametrize(("table", "hint"), [("user", "did you mean users?"), ("zzz", "name it in tenfold.toml")])
def test_a_table_that_nobody_declared_is_refused(table: str, hint: str) -> None:
    with pytest.raises(RoutingError, match=f"no one declared the table {table}") as refused:
        layout_named("by user").placed(table)
    assert refused.value.hint.startswith(hint)


def test_tables_of_tenfold_are_not_the_applications() -> None:
    with pytest.raises(RoutingError, match="Tenfold's own"):
        layout_named("by user").placed("TF_Reservation")


def test_the_literal_layout_has_three_shards_of_whole_tables() -> None:
    layout = layout_named("literal")
    assert {table: placed.said() for table, placed in layout.tables.items()} == {
        **dict.fromkeys(("users", "user_meta", "sessions"), ("pinned", "shard_0")),
        **dict.fromkeys(("deposits", "withdrawals", "transactions"), ("pinned", "shard_1")),
        **dict.fromkeys(("posts", "pages", "comments", "options"), ("pinned", "shard_2")),
    }


def test_a_table_of_a_group_knows_its_key_its_ids_and_what_is_reserved() -> None:
    layout = layout_named("by user")
    users, deposits, meta = (layout.placed(name) for name in ("users", "deposits", "user_meta"))
    assert isinstance(users, Grouped) and isinstance(deposits, Grouped) and isinstance(meta, Grouped)
    table = group_table(users, ledger_shape("users"))
    assert (table.key, table.key_type, table.id_column, table.id_is_key) == ("id", KeyType.INTEGER, "id", True)
    assert table.reserved == {"email": KeyType.TEXT}
    table = group_table(deposits, ledger_shape("deposits"))
    assert (table.key, table.id_column, table.id_is_key) == ("user_id", "id", False)
    assert group_table(meta, ledger_shape("user_meta")).id_column is None


def test_pinned_tables_of_one_shard_are_together() -> None:
    here, there, everywhere = Pinned("posts", "shard_2"), Pinned("options", "shard_1"), Referenced("currencies")
    assert same_shard([here, everywhere, here]) == "shard_2"
    assert same_shard([everywhere]) is None
    with pytest.raises(CrossShardError, match="options on shard_1, posts on shard_2"):
        same_shard([here, there])


def test_a_schema_that_fits_has_no_mistakes() -> None:
    assert mistakes("id INTEGER PRIMARY KEY, email TEXT UNIQUE", unique=("email",)) == []
    assert mistakes("a INTEGER, b TEXT, UNIQUE (b, a)", key="a") == []
    assert mistakes("id INTEGER PRIMARY KEY, user_id UUID", key="user_id") == []


@pytest.mark.parametrize(
    ("columns", "key", "said"),
    [
        ("id INTEGER PRIMARY KEY", "user_id", 'column "user_id" is not in the table (has: id); name the column'),
        ("usr_id INTEGER", "user_id", 'write users = "usr_id"'),
        ("id REAL", "id", 'column "id" is REAL, which cannot be a shard key'),
        ("id", "id", 'column "id" is without a type'),
        ("id TEXT COLLATE NOCASE", "id", 'column "id" has the collation NOCASE'),
        ("id TEXT, name TEXT UNIQUE", "id", 'UNIQUE (name) lacks the shard key, so no shard alone can keep it; '
         'write unique = { users = ["name"] }'),
        ("id TEXT, a TEXT, b TEXT, UNIQUE (a, b)", "id", "UNIQUE (a, b) lacks the shard key, so no shard alone can "
         "keep it; write it as (id, a, b)"),
    ],
)  # fmt: skip
def test_a_schema_that_cannot_be_spread_is_told_with_its_remedy(columns: str, key: str, said: str) -> None:
    found = mistakes(columns, key=key)
    assert len(found) == 1 and found[0].startswith(f"{USERS}: ") and said in found[0]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("id INTEGER PRIMARY KEY", 'column "email" is not in the table (has: id)'),
        ("id INTEGER PRIMARY KEY, email TEXT COLLATE NOCASE", "has the collation NOCASE"),
        ("id INTEGER PRIMARY KEY, email REAL", "is REAL, so equal values cannot be told by their bytes"),
        ("id INTEGER PRIMARY KEY, email TEXT DEFAULT 'none'", "is filled by the database"),
        ("id INTEGER PRIMARY KEY, name TEXT, email TEXT AS (lower(name))", "is filled by the database"),
    ],
)
def test_a_column_whose_values_cannot_be_reserved_is_told(columns: str, said: str) -> None:
    found = mistakes(columns, unique=("email",))
    assert len(found) == 1 and found[0].startswith(f"{UNIQUE}: ") and said in found[0]


def test_a_unique_index_by_another_collation_is_not_kept_by_reservations() -> None:
    # 'A@x' and 'a@x' are one value to the index and two to the reservations.
    index = "CREATE UNIQUE INDEX folded ON users (email COLLATE NOCASE)"
    found = mistakes("id INTEGER PRIMARY KEY, email TEXT", index, unique=("email",))
    assert found and "another collation) lacks the shard key" in found[0]
    index = "CREATE UNIQUE INDEX folded ON users (name COLLATE NOCASE, other)"
    assert mistakes("name TEXT, other TEXT", index, key="name")


def test_a_table_that_numbers_itself_must_take_ids() -> None:
    found = mistakes("id INTEGER PRIMARY KEY, user_id INTEGER", key="user_id", ids=False)
    assert any("users numbers its own rows" in line and 'write ids = "auto"' in line for line in found)
    # The key table is another matter: two rows with one number would have one key, so one shard.
    assert mistakes("id INTEGER PRIMARY KEY", ids=False) == []


def test_all_mistakes_are_told_at_once() -> None:
    shape = shape_of("CREATE TABLE users (id REAL, a TEXT UNIQUE, b TEXT)", "users")
    with pytest.raises(ConfigError) as refused:
        group_table(Grouped("users", "user", "id", ("b", "c")), shape)
    assert len(str(refused.value).splitlines()) == 3
