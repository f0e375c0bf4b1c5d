"""The configuration of the design's example, as a person can read it. Edge.

To take over a change that is meant: TENFOLD_WRITE_CASES=1 pytest tests/balancer/test_golden.py
"""

from __future__ import annotations

import os

import pytest

from tenfold.balancer.features import parse
from tenfold.balancer.render import Machine, Rendered, render
from tenfold.errors import BalancerError
from tests.balancer.site import topology_of
from tests.balancer.test_features import CASES


def rendered(name: str, **balancer: object) -> Rendered:
    features = parse((CASES / f"{name}.version.txt").read_text())
    return render(topology_of(balancer=balancer, domains=("ledger.example",)), features, Machine(2, 20_000))


@pytest.mark.parametrize("name", ["debian-1.22", "packaged-1.31"])
def test_the_shipped_configuration_is_the_one_on_file(name: str) -> None:
    case = CASES / f"{name}.conf"
    text = rendered(name).text
    if os.environ.get("TENFOLD_WRITE_CASES"):
        case.write_text(text)
    assert text == case.read_text()


@pytest.mark.parametrize(
    "domain", ["a b", "a;b", "a{b", "$host", "~^.*$", "a\nb", "*", "-a.b", "a..b", "é.example", "x" * 64]
)
def test_a_domain_that_is_none_is_refused(domain: str) -> None:
    features = parse((CASES / "packaged-1.31.version.txt").read_text())
    with pytest.raises(BalancerError, match=r"platform\.domains") as refused:
        render(topology_of(domains=("ok.example", domain)), features, Machine(2, 20_000))
    assert "example.com" in refused.value.hint


@pytest.mark.parametrize("network", ["10.0.0.0/33", "proxy.example", "", "10.0.0.1; deny all", "unix:"])
def test_a_trusted_proxy_that_is_no_network_is_refused(network: str) -> None:
    with pytest.raises(BalancerError, match=r"balancer\.trusted_proxies") as refused:
        rendered("packaged-1.31", trusted_proxies=[network])
    assert "10.0.0.0/8" in refused.value.hint


def test_trusted_proxies_without_the_realip_module_are_refused_not_ignored() -> None:
    features = parse("nginx version: nginx/1.30.0\nconfigure arguments: --with-http_ssl_module\n")
    with pytest.raises(BalancerError, match="realip"):
        render(topology_of(balancer={"trusted_proxies": ["10.0.0.0/8"]}), features, Machine(2, 20_000))


def test_a_listen_address_cannot_carry_directives() -> None:
    text = rendered("packaged-1.31", listen="127.0.0.1:80; deny all").text
    assert 'listen "127.0.0.1:80; deny all";' in text
    with pytest.raises(BalancerError):
        rendered("packaged-1.31", listen="$host:80")


def test_no_limit_makes_a_request_wait_and_the_slowest_is_counted_last() -> None:
    limits = {"strict": {"rate": "1r/m"}, "loose": {"rate": "100r/s", "burst": 9}}
    lines = [s.strip() for s in rendered("packaged-1.31", limits=limits).text.splitlines() if "limit_req zone" in s]
    assert len(lines) == 5 and all(line.endswith(" nodelay;") for line in lines)
    assert "limit_loose" in lines[0] and "limit_strict" in lines[-1]


def test_too_few_open_files_are_a_warning() -> None:
    features = parse((CASES / "packaged-1.31.version.txt").read_text())
    assert "open only 256 files" in render(topology_of(), features, Machine(1, 256)).warnings[0]


def test_on_a_public_address_only_the_platforms_domains_are_answered() -> None:
    assert "server_name ledger.example;" in rendered("packaged-1.31", listen="0.0.0.0:8080").text
    assert "server_name ledger.example;" in rendered("packaged-1.31", listen="[::]:8080").text
    assert "server_name ledger.example localhost 127.0.0.1" in rendered("packaged-1.31", listen="[::1]:8080").text
