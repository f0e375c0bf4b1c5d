"""When certificates end and disks are full, read from real files, real TLS servers and real file systems. Edge."""

from __future__ import annotations

import asyncio
import datetime
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import trustme
from cryptography import x509

from tenfold.hosts import certificates
from tenfold.monitor.collect.certificates import Certificates
from tenfold.monitor.collect.disks import Disks
from tenfold.monitor.collect.machine import Certificate
from tests.support import free_port

ENDS = datetime.datetime(2031, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)
ENDED = datetime.datetime(2020, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@contextmanager
def listener(cert: trustme.LeafCert | None, answers: bool = True) -> Iterator[int]:
    """A server on loopback: TLS with a certificate, or one that speaks no TLS, or says nothing at all."""
    server = socket.create_server(("127.0.0.1", free_port()))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    if cert:
        cert.configure_cert(context)
    ended = threading.Event()
    lines = []

    def serve() -> None:
        while not ended.is_set():
            with suppress(OSError):
                line, _ = server.accept()
                lines.append(line)
                line.settimeout(5)
                if not answers:
                    continue
                if cert:
                    context.wrap_socket(line, server_side=True).close()
                else:
                    line.sendall(b"220 mail.example ESMTP\r\n")
                    line.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        ended.set()
        with suppress(OSError), socket.create_connection(server.getsockname(), 1):
            pass
        thread.join()
        for line in lines:
            line.close()
        server.close()


def collected(root: Path, *names: str) -> dict[str, Certificate]:
    return dict(asyncio.run(Certificates(names, root).collect(0.0)))


def test_files_and_servers_are_told_by_their_day_and_trouble_by_its_reason(
    tmp_path: Path, ca: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaf = ca.issue_cert("db.example", not_after=ENDS)
    old = ca.issue_cert("old.example", not_before=ENDED - datetime.timedelta(days=9), not_after=ENDED)
    # A chain is worth as much as the one in it that ends first.
    (tmp_path / "chain.pem").write_bytes(leaf.cert_chain_pems[0].bytes() + old.cert_chain_pems[0].bytes())
    (tmp_path / "site.pem").write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
    (tmp_path / "key.pem").write_bytes(leaf.private_key_pem.bytes())
    (tmp_path / "der.pem").write_bytes(b"\x30\x82\x01\x02garbage")
    (tmp_path / "dir.pem").mkdir()
    with ExitStack() as stack:
        good, ended, plain, mute = (
            f"127.0.0.1:{stack.enter_context(listener(*given))}" for given in ((leaf,), (old,), (None,), (None, False))
        )
        gone = f"127.0.0.1:{free_port()}"
        files = ("chain.pem", "site.pem", "key.pem", "der.pem", "dir.pem", "away.pem")
        found = collected(tmp_path, *files, good, ended, plain, gone)
        monkeypatch.setattr(certificates, "TIMEOUT_S", 0.5)
        found |= collected(tmp_path, mute)
    assert {name: one.ends_s for name, one in found.items() if one.ends_s is not None} == {
        "chain.pem": ENDED.timestamp(),
        "site.pem": ENDS.timestamp(),
        good: ENDS.timestamp(),
        ended: ENDED.timestamp(),  # nobody would trust it, and it is told all the same
    }
    assert found["key.pem"].error == found["der.pem"].error == "holds no certificate (PEM)"
    assert found["dir.pem"].error == "is a directory" and found["away.pem"].error == "no such file or directory"
    assert found[plain].error.startswith("no TLS:")
    assert found[mute].error == "no answer within 0.5 s" and found[gone].error == "refuses connections"
    assert x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()).not_valid_after_utc == ENDS


def test_file_systems_are_told_once_each_and_as_df_tells_them(tmp_path: Path) -> None:
    made = {"var": tmp_path, "var/not/there/yet": tmp_path / "not/there/yet", "/dev/shm": Path("/dev/shm")}
    if tmp_path.stat().st_dev == Path("/dev/shm").stat().st_dev:
        made["/"] = Path("/")
    found = {disk.directory: disk for disk in asyncio.run(Disks(made).collect(0.0))}
    assert len(found) == 2 and "var/not/there/yet" not in found
    stat = os.statvfs(tmp_path)
    used = stat.f_blocks - stat.f_bfree
    assert found["var"].used == pytest.approx(used / (used + stat.f_bavail), abs=0.02)
    assert found["var"].free_bytes == pytest.approx(stat.f_bavail * stat.f_frsize, rel=0.05)
