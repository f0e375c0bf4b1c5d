"""What tests of the pipeline need: clones of the sample repositories, services, tools. Edge."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tenfold.pipeline.plan import Choices, plan
from tenfold.pipeline.repository import Repository
from tenfold.pipeline.tools import PINS
from tenfold.pipeline.workflow import render
from tests.mariadb import server
from tests.pipeline.support import REPOSITORIES, git
from tests.support import free_port, program

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Each sample as a repository with its workflow rendered and committed, on main and develop; made once."""
    base = tmp_path_factory.mktemp("samples")

    def make(name: str) -> Path:
        place = base / name
        if not place.exists():
            shutil.copytree(REPOSITORIES / name, place)
            git(place, "init", "--quiet", "--initial-branch", "main")
            command = [sys.executable, "-m", "tenfold.cli.main", "ci", "init", "--quiet"]
            subprocess.run(command, cwd=place, check=True, timeout=60)
            git(place, "add", "--all")
            git(place, "commit", "--quiet", "--message", "sample")
            git(place, "branch", "develop")
        return place

    return make


@pytest.fixture
def sample(samples: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a sample repository, for this test alone."""

    def copy(name: str) -> Path:
        return shutil.copytree(samples(name), tmp_path / name)

    return copy


@pytest.fixture(scope="session")
def services(mariadb_pattern: Path) -> Iterator[dict[str, dict[str, int]]]:
    """A MariaDB and a Redis, by the name of their images: port in the container → port here."""
    with ExitStack() as stack:
        database = stack.enter_context(server(mariadb_pattern))
        database.sql("CREATE DATABASE test", "CREATE USER root@'127.0.0.1'", "GRANT ALL ON *.* TO root@'127.0.0.1'")
        port = free_port()
        command = [program("redis-server"), "--port", str(port), "--save", "", "--bind", "127.0.0.1"]
        cache = subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        stack.callback(cache.wait)
        stack.callback(cache.terminate)
        yield {"mariadb": {"3306": database.port}, "mysql": {"3306": database.port}, "redis": {"6379": port}}


@pytest.fixture(scope="session")
def tools() -> str:
    """A directory with the tools that Tenfold brings and that no lock file of ours has; kept between runs.

    Skips where no package index can be reached (fails where CI=true).
    """
    return str(_environment(PINS["detect-secrets"], [PINS["detect-secrets"]]))


def _environment(name: str, what: Sequence[str]) -> Path:
    """A virtual environment with these packages, made once, whichever of several workers comes first."""
    place = ROOT / ".venv" / ".ci-tools" / name
    place.parent.mkdir(exist_ok=True)
    with (place.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "done").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(place)], check=True)
            pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "install", "--quiet"]
            done = subprocess.run([*pip, *what], capture_output=True, text=True, timeout=110)
            if done.returncode and os.environ.get("CI") != "true":
                pytest.skip(f"no package index can be reached, and {name} is not installed")
            assert done.returncode == 0, done.stderr
            (place / "done").touch()
    return place


@pytest.fixture(scope="session")
def project() -> str:
    """An environment in which the Python sample's own tests run; kept between runs."""
    wanted = [REPOSITORIES / "python" / name for name in ("requirements.txt", "requirements-dev.txt")]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in wanted)).hexdigest()[:12]
    files = [word for file in wanted for word in ("-r", str(file))]
    return str(_environment(f"sample-{digest}", files))


class Osv(ThreadingHTTPServer):
    """The advisory service on loopback, with a few records. `broken`: it answers 503."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _OsvHandler)
        self.records: list[dict[str, Any]] = json.loads((REPOSITORIES.parent / "advisories.json").read_text())
        self.asked: list[dict[str, Any]] = []
        self.broken = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _OsvHandler(BaseHTTPRequestHandler):
    server: Osv

    def do_POST(self) -> None:
        queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        self.server.asked += queries
        results = []
        for query in queries:
            hits = [
                {"id": record["id"]}
                for record in self.server.records
                for affected in record["affected"]
                if affected["package"] == query["package"] and query["version"] in affected.get("versions", ())
            ]
            results.append({"vulns": hits} if hits else {})
        self._answer({"results": results})

    def do_GET(self) -> None:
        wanted = self.path.rpartition("/")[2]
        self._answer(next(record for record in self.server.records if record["id"] == wanted))

    def _answer(self, found: object) -> None:
        body = json.dumps(found).encode()
        self.send_response(503 if self.server.broken else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def osv() -> Iterator[Osv]:
    """An advisory service of one's own."""
    with Osv() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def machine(tools: str, osv: Osv) -> dict[str, str]:
    """The environment of a runner: tools from the shelf, advisories on loopback, nothing of the developer's."""
    caches = {"PIP_CACHE_DIR": str(Path.home() / ".cache/pip"), "npm_config_cache": str(Path.home() / ".npm")}
    given = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "SSL_", "REQUESTS_", "HTTP", "NODE_EXTRA"))
             or k.lower().endswith("_proxy")}  # fmt: skip
    return {**caches, **given, "TENFOLD_CI_TOOLS": tools, "TENFOLD_ADVISORIES": osv.url}


@pytest.fixture(scope="session")
def rendered() -> str:
    """The workflow of the Python sample."""
    repository = Repository(("requirements.txt",), {"requirements.txt": "redis==8.1.0\n"})
    raw = tomllib.loads((REPOSITORIES / "python" / "tenfold.toml").read_text())
    return render(plan(raw, repository, Choices(), "0.0.0"))
