"""What the model takes, how environments lie over the file, and that nothing but ConfigError comes out. Edge."""

from __future__ import annotations

import copy
import tomllib
from contextlib import suppress
from datetime import date
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from tenfold.errors import ConfigError
from tenfold.topology import parse as parsing
from tenfold.topology.addresses import listen_address, sqlite_file
from tenfold.topology.commands import arguments
from tenfold.topology.model import Sticky, per_second
from tenfold.topology.parse import everywhere, parse
from tenfold.topology.references import plain
from tenfold.topology.schema import json_schema

RIGHT: dict[str, Any] = tomllib.loads("""
[platform]
name = "ledger"
[app]
command = "ledger --port {port}"
backends = [{ weight = 3 }, { weight = 2, port = 9000 }]
[database.shards]
shard_0 = { url = "sqlite:///var/shard_0.db" }
shard_1 = { url = "sqlite:///var/shard_1.db" }
[environments.production]
hosts = { web_1 = { address = "10.0.0.5", roles = ["balancer", "app"] } }
balancer = { listen = "[::]:80", limits = { api = { rate = "100r/s" } } }
[environments.production.app]
backends = [{}]
[environments.production.database.shards.shard_1]
weight = 7
""")


def with_(**sections: Any) -> dict[str, Any]:
    return {**copy.deepcopy(RIGHT), **sections}


def test_a_platform_is_what_its_file_says_and_defaults_fill_the_rest() -> None:
    topology = parse(RIGHT, file=PurePosixPath("/srv/ledger/tenfold.toml"))
    assert (topology.platform.name, topology.balancer.sticky) == ("ledger", Sticky.COOKIE)
    assert [topology.backend_port(i) for i in (0, 1)] == [8101, 9000]
    assert topology.catalog_shard == "shard_0"
    assert (topology.root, topology.environment, topology.cache) == (PurePosixPath("/srv/ledger"), None, None)


def test_a_platform_does_not_change_once_read() -> None:
    with pytest.raises(ValidationError):
        setattr(parse(RIGHT).platform, "name", "other")  # noqa: B010  mypy refuses it already


def test_a_limit_of_the_users_own_leaves_the_shipped_ones_in_place() -> None:
    limits = parse(with_(balancer={"limits": {"search": {"rate": "1r/s"}, "api": {"rate": "2r/s"}}})).balancer.limits
    assert {name: limit.rate for name, limit in limits.items()} == {
        "general": "30r/s", "api": "2r/s", "login": "5r/m", "search": "1r/s",
    }  # fmt: skip
    assert limits["api"].paths == ()  # replaced whole, not merged


def test_an_environment_merges_tables_and_replaces_arrays() -> None:
    production = parse(RIGHT, environment="production")
    assert production.environment == "production"
    assert production.balancer.listen == "[::]:80"
    assert [backend.weight for backend in production.app.backends] == [1]
    assert [(shard.url[-10:], shard.weight) for shard in production.database.shards.values()] == [
        ("shard_0.db", 1), ("shard_1.db", 7),
    ]  # fmt: skip
    assert production.environments["production"].hosts["web_1"].address == "10.0.0.5"


def test_without_an_environment_nothing_is_laid_over() -> None:
    assert [backend.weight for backend in parse(RIGHT).app.backends] == [3, 2]


def test_overlaying_leaves_what_was_read_unchanged() -> None:
    raw = copy.deepcopy(RIGHT)
    parse(raw, environment="production")
    assert raw == RIGHT


def test_an_unknown_environment_is_told_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r'environment "prod" \(there are: production\); write --env production'):
        parse(RIGHT, environment="prod")
    with pytest.raises(ConfigError, match=r"nor any other; leave --env away, or write \[environments.prod\]"):
        parse(with_(environments={}), environment="prod")


def test_a_mistake_of_another_environment_does_not_stop_this_one() -> None:
    raw = with_(environments={"broken": {"balancer": {"listen": "x"}}, "fine": {}})
    assert parse(raw, environment="fine").environment == "fine"
    assert [m.path for m in everywhere(raw)] == [("environments", "broken", "balancer", "listen")]


def test_an_environment_may_mend_the_file_for_itself() -> None:
    raw = with_(balancer={"listen": "x"}, environments={"fine": {"balancer": {"listen": "127.0.0.1:80"}}})
    assert parse(raw, environment="fine").balancer.listen == "127.0.0.1:80"
    assert [m.path for m in everywhere(raw)] == [("balancer", "listen")]


def test_the_mistakes_stand_in_the_order_of_the_file() -> None:
    raw = {"database": {"pool_size": 0, "shards": {}}, "platform": {"name": 3}, "app": {"health": "x", "command": ""}}
    paths = [m.path for m in everywhere(raw)]
    assert paths == [
        ("database", "pool_size"), ("database", "shards"), ("platform", "name"), ("app", "health"), ("app", "command"),
    ]  # fmt: skip


def test_a_value_cannot_break_the_line_it_is_told_in() -> None:
    lines = [m.line("t") for m in everywhere(with_(platform={"name": "a\nb\x1b[31m\u2028\x9bc" + "x" * 500}))]
    assert len(lines) == 1
    assert lines[0].isprintable() and len(lines[0]) < 250


