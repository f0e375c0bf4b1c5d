"""What `nginx -V` tells. Edge."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenfold.balancer.features import parse

CASES = Path(__file__).parent.parent / "cases" / "nginx"
DEBIAN = (CASES / "debian-1.22.version.txt").read_text()
PACKAGED = (CASES / "packaged-1.31.version.txt").read_text()


def test_debian_12s_nginx_has_none_of_the_new_directives() -> None:
    debian = parse(DEBIAN)
    assert debian.version == (1, 22, 1)
    assert not (debian.sticky or debian.drain or debian.http2_directive or debian.keepalive_min_timeout)
    assert debian.stub_status and debian.realip and debian.tls


def test_the_packaged_nginx_has_the_new_directives_but_no_stub_status() -> None:
    packaged = parse(PACKAGED)
    assert packaged.version >= (1, 31, 0)
    assert packaged.sticky and packaged.drain and packaged.http2_directive and packaged.keepalive_min_timeout
    assert packaged.realip and not packaged.stub_status
    assert {"njs-0.9.9", "headers-more-nginx-module-0.40"} <= packaged.modules


def test_the_openssl_in_use_counts_not_the_one_of_the_build() -> None:
    assert parse(DEBIAN).openssl == (3, 0, 19)
    assert parse(PACKAGED).openssl == (3, 3, 7)
    assert parse("nginx version: nginx/1.26.0\n").openssl is None


def test_a_dynamic_module_is_not_there_until_it_is_loaded() -> None:
    assert "http_geoip_module" not in parse(DEBIAN).modules


def test_a_module_left_out_of_the_build_is_known() -> None:
    text = "nginx version: nginx/1.30.0\nconfigure arguments: --without-http_scgi_module --with-http_v2_module"
    features = parse(text)
    assert not features.has("http_scgi_module")
    assert features.has("http_fastcgi_module")
    assert features.http2_directive and not features.realip


@pytest.mark.parametrize(
    ("version", "sticky", "http2", "gentle"),
    [
        ("1.25.0", False, False, False),
        ("1.25.1", False, True, False),
        ("1.27.3", False, True, False),
        ("1.27.4", False, True, True),
        ("1.29.5", False, True, True),
        ("1.29.6", True, True, True),
    ],
)
def test_features_begin_with_their_version(version: str, sticky: bool, http2: bool, gentle: bool) -> None:
    features = parse(f"nginx version: nginx/{version} (Ubuntu)\nconfigure arguments: --with-http_v2_module\n")
    assert (features.sticky, features.http2_directive, features.keepalive_min_timeout) == (sticky, http2, gentle)


@pytest.mark.parametrize("text", ["", "GNU bash, version 5.2", "nginx version: nginx/x.y"])
def test_another_programs_output_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="nginx -V"):
        parse(text)
