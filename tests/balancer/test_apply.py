"""nginx is given its configuration, and keeps the one it has when the new one is wrong. Edge."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tenfold.balancer.apply import prepare, reload
from tenfold.errors import BalancerError
from tenfold.topology.model import Topology
from tests.balancer.site import Site, backends, listening, nginx_of, site, topology_of
from tests.http import Client
from tests.support import free_port, wait_for

NOBODY = 65534


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every account can pass through (pytest's own is closed to others)."""
    made = Path(tempfile.mkdtemp(prefix="tenfold-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def test_a_configuration_that_nginx_refuses_is_shown_by_its_line_and_the_old_one_stays(
    kind: str, tmp_path: Path
) -> None:
    balancer = {"nginx": nginx_of(kind), "listen": f"127.0.0.1:{free_port()}"}
    before = prepare(topology_of(balancer=balancer), tmp_path).config.read_text()
    with pytest.raises(BalancerError) as refused:
        prepare(topology_of(balancer={**balancer, "listen": "127.0.0.1:99999"}), tmp_path)
    assert "invalid port" in str(refused.value)
    assert "| listen 127.0.0.1:99999 default_server;" in str(refused.value)
    assert "nginx.conf.new" in refused.value.hint
    assert (tmp_path / "nginx/nginx.conf").read_text() == before


def test_nginx_is_not_sent_to_the_log_it_was_built_with_which_only_root_may_write(kind: str, tmp_path: Path) -> None:
    command = prepare(topology_of(balancer={"nginx": nginx_of(kind)}), tmp_path).command
    assert command[1:] == ["-p", str(tmp_path), "-c", str(tmp_path / "nginx/nginx.conf"), "-e", "stderr"]


def test_an_address_of_another_machine_is_named(tmp_path: Path) -> None:
    with pytest.raises(BalancerError, match="bind") as refused:
        prepare(topology_of(balancer={"listen": "192.0.2.1:8080"}), tmp_path)
    assert "balancer.listen" in refused.value.hint


def test_the_configuration_before_is_kept_and_no_pid_file_is_left(tmp_path: Path) -> None:
    one = prepare(topology_of(balancer={"max_body_mb": 1}), tmp_path)
    first = one.config.read_text()
    prepare(topology_of(balancer={"max_body_mb": 2}), tmp_path)
    prepare(topology_of(balancer={"max_body_mb": 2}), tmp_path)
    assert (tmp_path / "nginx/nginx.conf.previous").read_text() == first
    assert "client_max_body_size 2m" in one.config.read_text()
    assert sorted(p.name for p in one.config.parent.glob("nginx.conf*")) == ["nginx.conf", "nginx.conf.previous"]
    assert not one.pid_file.exists()


def test_directories_are_closed_and_files_are_not_writable_by_others(tmp_path: Path) -> None:
    (tmp_path / "var/nginx").mkdir(parents=True)
    (tmp_path / "var/nginx").chmod(0o777)
    (tmp_path / "var").chmod(0o755)
    old = os.umask(0)
    try:
        prepared = prepare(topology_of(), tmp_path / "var")
    finally:
        os.umask(old)
    for path in (prepared.var, *prepared.var.rglob("*")):
        assert not path.stat().st_mode & 0o022, path
    assert prepared.config.parent.stat().st_mode & 0o066 == 0
    assert prepared.access_log.parent.stat().st_mode & 0o007 == 0


def test_an_unwritable_var_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BalancerError, match="cannot write") as refused:
        prepare(topology_of(), tmp_path / "file" / "var")
    assert str(tmp_path / "file" / "var") in refused.value.hint


def test_a_reload_takes_the_new_configuration_without_a_new_process(kind: str, tmp_path: Path) -> None:
    with site(kind, tmp_path / "var") as running:
        assert running.ask(headers={"Host": "other.example"}).status == 200
        balancer = running.topology.balancer.model_dump()
        changed = topology_of(ports=running.backend_ports, balancer=balancer, domains=("ledger.example",))
        prepared = prepare(changed, running.prepared.var)
        reload(prepared, running.nginx.pid)

        def refused() -> bool:
            return running.ask(headers={"Host": "other.example"}).status == 421

        wait_for(refused, "the platform answers for its own name only")
        assert running.nginx.poll() is None and int(prepared.pid_file.read_text()) == running.nginx.pid


def test_a_reload_of_a_broken_file_is_refused_and_nginx_goes_on(tmp_path: Path) -> None:
    with site("packaged", tmp_path / "var") as running:
        running.prepared.config.write_text("nonsense;\n")
        with pytest.raises(BalancerError, match="unknown directive"):
            reload(running.prepared, running.nginx.pid)
        assert running.ask().status == 200


