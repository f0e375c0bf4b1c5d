"""Connections over a network are encrypted, the server is who it says, and no password is given away. Edge."""

from __future__ import annotations

import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tenfold.errors import ConfigError, NodeDown, NodeError
from tenfold.sharding.engine.mysql import MysqlDriver
from tenfold.sharding.engine.mysqloptions import MysqlOptions, mysql_options, tls_context
from tenfold.topology.model import Topology
from tenfold.topology.parse import parse
from tests.mariadb import ACCOUNT, Server, options_of, server
from tests.support import program


def made_out_to(names: str, folder: Path) -> tuple[Path, Path, Path]:
    """(CA, certificate, key) of a new private CA and of a server that has these names."""
    folder.mkdir()
    openssl = program("openssl")

    def run(*words: str) -> None:
        subprocess.run([openssl, *words], cwd=folder, check=True, capture_output=True)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=ca of the tests",
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    run("req", *curve, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=server")
    (folder / "names").write_text(f"subjectAltName={names}\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n")
    run("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
        "-out", "cert.pem", "-extfile", "names")  # fmt: skip
    return folder / "ca.pem", folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory, mariadb_pattern: Path) -> Iterator[MysqlOptions]:
    """A server whose certificate is made out to localhost, by a CA of its own."""
    folder = tmp_path_factory.mktemp("tls")
    ca, certificate, key = made_out_to("DNS:localhost", folder / "pki")
    with server(mariadb_pattern, [f"--ssl-ca={ca}", f"--ssl-cert={certificate}", f"--ssl-key={key}"]) as started:
        yield replace(options_of(started.create("d"), tls=True, ca=str(ca)), host="localhost")


@pytest.fixture
def encrypted(certified: MysqlOptions, library: str) -> MysqlOptions:
    """How it is reached by each library."""
    return replace(certified, driver=library)


def test_a_server_with_the_right_certificate_is_spoken_to_in_secret(encrypted: MysqlOptions) -> None:
    with closing(MysqlDriver(encrypted)) as driver:
        (row,) = driver.execute("SHOW SESSION STATUS LIKE 'Ssl_version'", ()).rows
        assert row[1] in {"TLSv1.2", "TLSv1.3"}
        assert driver.execute("SELECT REPEAT(?, 100000)", ("x",)).rows == (("x" * 100_000,),)
    assert tls_context(encrypted) is tls_context(encrypted)


@pytest.mark.parametrize("by", ["the server", "ourselves"])
def test_an_encrypted_connection_that_is_cut_amid_a_statement_is_lost(encrypted: MysqlOptions, by: str) -> None:
    with closing(MysqlDriver(encrypted)) as driver, closing(MysqlDriver(encrypted)) as other:
        ((number,),) = driver.execute("SELECT CONNECTION_ID()", ()).rows
        cuts = {"the server": lambda: other.execute(f"KILL {number}", ()), "ourselves": driver.close}
        timer = threading.Timer(0.2, cuts[by])
        timer.start()
        with pytest.raises(NodeDown, match=r"was lost|was closed while a statement ran"):
            driver.execute("SELECT SLEEP(4)", ())
        timer.join()


def test_an_encrypted_connection_that_is_cut_amid_its_rows_is_lost(encrypted: MysqlOptions) -> None:
    with closing(MysqlDriver(encrypted)) as driver, closing(MysqlDriver(encrypted)) as other:
        ((number,),) = driver.execute("SELECT CONNECTION_ID()", ()).rows
        cursor = driver.execute("SELECT REPEAT('x', 60000) FROM seq_1_to_90000", (), stream=True).cursor
        assert cursor is not None and len(cursor.fetch(2)) == 2
        other.execute(f"KILL {number}", ())
        with pytest.raises(NodeDown, match="was lost"):
            list(iter(lambda: cursor.fetch(1000), ()))