def test_what_works_differently_than_it_looks_is_a_warning() -> None:
    by_address = parse(with_(balancer={"sticky": "ip"}))
    assert "write sticky = " in parsing.warnings(by_address)[0]
    assert parsing.warnings(parse(with_(balancer={"sticky": "ip", "trusted_proxies": ["10.0.0.0/8"]}))) == []
    everyone = parse(with_(balancer={"trusted_proxies": ["::/0"]}))
    assert "any address" in parsing.warnings(everyone)[0]


def test_tables_nested_without_end_are_refused_not_followed() -> None:
    raw: dict[str, Any] = {}
    inner = raw
    for _ in range(5000):
        inner["a"] = {}
        inner = inner["a"]
    for deep in (raw, {"environments": {"a": [[[raw]]]}}):
        with pytest.raises(ConfigError, match="nested too deeply"):
            parse(deep)


def test_a_text_that_looks_like_a_reference_can_be_written_with_one_dollar_more() -> None:
    assert [plain(t) for t in ("$${NAME}", "a$${b", "$file:x", "file", "$x")] == [
        "${NAME}", "a${b", "file:x", "file", "$x",
    ]  # fmt: skip
    app = {**RIGHT["app"], "environment": {"A": "$${NAME}", "B": "$file:x"}}
    assert parse(with_(app=app)).app.environment == {"A": "${NAME}", "B": "file:x"}


def test_secrets_never_show_themselves() -> None:
    app = {**RIGHT["app"], "environment": {"API_TOKEN": "${T}"}}
    path = ("app", "environment", "API_TOKEN")
    raw = with_(app=app)
    topology = parse(raw, secrets={path: SecretStr("hunter2")})
    assert raw["app"]["environment"] == {"API_TOKEN": "${T}"}  # nor do they get into what was read
    secret = topology.app.environment["API_TOKEN"]
    assert isinstance(secret, SecretStr) and secret.get_secret_value() == "hunter2"
    for text in (repr(topology), str(topology), topology.model_dump_json(), str(topology.model_dump())):
        assert "hunter2" not in text


def test_a_command_is_cut_before_it_is_filled_in() -> None:
    command = """{python} -m app "--bind=127.0.0.1:{port}" '{"a": {b}}'"""
    assert arguments(command, port=8101, python="/my venv/python") == [
        "/my venv/python", "-m", "app", "--bind=127.0.0.1:8101", '{"a": {b}}',
    ]  # fmt: skip


def test_addresses_are_read_as_nginx_and_sqlite_read_them() -> None:
    assert listen_address("127.0.0.1:80") == ("127.0.0.1", 80)
    assert listen_address("[::1]:8080") == ("::1", 8080)
    for wrong in ("", ":", "::1:80", "[127.0.0.1]:80", "127.0.0.1:08", "1.2.3.4:65536", "[fe80::1%eth0]:80"):
        with pytest.raises(ValueError):
            listen_address(wrong)
    root = PurePosixPath("/srv/ledger")
    assert sqlite_file("sqlite:///var/../a.db", root) == PurePosixPath("/srv/ledger/a.db")
    assert sqlite_file("sqlite:////data/a.db", root) == PurePosixPath("/data/a.db")


def test_a_rate_is_told_in_requests_per_second() -> None:
    assert (per_second("30r/s"), per_second("6r/m")) == (30, 0.1)
    with pytest.raises(ValueError, match="not a rate"):
        per_second("30/s")


WORDS = sorted(
    {*json_schema()["properties"], *(k for d in json_schema()["$defs"].values() for k in d.get("properties", {}))}
)
KEYS = st.sampled_from([*WORDS, "user", "shard_0", "production", "[key]"]) | st.text(max_size=5)
SCALARS = (
    st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(date(2026, 1, 31))
    | st.integers(9, 10).map(lambda digits: 10 ** (500 * digits))  # Python refuses to print these
    | st.sampled_from(["${A}", "file:x", "sqlite:///a.db", "mysql://a:b@c/d", "redis://[", "x://", "{port", "'"])
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


def replaced(raw: Any, path: list[str | int], value: Any) -> Any:
    """A right platform with one value put anywhere: random files alone would never get past the first section."""
    if not path:
        return value
    if isinstance(raw, dict) and raw:
        key = path[0] if path[0] in raw else list(raw)[len(str(path[0])) % len(raw)]
        return {**raw, key: replaced(raw[key], path[1:], value)}
    if isinstance(raw, list) and raw:
        return [replaced(raw[0], path[1:], value), *raw[1:]]
    return {str(path[0]): value}


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(path=st.lists(KEYS, max_size=5), value=VALUES, wild=st.dictionaries(KEYS, VALUES, max_size=5))
def test_whatever_toml_holds_the_answer_is_a_platform_or_its_mistakes(path: Any, value: Any, wild: Any) -> None:
    near = replaced(RIGHT, path, value)
    for raw in (wild, near if isinstance(near, dict) else {}):
        mistakes = everywhere(raw)
        for environment in (None, "production"):
            with suppress(ConfigError):  # and nothing else
                parse(raw, environment=environment)
        if not mistakes:
            assert parse(raw).platform.name
        for mistake in mistakes:
            assert "\n" not in mistake.line("tenfold.toml")
