"""tenfold init finds the app, asks, and writes a file that is right, or none. Edge."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.topology.detect import detect
from tenfold.topology.load import load, survey
from tenfold.topology.model import Topology
from tenfold.topology.parse import parse
from tenfold.topology.starter import Starter, name_from, render, tables_from


def init(directory: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TENFOLD")}
    return subprocess.run(
        [sys.executable, "-m", "tenfold.cli.main", "init", *arguments],
        cwd=directory, input=stdin, env=environment, capture_output=True, text=True, timeout=30,
    )  # fmt: skip


def written(directory: Path) -> Topology:
    assert survey(directory / "tenfold.toml", environ={}).mistakes == ()
    return load(directory / "tenfold.toml", environ={})


def put(directory: Path, name: str, text: str) -> None:
    (directory / name).parent.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(text)


def test_an_empty_directory_gives_a_file_that_is_right_and_says_what_to_fill_in(tmp_path: Path) -> None:
    (tmp_path / "My Shop").mkdir()
    done = init(tmp_path / "My Shop", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert "put what starts it where 'your-app --port {port}' stands" in done.stdout
    assert written(tmp_path / "My Shop").platform.name == "my_shop"
    assert len((tmp_path / "My Shop" / "tenfold.toml").read_text().splitlines()) < 40


def test_an_existing_file_is_left_as_it_is(tmp_path: Path) -> None:
    put(tmp_path, "tenfold.toml", "mine")
    done = init(tmp_path, "--yes")
    assert done.returncode == 1
    assert "exists already and was left as it is" in done.stderr and "Try: tenfold check" in done.stderr
    assert (tmp_path / "tenfold.toml").read_text() == "mine"


def test_questions_are_answered_one_by_one(tmp_path: Path) -> None:
    answers = "ledger\nuvicorn --port {port} a:b\n/healthz\n3\n2\nhash\nuser_id\nusers=id, orders\n"
    done = init(tmp_path, stdin=answers)
    assert done.returncode == 0, done.stderr
    topology = written(tmp_path)
    assert (topology.platform.name, topology.app.health, len(topology.app.backends)) == ("ledger", "/healthz", 3)
    assert topology.database.groups["user"].tables == {"users": "id", "orders": "user_id"}
    assert list(topology.database.shards) == ["shard_0", "shard_1"]


def test_whole_tables_may_be_pinned_instead(tmp_path: Path) -> None:
    done = init(tmp_path, stdin="\n\n\n\n3\npinned\nusers, sessions\n\nposts\n")
    assert done.returncode == 0, done.stderr
    assert written(tmp_path).database.pinned == {"shard_0": ("users", "sessions"), "shard_2": ("posts",)}


def test_options_answer_for_a_script(tmp_path: Path) -> None:
    options = ["--name", "shop", "--command", "app", "--backends", "1", "--shards", "2", "--layout", "pinned"]
    done = init(tmp_path, "--yes", "--json", *options, "--tables", "shard_0=users, shard_1=posts")
    assert json.loads(done.stdout) == {"file": str(tmp_path / "tenfold.toml"), "detected": None}
    assert written(tmp_path).database.pinned == {"shard_0": ("users",), "shard_1": ("posts",)}


def test_answers_that_make_no_right_file_write_none(tmp_path: Path) -> None:
    done = init(tmp_path, "--yes", "--name", "My Shop", "--tables", "tf_users=id")
    assert done.returncode == 1
    assert "platform.name" in done.stderr and "tables.tf_users" in done.stderr and "nothing was written" in done.stderr
    assert not (tmp_path / "tenfold.toml").exists()


def test_a_directory_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    done = init(tmp_path, "--yes", "--file", "nowhere/tenfold.toml")
    assert done.returncode == 1
    assert "cannot be written: No such file or directory" in done.stderr


def test_an_app_that_is_found_needs_no_answer(tmp_path: Path) -> None:
    put(tmp_path, "shop/main.py", 'from fastapi import FastAPI\n\napp = FastAPI()\n\n@app.get("/healthz")\n')
    done = init(tmp_path, "--yes")
    assert "uvicorn --port {port} shop.main:app" in done.stdout
    app = written(tmp_path).app
    assert (app.command, app.health) == ("uvicorn --port {port} shop.main:app", "/healthz")


@pytest.mark.parametrize(
    ("name", "text", "command"),
    [
        ("manage.py", 'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")',
         "gunicorn --bind 127.0.0.1:{port} shop.wsgi:application"),
        ("manage.py", "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.config.settings.dev')",
         "gunicorn --bind 127.0.0.1:{port} shop.wsgi:application"),
        ("app.py", "import starlette\nweb: Starlette = Starlette(routes=[])\n", "uvicorn --port {port} app:web"),
        ("src/shop/__init__.py", "app = fastapi.FastAPI()\n", "uvicorn --app-dir src --port {port} shop:app"),
        ("app.py", "app = Flask(__name__)\n", "gunicorn --bind 127.0.0.1:{port} app:app"),
        ("shop/wsgi.py", "application = make()\n", "gunicorn --bind 127.0.0.1:{port} shop.wsgi:application"),
        ("wsgi.py", "def app(environ, start):\n", "gunicorn --bind 127.0.0.1:{port} wsgi:app"),
        ("tests/app.py", "app = FastAPI()\n", None),
        ("my-app.py", "app = FastAPI()\n", None),
        ("app.py", "    app = FastAPI()\n# app = Flask()\n", None),
    ],
)  # fmt: skip
def test_frameworks_are_known_by_their_source(tmp_path: Path, name: str, text: str, command: str | None) -> None:
    put(tmp_path, name, text)
    (tmp_path / "broken.py").symlink_to("nowhere")
    (tmp_path / "latin.py").write_bytes(b"\xff")
    assert detect(tmp_path).command == command


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(name=st.text(), command=st.text(), tables=st.dictionaries(st.text(), st.text()), pinned=st.text())
def test_no_answer_breaks_out_of_its_quotes(name: str, command: str, tables: dict[str, str], pinned: str) -> None:
    raw = tomllib.loads(render(Starter(name, command, key="k", tables=tables, pinned={pinned: [pinned]})))
    assert (raw["platform"], raw["app"]["command"]) == ({"name": name}, command)
    assert raw["database"]["pinned"] == {pinned: [pinned]}
    assert not tables or raw["database"]["groups"]["k"]["tables"] == tables


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.text())
def test_every_directory_name_makes_a_platform_name(text: str) -> None:
    assert parse(tomllib.loads(render(Starter(name_from(text), "app")))).platform.name


def test_a_table_without_a_column_has_the_shard_key() -> None:
    assert tables_from("users=id, orders  items,", "user_id") == {
        "users": "id",
        "orders": "user_id",
        "items": "user_id",
    }
