"""What passes the edge, in both directions, and what does not. Edge."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from tenfold.balancer.render import ACCESS_LOG_COLUMNS, HEALTH_PATH
from tests.balancer.site import KINDS, Site, site
from tests.http import Answer, fresh_address
from tests.support import wait_for


@pytest.fixture(scope="module", params=KINDS)
def behind_a_proxy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A platform with a domain, behind a proxy at 127.0.0.1."""
    var = tmp_path_factory.mktemp("proxied") / "var"
    with site(
        request.param, var, domains=("ledger.example", "*.ledger.test"), trusted_proxies=["127.0.0.1"]
    ) as running:
        yield running


def raw(port: int, text: str) -> str:
    """What comes back for bytes written by hand, up to the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(fresh_address(), 0)) as wire:
        wire.sendall(text.encode())
        received = b""
        while chunk := wire.recv(65536):
            received += chunk
    return received.decode()


def test_what_a_client_says_about_itself_is_overwritten(shipped: Site) -> None:
    address = fresh_address()
    lies = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Real-IP": "203.0.113.9",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Port": "443",
        "X-Forwarded-Prefix": "/evil",
        "Forwarded": "for=203.0.113.9",
        "Proxy": "http://evil.example",
        "X-Request-ID": "mine",
        "Connection": "close, X-Forwarded-For",
    }
    answer = shipped.ask("/a%2Fb?c=%20d", address, headers=lies)
    reached = answer.told["headers"]
    assert answer.told["path"] == "/a%2Fb?c=%20d" and answer.told["protocol"] == "HTTP/1.1"
    assert reached["x-forwarded-for"] == reached["x-real-ip"] == address
    assert reached["x-forwarded-proto"] == "http"
    assert reached["host"] == reached["x-forwarded-host"] == f"127.0.0.1:{shipped.port}"
    assert reached["x-request-id"] == answer.headers["X-Request-ID"] != "mine"
    assert not {"proxy", "forwarded", "x-forwarded-port", "x-forwarded-prefix", "connection", "upgrade"} & set(reached)
    assert "evil" not in json.dumps(answer.told) and "203.0.113" not in json.dumps(answer.told)


def test_the_host_of_the_request_line_wins_over_the_header(shipped: Site) -> None:
    lines = "GET http://good.example/ HTTP/1.1\r\nHost: evil.example:99\r\nConnection: close\r\n\r\n"
    assert '"host": "good.example:99"' in raw(shipped.port, lines)


def test_safe_headers_are_added_unless_the_app_has_its_own(shipped: Site) -> None:
    plain = shipped.ask().headers
    assert plain["X-Content-Type-Options"] == "nosniff"
    assert plain["Referrer-Policy"] == "strict-origin-when-cross-origin"
    assert plain["Server"] == "nginx"
    own = shipped.ask("/own").headers
    for header in ("X-Content-Type-Options", "Referrer-Policy", "X-Request-ID"):
        assert own.get_all(header) == ["own"]


@pytest.mark.parametrize(
    "path",
    [
        "/.env", "/.git/config", "/x/.htpasswd", "/x/.%67it/HEAD", "//.env", "/.well-known/.git", "/.well-knownx",
        "/dump.sql", "/a/DUMP.SQL.gz", "/site.bak", "/index.php~", "/index.php.old", "/.index.swp", "/shard_0.db",
        "/shard_0.db-wal", "/config.env", "/dump.rdb", "/x.sql%0A", "/.tenfold/other",
    ],
)  # fmt: skip
def test_dotfiles_dumps_and_leftovers_are_never_served(shipped: Site, path: str) -> None:
    before = shipped.stats()["requests"]
    answer = shipped.ask(path)
    assert answer.status == 404
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert shipped.stats()["requests"] == before


@pytest.mark.parametrize(
    "path", ["/.well-known/acme-challenge/x", "/a.b/c", "/sql", "/x.sqlx", "/v1.0/old", "/a/~bob/"]
)
def test_ordinary_paths_reach_the_app(shipped: Site, path: str) -> None:
    assert shipped.ask(path).status == 200


def test_a_web_socket_passes_and_another_upgrade_does_not(shipped: Site) -> None:
    head = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nping"
    answer = raw(shipped.port, head)
    assert answer.startswith("HTTP/1.1 101") and answer.endswith("\r\n\r\nping")
    upgraded = shipped.ask(
        headers={"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMA"}
    )
    assert not {"upgrade", "connection"} & set(upgraded.told["headers"])


def test_bodies_larger_than_memory_buffers_pass_both_ways_and_too_large_ones_do_not(shipped: Site) -> None:
    assert shipped.ask("/upload", method="POST", body=b"x" * 2_000_000).told["body_bytes"] == 2_000_000
    assert len(shipped.ask("/big/3000000").body) == 3_000_000
    answer = shipped.ask("/upload", method="POST", headers={"Content-Length": str(10 * 2**20 + 1)})
    assert answer.status == 413


def test_nginx_says_that_it_is_alive_even_to_a_client_at_its_limit(shipped: Site) -> None:
    address = fresh_address()
    assert {shipped.ask(HEALTH_PATH, address).status for _ in range(80)} == {204}


def test_the_access_log_tells_backend_times_and_status_and_cannot_be_forged(shipped: Site) -> None:
    address = fresh_address()
    mark = address.replace(".", "-")
    shipped.ask(f"/log%09{mark}%0A%22%5C%C3%A9?token=secret", address)
    for _ in range(7):
        shipped.ask(f"/login/{mark}", address, method="POST")

    def mine() -> list[dict[str, str]] | None:
        lines = [line for line in shipped.prepared.access_log.read_text("ascii").splitlines() if mark in line]
        rows = [dict(zip(ACCESS_LOG_COLUMNS, line.split("\t"), strict=True)) for line in lines]
        return rows if len(rows) == 8 else None

    rows = wait_for(mine, "the log is flushed", 5)
    # Each worker writes its own buffer, so the order is by worker.
    first = next(row for row in rows if row["method"] == "GET")
    last = next(row for row in rows if row["status"] == "429")
    assert first["path"] == rf"/log\x09{mark}\x0A\x22\x5C\xC3\xA9"
    assert first["client"] == address and first["method"] == "GET" and first["status"] == "200"
    assert int(first["backend"].rpartition(":")[2]) in shipped.backend_ports
    assert first["backend_status"] == "200" and float(first["backend_s"]) < 5 and float(first["seconds"]) < 5
    assert (last["status"], last["limit"], last["backend"]) == ("429", "REJECTED", "-")
    assert "secret" not in shipped.prepared.access_log.read_text("ascii")


def test_a_trusted_proxy_is_believed_about_client_and_scheme(behind_a_proxy: Site) -> None:
    # The second of two trusted proxies speaks; the first number of all is what the client claimed.
    def ask(address: str) -> Answer:
        said = {
            "X-Forwarded-For": "198.51.100.1, 203.0.113.9, 127.0.0.1",
            "X-Forwarded-Proto": "https",
            "Host": "ledger.example",
        }
        return behind_a_proxy.ask("/", address, headers=said)

    reached = ask("127.0.0.1").told["headers"]
    assert reached["x-forwarded-for"] == "203.0.113.9" and reached["x-forwarded-proto"] == "https"
    stranger = fresh_address()
    reached = ask(stranger).told["headers"]
    assert reached["x-forwarded-for"] == stranger and reached["x-forwarded-proto"] == "http"


def test_the_addresses_of_one_ipv6_network_share_a_limit(behind_a_proxy: Site) -> None:
    def log_in(client: str) -> int:
        headers = {"X-Forwarded-For": client}
        return behind_a_proxy.ask("/login", "127.0.0.1", method="POST", headers=headers).status

    assert [log_in(f"2001:db8::{host:x}") for host in range(1, 9)] == [200] * 6 + [429] * 2
    assert log_in("2001:db8:0:1::1") == 200


def test_nobody_from_elsewhere_learns_whether_nginx_is_alive(behind_a_proxy: Site) -> None:
    for host in ("ledger.example", "unknown.example"):
        headers = {"X-Forwarded-For": "203.0.113.9", "Host": host}
        assert behind_a_proxy.ask(HEALTH_PATH, "127.0.0.1", headers=headers).status == 404
        assert behind_a_proxy.ask(HEALTH_PATH, headers={"Host": host}).status == 204


@pytest.mark.parametrize("host", ["ledger.example", "LEDGER.example:80", "a.ledger.test", "127.0.0.1", "localhost"])
def test_the_platforms_own_names_are_answered(behind_a_proxy: Site, host: str) -> None:
    answer = behind_a_proxy.ask(headers={"Host": host})
    assert answer.status == 200
    assert answer.told["headers"]["host"] == host.lower()


@pytest.mark.parametrize("host", ["evil.example", "ledger.test", "x.ledger.example", "10.0.0.1"])
def test_any_other_name_is_not_ours(behind_a_proxy: Site, host: str) -> None:
    assert behind_a_proxy.ask(headers={"Host": host}).status == 421
