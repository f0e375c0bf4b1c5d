"""What the pipeline reads: lock files, advisories, coverage, code, repositories. Pure."""

from __future__ import annotations

import json

import pytest

from tenfold.pipeline.advisories import matching, order
from tenfold.pipeline.coverage import Coverage, of_v8, read
from tenfold.pipeline.dangers import RULES, dangers
from tenfold.pipeline.packages import Package, inventory, requirements
from tenfold.pipeline.repository import Language, Repository
from tenfold.pipeline.tools import quality


def of(**texts: str) -> Repository:
    named = {name.replace("__", "/").replace("_", "."): text for name, text in texts.items()}
    return Repository(tuple(named), named)


@pytest.mark.parametrize(
    ("files", "languages"),
    [
        (["requirements.txt"], [Language.PYTHON]),
        (["uv.lock", "pyproject.toml"], [Language.PYTHON]),
        (["package.json", "server.js", "tools/x.py"], [Language.NODE]),
        (["composer.json", "index.php"], [Language.PHP]),
        (["pyproject.toml", "package.json"], [Language.PYTHON, Language.NODE]),
        (["index.php", "wp-login.php"], [Language.PHP]),
        (["app.py"], [Language.PYTHON]),
        (["README.md", "docs/x.py"], []),
    ],
)
def test_a_repository_is_what_its_files_say(files: list[str], languages: list[Language]) -> None:
    assert list(Repository(tuple(files)).languages) == languages


@pytest.mark.parametrize(
    ("file", "text", "version"),
    [
        ("pyproject.toml", '[project]\nrequires-python = "<3.13,>=3.11"\n', "3.11"),
        ("pyproject.toml", '[project]\nrequires-python = "<3.12"\n', "3.11"),
        ("pyproject.toml", '[project]\nrequires-python = ">3.12, !=3.13.*"\n', "3.14"),
        ("pyproject.toml", '[project]\nrequires-python = "~=3.13.1"\n', "3.13"),
        ("pyproject.toml", '[tool.poetry.dependencies]\npython = "^3.13"\n', "3.13"),
        ("pyproject.toml", "[project]\nrequires-python = 3\n", "3.12"),
        ("setup.cfg", "[options]\npython_requires = >=3.13\n", "3.13"),
        ("setup.py", 'setup(python_requires=">=3.7, <3.12")', "3.11"),
        (".python-version", "pypy3.10-7.3\n", "3.12"),
    ],
)
def test_the_python_of_the_workflow_is_one_that_the_project_takes(file: str, text: str, version: str) -> None:
    assert Repository((file,), {file: text}).python_version == version


@pytest.mark.parametrize(
    "text", ['{"engines": ["node >= 6"], "scripts": null, "dependencies": null}', '{"engines": {"node": "<23"}}', "[[["]
)
def test_an_odd_manifest_is_no_error_of_ours(text: str) -> None:
    odd = Repository(
        ("package.json", "pyproject.toml"), {"package.json": text, "pyproject.toml": "project = 1\ntool = 2"}
    )
    assert (odd.node_version, odd.python_version) == ("22", "3.12")
    assert inventory(odd).loose == () and list(quality(odd))


def test_versions_are_those_that_the_repository_asks_for() -> None:
    assert of(pyproject_toml='[project]\nrequires-python = ">=3.13"\n').python_version == "3.13"
    assert of(pyproject_toml='[project]\nrequires-python = ">=3.8"\n').python_version == "3.12"
    assert Repository((".python-version",), {".python-version": "3.11.4\n"}).python_version == "3.11"
    assert of(package_json='{"engines": {"node": ">=20.1"}}').node_version == "20"
    assert of(package_json="[]").node_version == "22" and of(pyproject_toml="[[[").python_version == "3.12"


def test_a_project_is_checked_by_the_tools_it_has_chosen() -> None:
    def tools(repository: Repository) -> list[str]:
        return [" ".join(check.argv[:2]) for check in quality(repository)]

    assert tools(of(setup_py="")) == ["ruff check", "ruff format", "mypy --ignore-missing-imports"]
    assert tools(of(pyproject_toml="[tool.black]\n[tool.mypy]\nfiles = ['a']\n")) == [
        "ruff check",
        "black --check",
        "mypy",
    ]
    node = Repository(("package.json", "eslint.config.js", "tsconfig.json"),
                      {"package.json": '{"devDependencies": {"prettier": "3"}}'})  # fmt: skip
    assert tools(node) == ["eslint .", "node --check", "prettier --check", "tsc --noEmit"]
    assert tools(Repository(("composer.json", "a.php", "vendor/b.php", "phpstan.neon"))) == [
        "php -l",
        "phpstan analyse",
    ]


def test_requirements_are_pinned_or_named_as_loose() -> None:
    text = """\
# a comment
redis==8.1.0
Typing.Extensions[extra] == 4.1 ; python_version < "3.12"
hashed==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
loose>=1
star==1.*
-r other.txt
-e .
local @ file:///x
"""
    pinned, loose, _ = requirements(text)
    assert [str(package) for package in pinned] == [
        "redis 8.1.0 (PyPI)", "typing-extensions 4.1 (PyPI)", "hashed 1.0 (PyPI)"]  # fmt: skip
    assert loose == ["loose", "star"]


