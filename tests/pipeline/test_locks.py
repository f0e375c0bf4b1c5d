"""What lock files and manifests pin is read from every form they have; what tells nothing is never "nothing". Pure."""

from __future__ import annotations

import json

import pytest

from tenfold.pipeline.packages import inventory
from tenfold.pipeline.repository import Repository

YARN_1 = """\
# yarn lockfile v1


"@scope/tea@^1.0.0", "@scope/tea@^1.1.0":
  version "1.1.2"
  resolved "https://registry.yarnpkg.com/x"

cup@1, cup@^1.2:
  version "1.2.0"

"mug@npm:cup@^2":
  version "2.0.1"

"mine@file:./mine":
  version "0.0.0"
"""
BERRY = """\
__metadata:
  version: 8
  cacheKey: 10

"@scope/tea@npm:^1.0.0, @scope/tea@npm:^1.1.0":
  version: 1.1.2
  resolution: "@scope/tea@npm:1.1.2"

"cup@patch:cup@npm%3A^1.2#optional!builtin<compat/cup>":
  version: 1.2.0
  resolution: "cup@patch:cup@npm%3A1.2.0#optional!builtin<compat/cup>::version=1.2.0&hash=ab"

"shop@workspace:.":
  version: 0.0.0-use.local
  resolution: "shop@workspace:."
"""
PNPM_9 = """\
lockfileVersion: '9.0'

importers:

  .:
    dependencies:
      cup:
        specifier: ^1
        version: 1.2.0

packages:

  '@scope/tea@1.1.2':
    resolution: {integrity: sha512-a}

  cup@1.2.0:
    resolution: {integrity: sha512-b}
    engines: {node: '>=18'}

  mine@file:mine:
    resolution: {directory: mine, type: directory}

snapshots:

  cup@1.2.0(tea@1.1.2): {}

  ghost@9.9.9: {}
"""
PNPM_6 = """\
lockfileVersion: '6.0'
packages:

  /@scope/tea@1.1.2(react@18.2.0):
    resolution: {integrity: sha512-a}

  /cup@1.2.0:
    resolution: {integrity: sha512-b}
"""
PNPM_5 = """\
lockfileVersion: 5.4
packages:

  /@scope/tea/1.1.2_react@18.2.0:
    resolution: {integrity: sha512-a}

  /cup/1.2.0:
    resolution: {integrity: sha512-b}
"""
NPM_1 = json.dumps({"lockfileVersion": 1, "dependencies": {
    "@scope/tea": {"version": "1.1.2", "dependencies": {"cup": {"version": "1.2.0"}}},
    "mine": {"version": "file:mine"}}})  # fmt: skip
NPM_3 = json.dumps({"lockfileVersion": 3, "packages": {
    "": {"name": "shop", "version": "9.0.0"},
    "packages/cart": {"name": "cart", "version": "0.1.0"},
    "node_modules/cart": {"resolved": "packages/cart", "link": True},
    "node_modules/@scope/tea": {"version": "1.1.2"},
    "packages/cart/node_modules/cup": {"version": "1.2.0"}}})  # fmt: skip


def of(name: str, text: str) -> Repository:
    return Repository((name, "package.json"), {name: text, "package.json": '{"dependencies": {"cup": "1"}}'})


@pytest.mark.parametrize(
    ("name", "text", "others"),
    [
        ("yarn.lock", YARN_1, ["cup 2.0.1 (npm)"]),
        ("yarn.lock", YARN_1.replace("\n", "\r\n"), ["cup 2.0.1 (npm)"]),
        ("yarn.lock", BERRY, []),
        ("pnpm-lock.yaml", PNPM_9, []),
        ("pnpm-lock.yaml", PNPM_6, []),
        ("pnpm-lock.yaml", PNPM_5, []),
        ("package-lock.json", NPM_1, []),
        ("package-lock.json", NPM_3, []),
        ("npm-shrinkwrap.json", NPM_3, []),
    ],
)
def test_the_lock_file_of_every_package_manager_of_node_is_read(name: str, text: str, others: list[str]) -> None:
    found = inventory(of(name, text))
    assert [str(one) for one in found.packages] == ["@scope/tea 1.1.2 (npm)", "cup 1.2.0 (npm)", *others]
    assert found.loose == () and found.unread == ()


@pytest.mark.parametrize(
    "name", ["uv.lock", "poetry.lock", "package-lock.json", "yarn.lock", "pnpm-lock.yaml", "composer.lock"]
)
@pytest.mark.parametrize("text", ["", "<<<<<<< HEAD\n=======\n>>>>>>> topic\n", "[]", "{}", "null"])
def test_a_lock_file_that_tells_nothing_is_named_and_is_not_no_packages(name: str, text: str) -> None:
    assert inventory(of(name, text)).unread == (name,)
    assert inventory(Repository((name,))).unread == (name,), "what is too large to be read has no text"


def test_lock_files_below_the_root_count_and_samples_of_tests_do_not() -> None:
    names = ("frontend/yarn.lock", "tests/cases/yarn.lock", "node_modules/a/yarn.lock", "vendor/composer.lock")
    found = inventory(Repository(names, dict.fromkeys(names, BERRY)))
    assert len(found.packages) == 2 and found.unread == ()


@pytest.mark.parametrize(
    ("name", "text", "loose"),
    [
        ("setup.py", 'setup(install_requires=["redis"])', "setup.py: install_requires"),
        ("setup.cfg", "[options]\ninstall_requires =\n  redis\n", "setup.cfg: install_requires"),
        ("pyproject.toml", '[tool.poetry.dependencies]\npython = "^3.12"\nredis = "*"\n', "pyproject.toml: redis"),
        ("pyproject.toml", '[project]\ndependencies = ["redis"]\n', "pyproject.toml: redis"),
        ("package.json", '{"workspaces": ["packages/*"]}', "package.json: what the workspaces ask for"),
        ("composer.json", '{"require": {"php": "8"}, "require-dev": {"a/b": "1"}}', "composer.json: a/b"),
        ("requirements.lock", "redis\n", "requirements.lock: redis"),
    ],
)
def test_what_is_asked_for_and_pinned_nowhere_is_said_to_be_loose(name: str, text: str, loose: str) -> None:
    assert inventory(Repository((name,), {name: text})).loose == (loose,)


def test_what_comes_from_an_address_is_named_without_what_may_be_its_password() -> None:
    text = (
        "tea @ git+https://x:pw@git.example/tea.git@v1\n-e git+https://me:pw@git.example/cup#egg=cup\nmug @ file:mug\n"
    )
    found = inventory(Repository(("requirements.txt",), {"requirements.txt": text}))
    assert found.elsewhere == ("requirements.txt: tea", "requirements.txt: git+https://git.example/cup#egg=cup")
    assert (found.packages, found.loose) == ((), ())
