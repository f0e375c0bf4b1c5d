"""Who serves whom: weights, stickiness, kept connections. Edge."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tenfold.balancer.features import parse
from tenfold.balancer.render import Machine, render
from tenfold.topology.model import Topology
from tests.balancer.site import KINDS, Site, nginx_of, site, topology_of
from tests.balancer.test_features import DEBIAN, PACKAGED
from tests.http import Client, fresh_address

BACKENDS = {"backend_0", "backend_1", "backend_2"}


def test_800_requests_without_cookies_are_split_3_3_2_with_the_shipped_limits_on(shipped: Site) -> None:
    before = shipped.stats()
    served: Counter[str] = Counter()
    for _ in range(100):
        with Client(shipped.port) as client:
            for _ in range(8):
                answer = client.ask("/")
                assert answer.status == 200
                served[answer.backend] += 1
    assert served["backend_0"] == pytest.approx(300, rel=0.05)
    assert served["backend_1"] == pytest.approx(300, rel=0.05)
    assert served["backend_2"] == pytest.approx(200, rel=0.05)
    # The same requests tell whether connections to the backends are kept.
    after = shipped.stats()
    assert after["requests"] - before["requests"] == 800
    assert after["connections"] - before["connections"] < 80


def test_a_client_with_a_cookie_comes_back_to_its_backend_whatever_its_address(shipped: Site) -> None:
    for _ in range(4):
        first = shipped.ask()
        assert first.cookie == f"tenfold_backend={first.backend}"
        assert "httponly" in (first.headers["Set-Cookie"] or "").lower()
        assert "samesite=lax" in (first.headers["Set-Cookie"] or "").lower()
        assert "path=/" in (first.headers["Set-Cookie"] or "").lower()
        assert "secure" not in (first.headers["Set-Cookie"] or "").lower()
        later = [shipped.ask(headers={"Cookie": f"other=1; {first.cookie}"}) for _ in range(8)]
        assert {answer.backend for answer in later} == {first.backend}
        # nginx's own stickiness repeats the cookie; ours leaves a client alone that has the right one.
        repeated = first.cookie if shipped.prepared.nginx.features.sticky else ""
        assert {answer.cookie for answer in later} == {repeated}


@pytest.mark.parametrize("value", ["backend_9", "", "x; y", "backend_0:backend_0", "127.0.0.1:22", "a,b:c"])
def test_a_cookie_that_names_no_backend_is_as_good_as_none(shipped: Site, value: str) -> None:
    answers = [shipped.ask(headers={"Cookie": f"tenfold_backend={value}"}) for _ in range(8)]
    assert {a.backend for a in answers} == BACKENDS
    assert all(a.cookie == f"tenfold_backend={a.backend}" for a in answers)


def test_a_client_whose_backend_dies_moves_on_and_stays_where_it_went(kind: str, tmp_path: Path) -> None:
    with site(kind, tmp_path / "var") as running:
        first = running.ask()
        running.kill_backend(first.backend)
        moved = running.ask(headers={"Cookie": first.cookie})
        assert moved.status == 200
        assert moved.backend in BACKENDS - {first.backend}
        assert moved.cookie == f"tenfold_backend={moved.backend}"
        assert {running.ask(headers={"Cookie": moved.cookie}).backend for _ in range(6)} == {moved.backend}


def test_by_ip_a_client_keeps_its_backend_and_gets_no_cookie(tmp_path: Path) -> None:
    with site("packaged", tmp_path / "var", sticky="ip") as running:
        assert any("first three numbers" in warning for warning in running.prepared.warnings)
        seen = set()
        for _ in range(12):
            address = fresh_address()
            served = {running.ask(address=address).backend for _ in range(3)}
            assert len(served) == 1
            seen |= served
        assert seen == BACKENDS
        assert running.ask().cookie == ""


@pytest.mark.parametrize("version", [DEBIAN, PACKAGED])
@pytest.mark.parametrize("sticky", ["none", "cookie"])
def test_with_nothing_to_choose_there_is_no_cookie(version: str, sticky: str) -> None:
    topology = topology_of(ports=None if sticky == "none" else [8101], balancer={"sticky": sticky})
    text = render(topology, parse(version), Machine(2, 20_000)).text
    assert "cookie" not in text.lower()


def test_ip_behind_named_proxies_is_no_reason_to_warn() -> None:
    topology = topology_of(balancer={"sticky": "ip", "trusted_proxies": ["10.0.0.0/8"]})
    assert render(topology, parse(PACKAGED), Machine(2, 20_000)).warnings == ()


@pytest.mark.parametrize("kind", KINDS)
def test_keepalive_0_closes_every_connection_to_the_backends(kind: str, tmp_path: Path) -> None:
    with site(kind, tmp_path / "var", keepalive=0) as running, Client(running.port) as client:
        for _ in range(12):
            assert client.ask().status == 200
        assert running.stats()["connections"] == 12


def test_the_model_of_the_test_is_the_one_of_the_design() -> None:
    topology: Topology = topology_of()
    assert [b.weight for b in topology.app.backends] == [3, 3, 2]
    assert set(topology.balancer.limits) == {"general", "api", "login"}
    assert nginx_of("packaged") != nginx_of("debian")
