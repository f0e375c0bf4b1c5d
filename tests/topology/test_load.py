"""Reading the file from disk: what cannot be read is said, secrets come from outside. Edge."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from tenfold.errors import ConfigError
from tenfold.topology.load import load, survey

PLATFORM = """
[platform]
name = "ledger"
[app]
command = "ledger --port {port}"
[database.shards]
shard_0 = { url = "sqlite:///var/shard_0.db" }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tenfold.toml"
    path.write_text(PLATFORM)
    return path


def refused(path: Path, environment: str | None = None, **environ: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(path, environment, environ)
    return caught.value


def with_cache(file: Path, password: str) -> None:
    file.write_text(f'{PLATFORM}[cache]\npassword = "{password}"\n')


def password(file: Path, **environ: str) -> str:
    cache = load(file, environ=environ).cache
    assert cache is not None and cache.password is not None
    return cache.password.get_secret_value()


def test_a_platform_knows_the_file_it_was_read_from(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    topology = load("tenfold.toml", environ={})
    assert topology.file == file
    assert topology.root == file.parent


def test_a_missing_file_leads_to_tenfold_init(tmp_path: Path) -> None:
    error = refused(tmp_path / "tenfold.toml")
    assert "there is no such file" in str(error) and error.hint == "tenfold init"


def test_a_directory_is_not_a_file(tmp_path: Path) -> None:
    assert "is a directory" in str(refused(tmp_path))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in str(refused(tmp_path / "pipe"))


def test_a_file_that_may_not_be_read_is_said_to_be_so(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        # Root may read everything; a link onto itself is what root cannot open either.
        (tmp_path / "tenfold.toml").symlink_to("tenfold.toml")
    else:
        (tmp_path / "tenfold.toml").touch(mode=0)
    assert "tenfold.toml: cannot be read: " in str(refused(tmp_path / "tenfold.toml"))


def test_a_path_with_nul_is_no_path(tmp_path: Path) -> None:
    assert "cannot be read: not a path" in str(refused(tmp_path / "a\0b"))


def test_text_that_is_not_utf8_is_named_by_its_line(file: Path) -> None:
    file.write_bytes(b'[platform]\nname = "b\xfccher"\n')
    assert str(refused(file)) == "tenfold.toml: line 2: is not UTF-8; save the file as UTF-8"


def test_marks_and_line_ends_of_other_editors_are_read(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + PLATFORM.replace("\n", "\r\n").encode())
    assert load(file, environ={}).platform.name == "ledger"


def test_a_huge_file_is_not_read(file: Path) -> None:
    file.write_bytes(b"#" * (1024 * 1024 + 1))
    assert "larger than 1 MiB" in str(refused(file))


@pytest.mark.parametrize("text", ["a = " + "9" * 5000, "a = " + "[" * 5000])
def test_toml_that_makes_python_itself_give_up_is_refused(file: Path, text: str) -> None:
    file.write_text(text)
    assert str(refused(file)).startswith("tenfold.toml: ")


def test_a_secret_comes_from_the_environment(file: Path) -> None:
    with_cache(file, "${CACHE_PASSWORD}")
    assert password(file, CACHE_PASSWORD="hunter2") == "hunter2"


def test_a_missing_secret_is_named_with_its_place(file: Path) -> None:
    with_cache(file, "${CACHE_PASSWORD}")
    assert str(refused(file)).startswith(
        "tenfold.toml: cache.password: the environment variable CACHE_PASSWORD is not set; "
    )
    assert "CACHE_PASSWORD is empty; " in str(refused(file, CACHE_PASSWORD=""))


def test_missing_secrets_and_other_mistakes_are_told_together(file: Path) -> None:
    file.write_text(PLATFORM.replace('"ledger"', '"My"') + '[app.environment]\nA = "${A}"\nB = "file:b"\n')
    places = [line.split(": ")[1] for line in str(refused(file)).splitlines()]
    assert places == ["platform.name", "app.environment.A", "app.environment.B"]


def test_a_secret_comes_from_a_file_beside_the_platforms(file: Path) -> None:
    (file.parent / "secret").write_text("hunter2\n\n")
    (file.parent / "secret").chmod(0o600)
    with_cache(file, "file:secret")
    assert password(file) == "hunter2\n"  # one line break is the editor's, the second one is the secret's
    with_cache(file, f"file:{file.parent / 'secret'}")
    assert password(file) == "hunter2\n"


def test_a_secret_that_everybody_may_read_is_refused(file: Path) -> None:
    secret = file.parent / "my secret"
    secret.write_text("hunter2")
    secret.chmod(0o644)
    with_cache(file, "file:my secret")
    assert str(refused(file)).endswith(f"every account may read the file \"{secret}\"; run chmod o-r '{secret}'")
    secret.chmod(0o640)
    assert password(file) == "hunter2"


@pytest.mark.parametrize(
    ("content", "why"), [(b"", "holds no text"), (b"\n", "holds no text"), (b"a\0b", "holds no text"),
                         (b"\xff", "is not UTF-8"), (b"x" * 70_000, "too large")],
)  # fmt: skip
def test_a_file_that_can_be_no_secret_is_refused(file: Path, content: bytes, why: str) -> None:
    (file.parent / "secret").write_bytes(content)
    (file.parent / "secret").chmod(0o600)
    with_cache(file, "file:secret")
    assert why in str(refused(file))


def test_a_secret_file_that_is_missing_or_no_file_is_named(file: Path) -> None:
    with_cache(file, "file:secret")
    assert f'the file "{file.parent}/secret" cannot be read (No such file or directory)' in str(refused(file))
    (file.parent / "secret").mkdir()
    assert "is a directory" in str(refused(file))


def test_variables_of_the_app_are_text_or_secrets(file: Path) -> None:
    file.write_text(PLATFORM + '[app.environment]\nMODE = "fast"\nKEY = "${KEY}"\n')
    environment = load(file, environ={"KEY": "hunter2"}).app.environment
    assert environment["MODE"] == "fast"
    assert isinstance(environment["KEY"], SecretStr)


def test_secrets_are_asked_for_only_where_they_are_needed(file: Path) -> None:
    file.write_text(PLATFORM + '[environments.production.cache]\npassword = "${CACHE_PASSWORD}"\n')
    assert load(file, environ={}).cache is None
    assert "environments.production.cache.password: the environment" in str(refused(file, "production"))
    assert survey(file, environ={}).mistakes == ()


def test_a_survey_examines_every_environment(file: Path) -> None:
    file.write_text(PLATFORM + '[environments.a.balancer]\nlisten = "x"\n[environments.b.balancer]\nsticky = "ip"\n')
    found = survey(file, "b", {})
    assert [line.split(": ")[1] for line in found.mistakes] == ["environments.a.balancer.listen"]
    assert found.environments == ("a", "b")
    assert found.warnings and found.warnings[0].startswith("tenfold.toml: balancer.sticky")


def test_an_environment_that_does_not_exist_is_refused_by_name(file: Path) -> None:
    assert 'there is no environment "x", nor any other' in str(refused(file, "x"))