def test_a_reload_of_an_nginx_that_is_gone_says_so(tmp_path: Path) -> None:
    prepared = prepare(topology_of(), tmp_path)
    gone = subprocess.Popen(["true"])
    gone.wait()
    with pytest.raises(BalancerError, match="not running"):
        reload(prepared, gone.pid)


def test_nginx_stops_when_told_and_leaves_no_pid_file(shipped_alone: Site) -> None:
    assert shipped_alone.prepared.pid_file.exists()
    shipped_alone.nginx.terminate()
    assert shipped_alone.nginx.wait(5) == 0
    assert not shipped_alone.prepared.pid_file.exists()


@pytest.fixture
def shipped_alone(kind: str, tmp_path: Path) -> Iterator[Site]:
    with site(kind, tmp_path / "var") as running:
        yield running


def test_the_workers_get_the_open_files_that_the_configuration_counts_on(shipped_alone: Site) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def files() -> list[str] | None:
        workers = psutil.Process(shipped_alone.nginx.pid).children()
        limits = [Path(f"/proc/{worker.pid}/limits").read_text() for worker in workers]
        allowed = [line.split()[3] for text in limits for line in text.splitlines() if "open files" in line]
        return allowed if allowed == [str(min(hard, 16_896))] * len(os.sched_getaffinity(0)) else None

    # nginx listens a moment before its workers have set themselves up.
    wait_for(files, "every worker may open as many files as it was promised")
    assert shipped_alone.prepared.error_log.read_text() == ""


def as_ordinary_account(topology: Topology, var: Path) -> int:
    """Prepare and become nginx in a process of its own, which is not root's; its process id."""
    # A fork, not a new Python: the one that runs the tests may lie where other accounts cannot look.
    child = os.fork()
    if child:
        return child
    try:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        prepared = prepare(topology, var)
        assert not prepared.warnings, prepared.warnings
        os.execv(prepared.command[0], prepared.command)  # noqa: S606 - a supervisor does no less
    except BaseException:
        traceback.print_exc()
    os._exit(1)


def test_an_ordinary_account_runs_it_from_a_directory_with_an_odd_name(kind: str, open_directory: Path) -> None:
    root = open_directory / "o d$d; {x} \"q' é\\#\n"
    root.mkdir()
    if os.geteuid() == 0:
        os.chown(root, NOBODY, NOBODY)
    program = shutil.copy(nginx_of(kind), open_directory)
    with backends() as (ports, _):
        port = free_port()
        topology = topology_of(ports=ports, balancer={"listen": f"127.0.0.1:{port}", "nginx": program})
        nginx = as_ordinary_account(topology, root / "var")
        try:
            # `nginx -t` listens for a moment too, so the port alone would not tell.
            pid_file = root / "var/run/nginx.pid"
            wait_for(lambda: pid_file.exists() and pid_file.read_text().strip() == str(nginx), "nginx runs")
            assert listening(port)
            assert (os.geteuid() == 0) == (psutil.Process(nginx).uids().effective == NOBODY)
            # Both ways through a temporary file.
            with Client(port) as client:
                assert client.ask("/upload", method="POST", body=b"x" * 1_000_000).told["body_bytes"] == 1_000_000
                assert len(client.ask("/big/3000000").body) == 3_000_000
        finally:
            os.kill(nginx, signal.SIGTERM)
            assert os.waitpid(nginx, 0)[1] == 0
        log = (root / "var/log/nginx-error.log").read_text()
        assert "request body is buffered to a temporary file" in log
        assert not {"[error]", "[crit]", "[alert]", "[emerg]"} & set(log.split())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a choice")
def test_started_as_root_the_workers_are_an_ordinary_account_that_can_do_its_work(
    kind: str, open_directory: Path
) -> None:
    with site(kind, open_directory / "var") as running:
        assert running.prepared.warnings == []
        master = psutil.Process(running.nginx.pid)
        # A worker begins as root and drops it; one that is just being born may be gone again.
        wait_for(lambda: [w for w in master.children() if w.uids().effective != 0], "workers are an ordinary account")
        wait_for(lambda: all(w.uids().effective != 0 for w in master.children()), "all workers are")
        assert len(running.ask("/big/3000000").body) == 3_000_000
        assert running.ask("/upload", method="POST", body=b"x" * 1_000_000).status == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a choice")
def test_started_as_root_in_a_closed_directory_it_works_and_says_what_that_costs(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with site("packaged", tmp_path / "var") as running:
        assert [w for w in running.prepared.warnings if "workers run as root" in w and str(tmp_path) in w]
        assert len(running.ask("/big/3000000").body) == 3_000_000
