"""What is installed for a release, by the files that lie in its first directory."""

from __future__ import annotations

import pytest

from tenfold.deploy.installs import asked_for, passed_over

BUILT = '[build-system]\nrequires = ["x"]\n'
POETRY = BUILT + '[tool.poetry]\nname = "shop"\n'
LISTED = '[project]\nname = "shop"\ndependencies = ["httpx", "--index-url=http://evil"]\n'


@pytest.mark.parametrize(
    ("files", "project", "because", "last"),
    [
        ({"requirements.txt", "pyproject.toml", "uv.lock"}, BUILT + LISTED, ["requirements.txt"], "requirements.txt"),
        ({"uv.lock", "pyproject.toml"}, LISTED, ["uv.lock"], "{host_python}"),
        ({"pyproject.toml"}, BUILT + LISTED, ["pyproject.toml"], "."),
        ({"pyproject.toml"}, LISTED, ["pyproject.toml"], "httpx"),
        ({"pyproject.toml", "poetry.lock"}, POETRY, ["pyproject.toml"], "."),
        ({"pyproject.toml", "setup.cfg"}, BUILT, ["pyproject.toml"], "."),
        ({"setup.py"}, "", ["setup.py"], "."),
        ({"pyproject.toml"}, "[tool.ruff]\n", [], ""),
        ({"pyproject.toml"}, "not = [toml", [], ""),
        ({"package.json", "package-lock.json"}, "", ["package-lock.json"], "--no-fund"),
        ({"requirements.txt", "package-lock.json"}, "", ["requirements.txt", "package-lock.json"], "--no-fund"),
        ({"composer.lock"}, "", ["composer.lock"], "--optimize-autoloader"),
        ({"index.php"}, "", [], ""),
    ],
)
def test_dependencies_are_installed_as_the_files_ask(
    files: set[str], project: str, because: list[str], last: str
) -> None:
    found = asked_for(frozenset(files), project)
    assert [one.because for one in found] == because
    assert (found[-1].commands[-1][-1] if found else "") == last


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"package.json", "yarn.lock"},
            "what package.json asks for; commit package-lock.json, or write deploy.install",
        ),
        ({"composer.json"}, "commit composer.lock"),
        ({"Pipfile", "Pipfile.lock"}, "commit requirements.txt"),
        ({"Gemfile"}, "what Gemfile asks for; write deploy.install"),
        ({"package.json", "package-lock.json", "requirements.txt", "Pipfile"}, ""),
    ],
)
def test_what_nothing_installs_is_said(files: set[str], said: str) -> None:
    told = passed_over(frozenset(files))
    assert said in told and bool(told) == bool(said)
