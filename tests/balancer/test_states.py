"""A backend is drained, taken out and brought back; who notices, and who must not. Edge."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from pathlib import Path

import pytest

from tenfold.balancer.apply import prepare, reload, restore
from tenfold.balancer.features import parse
from tenfold.balancer.render import Machine, render
from tenfold.balancer.states import ALL_READY, States, Wanted, changed, kept
from tenfold.errors import BalancerError
from tests.balancer.site import Site, site, topology_of
from tests.balancer.test_features import DEBIAN, PACKAGED
from tests.http import Client

DRAIN, DOWN, READY = Wanted.DRAIN, Wanted.DOWN, Wanted.READY
BACKENDS = ["backend_0", "backend_1", "backend_2"]


def told(running: Site, states: States) -> None:
    """Have nginx do as `states` say."""
    reload(prepare(running.topology, running.prepared.var, states), running.nginx.pid)


def bound_to(running: Site, backend: str) -> str:
    """The cookie of a client of that backend."""
    for _ in range(40):
        answer = running.ask()
        if answer.backend == backend:
            return answer.cookie
    pytest.fail(f"nobody came to {backend}")


def text(version: str, states: States, **balancer: object) -> str:
    return render(topology_of(balancer=balancer), parse(version), Machine(2, 20_000), states).text


def servers(version: str, states: States, **balancer: object) -> list[str]:
    """The marks after each server line, in the order of the file."""
    lines = [line.strip() for line in text(version, states, **balancer).splitlines()]
    return [line.split("fail_timeout=30s")[1].strip(" ;") for line in lines if line.startswith("server 127")]


# --- which changes are allowed ---


def test_a_change_keeps_the_others_and_ready_ones_are_not_noted() -> None:
    one = changed(ALL_READY, BACKENDS, "backend_1", DRAIN)
    assert one == {"backend_1": DRAIN}
    two = changed(one, BACKENDS, "backend_0", DOWN)
    assert two == {"backend_0": DOWN, "backend_1": DRAIN}
    assert changed(two, BACKENDS, "backend_1", READY) == {"backend_0": DOWN}


@pytest.mark.parametrize("wanted", [DRAIN, DOWN])
def test_the_last_backend_that_takes_clients_stays(wanted: Wanted) -> None:
    with pytest.raises(BalancerError, match="backend_2 is the only backend that takes new clients") as refused:
        changed({"backend_0": DRAIN, "backend_1": DOWN}, BACKENDS, "backend_2", wanted)
    assert "tenfold balancer ready backend_0" in refused.value.hint
    with pytest.raises(BalancerError) as refused:
        changed(ALL_READY, ["backend_0"], "backend_0", wanted)
    assert "add a backend" in refused.value.hint


def test_an_unknown_backend_is_refused_with_the_nearest() -> None:
    with pytest.raises(BalancerError, match="did you mean 'backend_1'") as refused:
        changed(ALL_READY, BACKENDS, "backend1", DRAIN)
    assert refused.value.hint == "one of: backend_0 backend_1 backend_2"


@pytest.mark.parametrize(
    ("record", "holds"),
    [
        ({"backend_1": "drain", "backend_7": "down"}, {"backend_1": DRAIN}),
        ({"backend_1": "sideways", "backend_2": None, "backend_0": "ready"}, {}),
        ({"backend_0": "drain", "backend_1": "down", "backend_2": "drain"}, {}),  # nobody would be served
    ],
)
def test_of_a_record_what_still_makes_sense_holds(record: dict[str, object], holds: States) -> None:
    assert kept(record, BACKENDS) == holds


# --- what nginx is told ---


def test_with_its_own_stickiness_nginx_drains_by_itself() -> None:
    marks = servers(PACKAGED, {"backend_1": DRAIN, "backend_2": DOWN})
    assert marks == ["route=backend_0", "route=backend_1 drain", "route=backend_2 down"]


def test_without_it_a_drained_backend_is_up_for_its_own_clients_only() -> None:
    marks = servers(DEBIAN, {"backend_1": DRAIN})
    assert marks == [
        "", "down", "",  # all, for clients without a cookie
        "", "backup down", "backup",  # those of backend_0
        "backup", "", "backup",  # its own
        "backup", "backup down", "",
    ]  # fmt: skip
    assert servers(DEBIAN, {"backend_1": DOWN})[7] == "down"


@pytest.mark.parametrize("sticky", ["ip", "none"])
@pytest.mark.parametrize("version", [DEBIAN, PACKAGED])
def test_where_nothing_binds_clients_draining_is_letting_go(version: str, sticky: str) -> None:
    assert servers(version, {"backend_1": DRAIN}, sticky=sticky) == ["", "down", ""]


@pytest.mark.parametrize("version", [DEBIAN, PACKAGED])
@pytest.mark.parametrize("sticky", ["cookie", "ip", "none"])
def test_all_ready_is_written_as_if_there_were_no_states(version: str, sticky: str) -> None:
    plain = render(topology_of(balancer={"sticky": sticky}), parse(version), Machine(2, 20_000)).text
    assert text(version, ALL_READY, sticky=sticky) == plain
    assert "tenfold balancer" not in plain


# --- what clients see ---


def test_a_drained_backend_keeps_its_clients_and_gets_no_new_ones_until_it_is_ready_again(
    kind: str, tmp_path: Path
) -> None:
    with site(kind, tmp_path / "var") as running:
        cookie = bound_to(running, "backend_1")
        told(running, {"backend_1": DRAIN})
        assert Counter(running.ask().backend for _ in range(40)).keys() == {"backend_0", "backend_2"}
        assert {running.ask(headers={"Cookie": cookie}).backend for _ in range(8)} == {"backend_1"}
        told(running, {"backend_1": DOWN})
        moved = running.ask(headers={"Cookie": cookie})
        assert moved.status == 200 and moved.backend != "backend_1"
        assert moved.cookie == f"tenfold_backend={moved.backend}"
        told(running, ALL_READY)
        bound_to(running, "backend_1")


def test_a_client_of_a_drained_backend_that_dies_moves_on(kind: str, tmp_path: Path) -> None:
    with site(kind, tmp_path / "var") as running:
        cookie = bound_to(running, "backend_1")
        told(running, {"backend_1": DRAIN})
        running.kill_backend("backend_1")
        assert {running.ask(headers={"Cookie": cookie}).status for _ in range(4)} == {200}


def test_every_state_is_one_that_nginx_takes_where_clients_are_bound_by_address(kind: str, tmp_path: Path) -> None:
    with site(kind, tmp_path / "var", sticky="ip") as running:
        for states in ({"backend_0": DRAIN}, {"backend_0": DOWN, "backend_2": DRAIN}):
            told(running, states)
            assert {running.ask().backend for _ in range(20)} <= set(BACKENDS) - set(states)


def test_kept_connections_see_no_failure_while_backends_come_and_go(tmp_path: Path) -> None:
    with site("packaged", tmp_path / "var") as running:
        failed: list[object] = []
        served: Counter[int] = Counter()
        stop = threading.Event()

        def visitor() -> None:
            for _ in itertools.takewhile(lambda _: not stop.is_set(), itertools.count()):
                try:
                    with Client(running.port) as client:
                        for _ in range(30):
                            answer = client.ask()
                            served[answer.status] += 1
                            if answer.status != 200:
                                failed.append(answer)
                except OSError as error:
                    failed.append(error)

        threads = [threading.Thread(target=visitor) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for states in ({"backend_1": DRAIN}, {"backend_1": DOWN}, ALL_READY):
                told(running, states)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert failed == [] and served[200] > 50


# --- the reload itself ---


def test_a_reload_comes_back_when_a_new_connection_meets_the_new_configuration(kind: str, tmp_path: Path) -> None:
    with site(kind, tmp_path / "var") as running:
        for _ in range(2):
            told(running, {"backend_0": DRAIN})
            assert "backend_0" not in {running.ask().backend for _ in range(6)}
            told(running, {"backend_1": DOWN, "backend_2": DOWN})
            assert {running.ask().backend for _ in range(4)} == {"backend_0"}


def test_an_nginx_that_takes_nothing_over_is_told_of_in_time(tmp_path: Path) -> None:
    with site("packaged", tmp_path / "var") as running:
        running.nginx.send_signal(19)  # SIGSTOP: it hears the reload, and does nothing
        try:
            with pytest.raises(BalancerError, match=r"not taken its new configuration within 0\.3 s"):
                reload(running.prepared, running.nginx.pid, timeout_s=0.3)
        finally:
            running.nginx.send_signal(18)


def test_the_configuration_before_comes_back_when_it_is_restored(tmp_path: Path) -> None:
    def write(states: States) -> str:
        return prepare(topology_of(), tmp_path, states).config.read_text()

    before = write(ALL_READY)
    assert write({"backend_1": DOWN}) != before
    prepared = prepare(topology_of(), tmp_path, {"backend_1": DOWN})
    restore(prepared)
    assert prepared.config.read_text() == before
    restore(prepared)  # nothing is left to restore, and nothing is lost
    assert prepared.config.read_text() == before
