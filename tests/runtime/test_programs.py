"""Commands, environments and addresses of the programs of a platform. Pure."""

from __future__ import annotations

from pathlib import PurePath

import pytest
from pydantic import SecretStr

from tenfold.runtime import programs
from tenfold.runtime.programs import Address, Kind, Program
from tenfold.topology.model import Topology


def topology(**app: object) -> Topology:
    return Topology.model_validate(
        {
            "platform": {"name": "tiny"},
            "app": {"command": "serve --port {port} '{python}' {other}"} | app,
            "database": {"shards": {"shard_0": {"url": "sqlite:///var/shard_0.db"}}},
        }
    ).model_copy(update={"file": PurePath("/srv/site/tenfold.toml"), "environment": "staging"})


def test_a_placeholder_stays_one_word_even_when_its_value_has_spaces() -> None:
    program = programs.backends(topology(), {}, "/my python/bin/python")[0]
    assert program.argv == ("serve", "--port", "8101", "/my python/bin/python", "{other}")


def test_backends_have_the_contracts_variables() -> None:
    made = programs.backends(topology(backends=[{}, {"port": 9000}]), {"HOME": "/h", "PORT": "1"}, "/v/bin/python")
    assert [program.name for program in made] == ["backend_0", "backend_1"]
    got = made[1].environment
    assert got["TENFOLD_FILE"] == "/srv/site/tenfold.toml"
    assert got["TENFOLD_ENV"] == "staging"
    assert got["TENFOLD_BACKEND"] == "backend_1"
    assert got["PORT"] == "9000"
    assert got["HOME"] == "/h"


def test_the_directory_of_the_running_python_is_searched_last() -> None:
    assert programs.app_environment(topology(), {"PATH": "/a:/b"}, "/v/bin/python")["PATH"] == "/a:/b:/v/bin"
    assert programs.app_environment(topology(), {}, "/v/bin/python")["PATH"].endswith("/bin:/v/bin")


def test_an_environment_of_another_platform_does_not_leak_in() -> None:
    none = topology().model_copy(update={"environment": None})
    got = programs.app_environment(none, {"TENFOLD_ENV": "production", "TENFOLD_FILE": "/other"}, "/p")
    assert "TENFOLD_ENV" not in got and got["TENFOLD_FILE"] == "/srv/site/tenfold.toml"


def test_secrets_are_revealed_to_the_program_and_to_nobody_else() -> None:
    secret = topology().model_copy(
        update={"app": topology().app.model_copy(update={"environment": {"KEY": SecretStr("sesame"), "A": "b"}})}
    )
    program = programs.backends(secret, {}, "/p")[0]
    assert program.environment["KEY"] == "sesame" and program.environment["A"] == "b"
    assert "sesame" not in repr(program)
    assert programs.secrets(secret.app, None) == ["sesame"]


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("0.0.0.0:80", "http://127.0.0.1"),
        ("[::]:8080", "http://[::1]:8080"),
        ("192.0.2.7:8080", "http://192.0.2.7:8080"),
    ],
)
def test_the_balancer_is_reached_where_it_listens_and_on_loopback_if_that_is_everywhere(listen: str, url: str) -> None:
    assert programs.balancer_address(listen).url == url


def test_the_balancer_is_asked_for_a_name_that_it_answers_for() -> None:
    named = topology().model_copy(
        update={"platform": topology().platform.model_copy(update={"domains": ("*.site.example",)})}
    )
    assert programs.balancer(named, ["nginx"], {}).host == "www.site.example"


def test_the_balancer_stops_first_and_all_stages_together_take_less_than_ten_seconds() -> None:
    made = [*programs.backends(topology(backends=[{}, {}]), {}, "/p"), programs.balancer(topology(), ["nginx"], {})]
    stages = programs.stop_order(made)
    assert [[program.name for program in stage] for stage in stages] == [["balancer"], ["backend_0", "backend_1"]]
    longest_s = sum(max(p.grace_s for p in stage) + programs.KILLED_GRACE_S for stage in stages)
    assert longest_s + programs.CUT_GRACE_S + 0.5 < 10  # half a second for strays


def test_stages_without_programs_are_left_out() -> None:
    alone = Program("setup", Kind.SETUP, ("x",), Address("127.0.0.1", 1), "/", "")
    assert programs.stop_order([alone]) == [[alone]]