def test_every_kind_of_lock_file_is_read() -> None:
    repository = of(
        uv_lock='[[package]]\nname="a"\nversion="1"\n[[package]]\nname="me"\nversion="0"\nsource={editable="."}\n',
        poetry_lock='[[package]]\nname="B_b"\nversion="2"\n',
        composer_lock='{"packages": [{"name": "X/y", "version": "v3.0"}], "packages-dev": []}',
    )
    lock = {"packages": {"": {"version": "9"}, "node_modules/@s/t/node_modules/u": {"version": "4"},
                         "node_modules/v": {"version": "5", "link": True}}}  # fmt: skip
    npm = Repository(("package-lock.json",), {"package-lock.json": json.dumps(lock)})
    assert [str(one) for one in inventory(repository).packages] == ["x/y 3.0 (Packagist)", "a 1 (PyPI)", "b-b 2 (PyPI)"]
    assert [str(one) for one in inventory(npm).packages] == ["u 4 (npm)"]
    loose = inventory(of(pyproject_toml='[project]\ndependencies = ["a>=1", "b==2"]\n')).loose
    assert loose == ("pyproject.toml: a",)
    assert inventory(of(package_json='{"dependencies": {"t": "1"}}')).loose == ("package.json: t",)


@pytest.mark.parametrize(
    ("older", "newer"),
    [("1.9", "1.10"), ("1.0rc1", "1.0"), ("1.0", "1.0.post1"), ("1.0a1", "1.0b1"), ("1.0.dev3", "1.0a1"),
     ("2.0.0-beta.2", "2.0.0-rc.1"), ("2.0.0-rc.1", "2.0.0"), ("0", "0.0.1")],
)  # fmt: skip
def test_releases_are_ordered_as_their_ecosystems_do(older: str, newer: str) -> None:
    assert order(older) < order(newer) and order("v1.0") == order("1.0.0")


@pytest.mark.parametrize(
    ("version", "hit"), [("0.9", False), ("1.0", True), ("1.4", True), ("1.5", False), ("2.0", True), ("2.3", False)]
)
def test_a_release_is_hit_between_introduced_and_fixed(version: str, hit: bool) -> None:
    events = [{"introduced": "1.0"}, {"fixed": "1.5"}, {"introduced": "2.0"}, {"last_affected": "2.2"}]
    record = {"id": "X", "affected": [{"package": {"ecosystem": "PyPI", "name": "A.b"},
                                       "ranges": [{"type": "ECOSYSTEM", "events": events}]}]}  # fmt: skip
    found = list(matching([record], [Package("PyPI", "a-b", version), Package("npm", "a-b", version)]))
    assert len(found) == hit


def test_reports_of_every_kind_give_lines() -> None:
    assert read("coverage.xml", '<?xml?><coverage lines-valid="8" lines-covered="6" branch-rate="0">') == Coverage(6, 8)
    clover = '<metrics statements="1" coveredstatements="0"/><metrics files="2" statements="4" coveredstatements="3"/>'
    assert read("clover.xml", f"<coverage generated='1'><project>{clover}") == Coverage(3, 4)
    assert read("lcov.info", "SF:a\nLF:4\nLH:1\nend_of_record\nLF:6\nLH:6\n") == Coverage(7, 10)
    assert read("coverage.json", '{"totals": {"covered_lines": 1, "num_statements": 2}}') == Coverage(1, 2)
    assert read("junit.xml", "<testsuite tests='1'/>") is None and read("x.json", "[]") is None
    assert read("lcov.info", "") is None


def test_lines_that_no_process_of_node_ran_are_missed() -> None:
    text = "function f(x) {\n  if (x) {\n    return 1;\n  }\n  // said\n  return 2;\n}\n"
    start, end = text.index("return 2"), text.index("return 2") + 9
    functions = [{"ranges": [{"startOffset": 0, "endOffset": len(text), "count": 1}]},
                 {"ranges": [{"startOffset": start, "endOffset": end, "count": 0}]}]  # fmt: skip
    runs = [{"result": [{"url": "file:///a.js", "functions": functions}, {"url": "node:fs", "functions": []}]}]
    figure, missed = of_v8(runs, {"file:///a.js": text, "file:///never-loaded.js": "x"})
    assert (figure, missed) == (Coverage(3, 4), {"file:///a.js": [6]})
    whole = [{"result": [{"url": "file:///a.js", "functions": functions[:1]}]}]
    assert of_v8([*runs, *whole], {"file:///a.js": text})[0] == Coverage(4, 4)


EXAMPLES = {
    Language.NODE: ["eval(x)", "new Function(x)", "exec(`ls ${x}`)", "spawn(a, { shell: true })",
                    "db.query('SELECT ' + id)", "rejectUnauthorized: false", "a.innerHTML = b"],
    Language.PHP: ["eval($x);", "shell_exec('ls ' . $x);", "$db->query('SELECT ' . $_GET['a']);", "include $_GET['p'];",
                   "unserialize($x);", "echo $_POST['a'];", "CURLOPT_SSL_VERIFYPEER => false"],
}  # fmt: skip
HARMLESS = {
    Language.NODE: [
        "pattern.exec(text)",
        "retrieval(x)",
        "db.query('SELECT ?', [id])",
        "// eval(x)",
        "a.innerHTML === b",
    ],
    Language.PHP: [
        "$this->exec($sql);",
        "json_decode($x);",
        "echo htmlspecialchars($_GET['a']);",
        "curl_exec($handle);",
    ],
}


@pytest.mark.parametrize("language", RULES)
def test_each_danger_is_found_and_its_likeness_is_not(language: Language) -> None:
    found = {line.split(": ")[1] for text in EXAMPLES[language] for line in dangers(language, "a", text)}
    assert found == {rule.name for rule in RULES[language]}
    assert all(list(dangers(language, "a", text)) for text in EXAMPLES[language])
    assert [line for text in HARMLESS[language] for line in dangers(language, "a", text)] == []
    allowed = f"{EXAMPLES[language][0]} // tenfold: allow eval because"
    assert list(dangers(language, "a", allowed)) == []
    assert list(dangers(language, "a", allowed.removesuffix("because"))) != [], "a reason is asked for"
