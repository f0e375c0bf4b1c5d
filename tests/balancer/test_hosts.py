"""Backends on hosts of their own, as nginx is told of them, and as its log tells of them. Edge."""

from __future__ import annotations

import re

import pytest

from tenfold.balancer.features import parse
from tenfold.balancer.render import Machine, render
from tenfold.balancer.upstreams import backend_address
from tenfold.topology.model import Topology
from tests.balancer.test_features import CASES

TOPOLOGY = Topology.model_validate(
    {
        "platform": {"name": "ledger"},
        "app": {"command": "x {host}", "backends": [{"host": "a"}, {"host": "b", "port": 8101}, {"host": "c"}]},
        "database": {"shards": {"shard_0": {"url": "sqlite:///var/shard_0.db"}}},
        "environments": {
            "production": {
                "hosts": {
                    "a": {"address": "10.0.0.5", "roles": ["balancer", "app"]},
                    "b": {"address": "110.0.0.5"},
                    "c": {"address": "fd00::7"},
                }
            }
        },
    }
).model_copy(update={"environment": "production"})


def test_a_backend_is_reached_at_the_address_of_its_host() -> None:
    addresses = [backend_address(TOPOLOGY, position) for position in range(3)]
    assert addresses == ["10.0.0.5:8101", "110.0.0.5:8101", "[fd00::7]:8103"]
    local = TOPOLOGY.model_copy(update={"environment": None})
    assert [backend_address(local, position) for position in range(3)] == [
        "127.0.0.1:8101", "127.0.0.1:8101", "127.0.0.1:8103",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("told", "served"),
    [
        ("10.0.0.5:8101", "backend_0"),
        ("110.0.0.5:8101", "backend_1"),  # not the one whose address it ends with
        ("[fd00::7]:8103", "backend_2"),
        ("10.0.0.5:8101, [fd00::7]:8103", "backend_2"),
        ("[fd00::7]:8103, 10.0.0.5:8101", "backend_0"),
    ],
)
def test_an_older_nginx_knows_who_answered_by_the_whole_address(told: str, served: str) -> None:
    features = parse((CASES / "debian-1.22.version.txt").read_text())
    text = render(TOPOLOGY, features, Machine(2, 20_000)).text
    block = text[text.index("map $upstream_addr") :].partition("}")[0]
    # The first pattern that matches decides, as nginx has it.
    patterns = [row for row in re.findall(r'"?~(.+?\$)"? (backend_\d);', block)]
    assert next(name for pattern, name in patterns if re.search(pattern.replace("\\\\", "\\"), told)) == served
