"""A plan reads as what is done, deepest first, and says which shards it touches. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tenfold.errors import CrossShardError, ShardKeyError, StatementError
from tenfold.sharding.buckets import BucketMap, first_fill
from tenfold.sharding.dialects import MYSQL, SQLITE
from tenfold.sharding.explain import shown, steps_of, told
from tenfold.sharding.keys import KeyType
from tenfold.sharding.placing import Placing
from tenfold.sharding.plan import ById, ByKeys, Merged, OnShard, Part, Plan, Scatter, SortKey, Staged
from tenfold.sharding.ports import Params, Send
from tenfold.sharding.statement import Const, Kind, Param, Text
from tenfold.sharding.touches import Touch, Touched, sentences, touched
from tests.sharding.plans import driven, layout_named, plan_of

SHARDS = ("shard_0", "shard_1", "shard_2")
# 42 is in bucket 2589, 7 in 2289 (tests/sharding/test_keys.py keeps them so).
OWNERS = first_fill(dict.fromkeys(SHARDS, 1))


def merged(text: str, *, where: Any = None, **of: Any) -> Plan:
    slots = of.pop("slots", None)
    return Plan(Kind.SELECT, text, where or Scatter(), True, ("t",), merged=Merged(Text(text, slots), **of))


def test_the_ten_newest_are_merged_from_ten_of_each_shard() -> None:
    plan = merged(
        "SELECT id, created_at AS tf_sort_0 FROM deposits ORDER BY created_at DESC",
        keys=(SortKey(-1, descending=True),), hidden=1, limit=Const(10),
    )  # fmt: skip
    assert told(plan) == (
        "Limit 10\n"
        "  MergeSorted created_at DESC\n"
        "    SendAll SELECT id, created_at AS tf_sort_0 FROM deposits ORDER BY created_at DESC LIMIT 10"
    )


def test_each_shard_gives_as_many_rows_as_are_skipped_and_kept_together() -> None:
    assert told(merged("SELECT 1 FROM t", limit=Const(10), offset=Const(5))) == (
        "Limit 10 offset 5\n  SendAll SELECT 1 FROM t LIMIT 15"
    )
    assert told(merged("SELECT 1 FROM t", limit=Param(0), offset=Param(1))).endswith("SELECT 1 FROM t LIMIT ?1 + ?2")


@pytest.mark.parametrize(
    ("text", "position", "name"),
    [
        ("SELECT a, b FROM t", 1, "b"),
        ("SELECT *, b AS tf_sort_0 FROM t", -1, "b"),
        ("SELECT *, b FROM t", 1, "column 2"),  # how many columns * stands for, only the shard knows
        ("SELECT `a`, WEIGHT_STRING(`a`) AS tf_sort_0 FROM t", -1, "a"),
        ("SELECT a, abs(b) AS tf_sort_0 FROM t", -1, "ABS(b)"),
    ],
)
def test_an_order_is_told_by_the_name_that_its_column_has_for_the_caller(text: str, position: int, name: str) -> None:
    assert told(merged(text, keys=(SortKey(position, descending=False),))).startswith(f"MergeSorted {name}\n")


def test_rows_of_some_shards_are_asked_of_those_alone() -> None:
    plan = merged("SELECT 1 FROM t WHERE k IN (?, ?)", where=ByKeys((Param(0), Param(1)), KeyType.INTEGER))
    assert told(plan) == "ByKeys ?1, ?2\n  Send SELECT 1 FROM t WHERE k IN (?, ?)"


STAGED = Plan(
    Kind.SELECT, "", Scatter(), True, ("users", "posts"),
    staged=Staged(
        (
            Part("users", Scatter(), Text("SELECT id FROM users WHERE name = ?", (1,)), (("id", "INTEGER"),)),
            Part("posts", OnShard("shard_2"), Text("SELECT author FROM posts"), (("author", "INTEGER"),)),
        ),
        Text("SELECT count(*) FROM users JOIN posts ON author = id WHERE title <> ?", (0,)),
        "shard_1",
    ),
)  # fmt: skip


def test_a_join_of_two_homes_shows_what_is_brought_where_and_what_is_asked_of_it_then() -> None:
    assert told(STAGED) == (
        "Staged on shard_1\n"
        "  Fill users\n"
        "    SendAll SELECT id FROM users WHERE name = ?2\n"
        "  Fill posts\n"
        "    OnShard shard_2\n"
        "      Send SELECT author FROM posts\n"
        "  Finish SELECT count(*) FROM users JOIN posts ON author = id WHERE title <> ?1"
    )


def test_a_program_gets_the_same_tree() -> None:
    def lines(step: dict[str, Any], indent: str = "") -> list[str]:
        own = f"{indent}{step['does']} {step['what']}".rstrip()
        return [own, *(line for below in step["below"] for line in lines(below, indent + "  "))]

    assert "\n".join(lines(steps_of(STAGED, SQLITE).as_json())) == told(STAGED)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (Text("SELECT '?' FROM t WHERE a=? AND b IN (? , ?)", (2, 0, 0)),
         "SELECT '?' FROM t WHERE a=?3 AND b IN (?1, ?1)"),
        (Text("SELECT `a?` FROM t WHERE a = ? ", (4,)), "SELECT `a?` FROM t WHERE a = ?5"),
        (Text("SELECT ? FROM t"), "SELECT ? FROM t"),
        (Text("SELECT 'open", (0,)), "SELECT 'open"),
    ],
)  # fmt: skip
def test_a_parameter_has_the_number_that_it_has_for_the_caller(text: Text, expected: str) -> None:
    assert shown(text, SQLITE) == expected


def test_a_text_is_read_as_its_engine_reads_it() -> None:
    text = r"SELECT n, WEIGHT_STRING(n) AS tf_sort_0 FROM t WHERE n <> 'it\'s ?' AND m = ?"
    assert shown(Text(text, (4,)), MYSQL) == text + "5"
    plan = merged(text, slots=(4,), keys=(SortKey(-1, descending=False),), hidden=1)
    assert told(plan, MYSQL).startswith("MergeSorted n\n")


PLACING = Placing(BucketMap(1, OWNERS), layout_named("by user"), {"deposits": 1000})


def touch(plan: Plan, params: Params | None = None, holder: int | None = None) -> Touched:
    """holder: the bucket that a reservation names, if the value is held."""

    def held(sent: Send) -> list[tuple[int]]:
        assert "tf_reservation" in sent.sql
        return [] if holder is None else [(holder,)]

    return driven(touched(plan, params, PLACING), held)


def test_a_key_is_looked_up_as_the_statement_would() -> None:
    plan = plan_of("SELECT * FROM deposits WHERE user_id IN (?, ?, 7)")
    found = touch(plan, [42, None])
    assert found.keys == [
        Touch("?1 = 42", 2589, OWNERS[2589]), Touch("?2 = NULL", nowhere=True), Touch("7", 2289, OWNERS[2289])
    ]  # fmt: skip
    assert (found.shards, found.certain) == ([s for s in SHARDS if s in (OWNERS[2589], OWNERS[2289])], True)
    assert list(sentences(found, SHARDS))[2] == "  ?2 = NULL: no row has it"


def test_without_values_it_is_the_shard_of_the_parameter() -> None:
    found = touch(plan_of("SELECT * FROM deposits WHERE user_id = :user"))
    assert (found.shards, found.certain) == ([], False)
    assert list(sentences(found, SHARDS)) == ["goes to the shard of :user"]


def test_a_key_that_its_column_cannot_hold_is_refused_as_it_would_be() -> None:
    plan = plan_of("SELECT * FROM deposits WHERE user_id = ?")
    with pytest.raises(ShardKeyError):
        touch(plan, ["four"])
    with pytest.raises(StatementError, match="was not passed"):
        touch(plan, [])


def test_an_id_of_tenfold_is_where_its_bucket_is_and_an_older_one_anywhere() -> None:
    plan = plan_of("SELECT amount FROM deposits WHERE id = ?")
    assert isinstance(plan.route, ById)
    ours = (77 << 51) + 5
    assert touch(plan, [ours]).keys == [Touch(f"the bucket in the id ?1 = {ours}", 77, OWNERS[77])]
    assert touch(plan, [5]).shards == list(SHARDS)
    with pytest.raises(CrossShardError, match="not one of Tenfold's"):
        touch(replace(plan, route=replace(plan.route, scatters=False)), [5])


def test_a_unique_value_is_where_its_holder_is() -> None:
    plan = plan_of("SELECT id FROM users WHERE email = ?")
    assert touch(plan, ["a@b"], holder=4000).shards == [OWNERS[4000]]
    (nobody,) = touch(plan, ["a@b"]).keys
    assert nobody.key == "whoever holds users.email: ?1 = 'a@b' (nobody holds it)"
    assert list(sentences(touch(plan), SHARDS)) == ["goes to the shard of whoever holds users.email: ?1"]


def test_other_plans_say_where_they_go() -> None:
    def said(sql: str) -> list[str]:
        return list(sentences(touch(plan_of(sql)), SHARDS))

    assert said("SELECT name FROM users") == ["goes to all shards: shard_0, shard_1, shard_2"]
    assert said("SELECT * FROM posts") == ["goes to shard_2"]
    assert said("SELECT * FROM currencies") == ["goes to any shard: each has the answer"]
    assert said("DELETE FROM currencies") == ["goes to all shards: shard_0, shard_1, shard_2"]
    assert said("INSERT INTO users (email) VALUES ('a')") == ["goes to the shard of the id that Tenfold draws"]
    assert said("INSERT INTO users (id, email) VALUES (42, 'a')")[0] == f"goes to {OWNERS[2589]}"
    assert touch(STAGED).shards == list(SHARDS)


def test_a_list_of_keys_on_one_shard_is_answered_there_as_it_is_written() -> None:
    plan = plan_of("SELECT created_at, count(*) FROM deposits WHERE user_id IN (?, ?) GROUP BY created_at")
    assert plan.staged
    assert touch(plan, [42, 42]).whole and not touch(plan).whole
    assert list(sentences(touch(plan, [42, 42]), SHARDS))[-1].startswith("one shard has all of it")


def test_two_keys_are_one_shard_s_or_brought_together() -> None:
    plan = plan_of("SELECT * FROM users u, deposits d WHERE u.id = ? AND d.user_id = ?")
    lines = told(plan).splitlines()
    assert lines[:3] == ["ByKey ?1 = ?2", f"  Send {plan.sql}", "  IfApart"] and lines[3] == "    Staged"
    assert touch(plan, [42, 42]).shards == [OWNERS[2589]]