def test_a_certificate_made_out_to_another_name_is_not_trusted(encrypted: MysqlOptions) -> None:
    with pytest.raises(NodeError, match=r"shard_0 is not trusted: .*127\.0\.0\.1") as refused:
        MysqlDriver(replace(encrypted, host="127.0.0.1"))
    assert not refused.value.retryable and "database.tls_ca" in refused.value.hint


def test_a_certificate_of_another_ca_is_not_trusted(encrypted: MysqlOptions, tmp_path: Path) -> None:
    other, _, _ = made_out_to("DNS:localhost", tmp_path / "other")
    for ca in (str(other), None):
        with pytest.raises(NodeError, match="shard_0 is not trusted: ") as refused:
            MysqlDriver(replace(encrypted, ca=ca))
        assert not refused.value.retryable


def test_a_server_without_tls_is_not_spoken_to_where_the_file_requires_it(
    encrypted: MysqlOptions, three_servers: list[Server]
) -> None:
    plain = replace(encrypted, host="127.0.0.1", port=three_servers[0].port)
    with pytest.raises(NodeError, match="shard_0 offers no TLS") as refused:
        MysqlDriver(plain)
    assert not refused.value.retryable


def test_a_ca_that_cannot_be_read_is_a_mistake_of_the_file(encrypted: MysqlOptions, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for name in ("missing.pem", "empty.pem"):
        with pytest.raises(ConfigError, match=r"database\.tls_ca: .* cannot be read"):
            MysqlDriver(replace(encrypted, ca=str(tmp_path / name)))


def topology(url: str, **database: Any) -> Topology:
    shards = {"shard_0": {"url": url}}
    file = {
        "platform": {"name": "ledger"},
        "app": {"command": "app"},
        "database": {"engine": "mysql", "shards": shards, **database},
    }
    return parse(file)


@pytest.mark.parametrize(
    ("host", "tls", "encrypts"),
    [("db0", None, True), ("127.0.0.1", None, False), ("[::1]", None, False), ("localhost", None, False),
     ("127.0.0.1", "require", True), ("localhost", "off", False), ("10.0.0.5", None, True),
     ("localhost.evil", None, True)],
)  # fmt: skip
def test_what_leaves_this_machine_is_encrypted(host: str, tls: str | None, encrypts: bool) -> None:
    given = {} if tls is None else {"tls": tls}
    assert mysql_options(topology(f"mysql://app@{host}/ledger", **given), "shard_0").tls is encrypts


def test_the_rows_of_a_server_elsewhere_are_never_sent_in_the_clear() -> None:
    with pytest.raises(ConfigError, match="in the clear"):
        topology("mysql://app@db0/ledger", tls="off")


def test_a_server_that_asks_for_the_password_in_the_clear_is_not_given_it(library: str) -> None:
    # What a thief listens with: a greeting, then the request to send the password as it is.
    greeting = b"\x0a5.5.5-10.11.0-MariaDB\0" + struct.pack("<I", 7) + b"12345678\0"
    greeting += struct.pack("<HBHH", 0xF7FE, 45, 2, 0x81BF) + b"\x15" + b"\0" * 10 + b"123456789012\0"
    greeting += b"mysql_native_password\0"
    switch = b"\xfemysql_clear_password\0\0"
    heard: list[bytes] = []

    def listen(listener: socket.socket) -> None:
        line, _ = listener.accept()
        with line:
            line.settimeout(5)
            line.sendall(struct.pack("<I", len(greeting))[:3] + b"\0" + greeting)
            heard.append(line.recv(4096))
            line.sendall(struct.pack("<I", len(switch))[:3] + b"\x02" + switch)
            heard.append(line.recv(4096))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thief = threading.Thread(target=listen, args=(listener,))
        thief.start()
        port = listener.getsockname()[1]
        with pytest.raises(NodeError, match=r"way of authentication|password in the clear"):
            MysqlDriver(
                MysqlOptions("shard_0", "127.0.0.1", port, ACCOUNT, "d", b"hunter2", connect_s=2, driver=library)
            )
        thief.join()
    assert b"app" in heard[0] and b"hunter2" not in b"".join(heard)
