"""The plan of a deploy, and what is taken back of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tenfold.deploy import gates
from tenfold.deploy.order import INTERRUPTED, KILLED, Deployed, History, Kind, Mark, Order, State
from tenfold.deploy.plan import Act, backwards, every_host, planned
from tenfold.topology.load import load
from tenfold.topology.model import Topology

FILE = """
[platform]
name = "shop"
[app]
command = "app --port {port} --host {host}"
backends = [{ host = "web_1" }, { host = "web_2" }, { host = "web_1" }]
[database.shards]
shard_0 = { url = "sqlite:////tmp/shard_0.db" }
[cache]
[deploy]
build = ["make"]
shared = ["uploads"]
clear_cache = ["page:*"]
[environments.production.hosts]
lb = { address = "10.0.0.1", roles = ["balancer"] }
web_1 = { address = "10.0.0.2" }
web_2 = { address = "10.0.0.3" }
db = { address = "10.0.0.4", roles = ["database"] }
"""
BEFORE = {"backend_0": "old", "backend_1": "older", "backend_2": "old"}
ORDER = Order(Kind.DEPLOY, "new", "c0ffee", "main", BEFORE, ("0001_a.sql",), ("0000_z.contract.sql",))


@pytest.fixture
def shop(tmp_path: Path) -> Topology:
    (tmp_path / "tenfold.toml").write_text(FILE)
    return load(tmp_path / "tenfold.toml", "production")


def names(topology: Topology, order: Order = ORDER) -> list[str]:
    return [item.name for phase in planned(topology, order) for item in phase.items]


def test_every_backend_is_out_of_the_traffic_while_it_changes(shop: Topology) -> None:
    for position in range(3):
        mine = [name.partition(".")[2] for name in names(shop) if name.startswith(f"backend_{position}.")]
        assert mine == ["baseline", "drain", "down", "switch", "restart", "health", "timing", "ready"]


def test_one_backend_after_the_other_and_everything_before_the_first_that_can_be(shop: Topology) -> None:
    found = names(shop)
    order = [
        "lb.preflight", "backend_2.baseline", "web_2.release.seal", "migrations.0001_a.sql", "migrations.tables",
        "backend_0.drain", "backend_0.ready", "backend_1.drain", "backend_1.ready", "backend_2.drain",
        "backend_2.ready", "cache.clear", "verification", "contract.0000_z.contract.sql", "web_2.cleanup",
    ]  # fmt: skip
    assert [found.index(name) for name in order] == sorted(found.index(name) for name in order)
    assert len(set(found)) == len(found)


def test_hosts_make_the_release_side_by_side_each_once(shop: Topology) -> None:
    (release,) = [phase for phase in planned(shop, ORDER) if phase.name == "release"]
    assert [[item.act for item in lane] for lane in release.lanes] == [
        [Act.UNPACK, Act.SHARED, Act.INSTALL, Act.BUILD, Act.SEAL]
    ] * 2
    assert every_host(shop) == ["lb", "web_1", "web_2"]


def test_a_backend_that_runs_the_release_already_is_left_alone(shop: Topology) -> None:
    order = Order(Kind.ROLLBACK, "old", "", "old", BEFORE)
    found = names(shop, order)
    assert "backend_1.switch" in found
    assert "backend_0.switch" not in found
    assert not [name for name in found if "release" in name or "migrations" in name]


def test_the_only_backend_is_replaced_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "tenfold.toml").write_text(
        '[platform]\nname = "shop"\n[app]\ncommand = "app"\n[database.shards]\ns = { url = "sqlite:///s.db" }\n'
    )
    found = names(load(tmp_path / "tenfold.toml"), Order(Kind.ROLLBACK, "new", "", "new", {"backend_0": "old"}))
    assert [name for name in found if name.startswith("backend_0.")] == [
        "backend_0.baseline", "backend_0.switch", "backend_0.restart", "backend_0.health", "backend_0.timing"
    ]  # fmt: skip


def test_an_order_comes_back_from_the_journal_as_it_was() -> None:
    assert Order.of(ORDER.as_json()) == ORDER


def test_what_was_begun_is_taken_back_the_last_first_and_nothing_else(shop: Topology) -> None:
    plan = planned(shop, ORDER)
    marks = {
        "lb.preflight": Mark.DONE, "web_1.release.unpack": Mark.DONE, "web_2.release.unpack": Mark.BEGUN,
        "backend_0.down": Mark.DONE, "backend_0.switch": Mark.DONE, "backend_0.restart": Mark.FAILED,
        "backend_1.ready": Mark.UNDONE, "web_1.cleanup": Mark.DONE,
    }  # fmt: skip
    found = [[[item.name for item in lane] for lane in lanes] for lanes in backwards(plan, marks)]
    assert found == [
        [["backend_0.restart", "backend_0.switch", "backend_0.down"]],
        [["web_1.release.unpack"], ["web_2.release.unpack"]],
    ]


@pytest.mark.parametrize("mark", [Mark.SKIPPED, Mark.LEFT, Mark.UNDOING])
def test_what_was_not_seen_to_be_taken_back_is_taken_back_again(shop: Topology, mark: Mark) -> None:
    found = list(backwards(planned(shop, ORDER), {"backend_0.switch": mark}))
    assert [item.name for lanes in found for lane in lanes for item in lane] == ["backend_0.switch"]


def history(*rows: tuple[Kind, str, State]) -> History:
    return History(
        tuple(
            Deployed(nth, state, Order(kind, release, release + "-commit", release, {}), "ann", 0.0, 1.0)
            for nth, (kind, release, state) in enumerate(rows, 1)
        )
    )


def test_a_release_is_good_as_its_last_deploy_was() -> None:
    found = history(
        (Kind.DEPLOY, "r1", State.GOOD), (Kind.DEPLOY, "r2", State.UNDONE), (Kind.DEPLOY, "r3", State.GOOD),
        (Kind.ROLLBACK, "r1", State.GOOD), (Kind.DEPLOY, "r4", State.REFUSED), (Kind.ROLLBACK, "r3", State.STUCK),
    )  # fmt: skip
    assert found.good() == ["r1"]
    assert [found.is_bad(name) for name in ("r1", "r2", "r3", "r4")] == [False, True, True, False]
    assert found.bad_of_commit("r2-commit") == "r2"
    assert found.bad_of_commit("r4-commit") is None
    assert found.unfinished is not None
    assert found.unfinished.order.release == "r3"


@pytest.mark.parametrize(
    ("kind", "said", "good"),
    [
        (Kind.ROLLBACK, INTERRUPTED, True),
        (Kind.ROLLBACK, f"ann {KILLED}", True),
        (Kind.ROLLBACK, f"{INTERRUPTED}; ann {KILLED} of taking it back", True),
        (Kind.ROLLBACK, "health gate of backend_0: 500", False),
        (Kind.DEPLOY, f"ann {KILLED}", False),
        (Kind.DEPLOY, INTERRUPTED, False),
    ],
)
def test_a_roll_back_that_was_stopped_from_outside_leaves_its_release_as_good_as_it_was(
    kind: Kind, said: str, good: bool
) -> None:
    found = history((Kind.DEPLOY, "r1", State.GOOD), (Kind.DEPLOY, "r2", State.GOOD), (kind, "r1", State.UNDONE))
    found = History((*found.deploys[:2], replace(found.deploys[2], said=said)))
    assert (found.is_good("r1"), found.is_bad("r1"), "r1" in found.before("r2")) == (good, not good, good)
    assert found.bad_of_commit("r1-commit") == (None if good else "r1")


def test_a_roll_back_goes_to_what_was_deployed_before_not_to_what_it_came_from() -> None:
    found = history(
        (Kind.DEPLOY, "r1", State.GOOD), (Kind.DEPLOY, "r2", State.GOOD), (Kind.DEPLOY, "r3", State.GOOD),
        (Kind.ROLLBACK, "r2", State.GOOD),
    )  # fmt: skip
    assert found.before("r2") == ["r1"]
    assert found.before("r3") == ["r2", "r1"]


@pytest.mark.parametrize(
    ("statuses", "opened"),
    [((200, 200, 200), True), ((500, 200, 200, 200), True), ((200, 200, 500), False), ((200, 200), False), ((), False)],
)
def test_the_health_gate_opens_after_enough_good_answers_in_a_row(statuses: tuple[int, ...], opened: bool) -> None:
    answers = [(status, 0.01, "") for status in statuses]
    assert gates.health(answers, 3, "/healthz").opened is opened


@pytest.mark.parametrize(
    ("now_s", "before_s", "opened"),
    [
        (0.24, 0.01, True),  # quicker than the floor is never too slow
        (0.26, 0.01, False),
        (0.59, 0.30, True),
        (0.61, 0.30, False),
        (1.90, None, True),  # nothing to compare with
        (2.10, None, False),
    ],
)
def test_the_response_time_gate_compares_with_before(now_s: float, before_s: float | None, opened: bool) -> None:
    answers = [(200, now_s, "")] * 20
    assert gates.timing(answers, before_s, 2.0, 0.25, 2.0).opened is opened


def test_one_slow_answer_of_twenty_is_no_verdict_and_two_are() -> None:
    answers = [(200, 0.01, "")] * 19 + [(200, 9.0, "")]
    assert gates.timing(answers, 0.01, 2.0, 0.25, 2.0).opened
    assert not gates.timing(answers[1:] + answers[-1:], 0.01, 2.0, 0.25, 2.0).opened


def test_an_answer_that_failed_keeps_the_response_time_gate_shut() -> None:
    verdict = gates.timing([(200, 0.01, "")] * 19 + [(0, 5.0, "timed out")], 0.01, 2.0, 0.25, 2.0)
    assert (verdict.opened, "timed out" in verdict.said) == (False, True)
