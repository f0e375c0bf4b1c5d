"""The job test: the project's tests, against real services, with the lines they go through counted. Edge."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tenfold.cli import ci_place
from tenfold.cli.ci_job import Job
from tenfold.cli.ci_project import prepare, test_tools
from tenfold.cli.ci_tools import Workshop
from tenfold.errors import ConfigError, PlatformError
from tenfold.pipeline.coverage import Coverage, of_v8, read
from tenfold.pipeline.repository import Language, Repository
from tenfold.pipeline.tools import node_script

TEST_S, SERVICE_S = 1500.0, 30.0
SERVICES = {"DATABASE_URL": 3306, "REDIS_URL": 6379}
PORTS = {"postgres": 5432, "postgresql": 5432}
LARGEST_REPORT = 64 * 1024 * 1024
# Where test runners leave reports by themselves, beside those that Tenfold asks for.
DJANGO_TEST = re.compile(r"^class \w+\(|\bload_tests\b", re.MULTILINE)
ELSEWHERE = ("coverage.xml", "coverage.json", "coverage/lcov.info", "coverage/clover.xml", "clover.xml", "lcov.info")


def test(job: Job) -> None:
    """Wait for the services, install, run the tests of each language, read the coverage."""
    repository, workshop = ci_place.repository(job.base), job.workshop
    shutil.rmtree(workshop.reports, ignore_errors=True)
    workshop.reports.mkdir(parents=True)
    for name, port in SERVICES.items():
        job.attempt(name, partial(_service, job, name, port))
    if job.findings:
        return
    if not repository.languages:
        job.findings.append("tests: there is no Python, Node or PHP here; is this the root of the repository?")
    prepare(workshop, repository)
    for language in repository.languages:
        act = {Language.PYTHON: _python, Language.NODE: _node, Language.PHP: _php}[language]
        job.attempt("tests", partial(act, job, workshop, repository))
    tell_coverage(job)


def _service(job: Job, name: str, port: int) -> None:
    """Wait until what the variable names takes connections; say so where nothing is named."""
    address = os.environ.get(name, "")
    if not address:
        job.told.append(f"{name} is not set: tests that need it must start their own, or fail")
        return
    try:
        parts = urlsplit(address)
        where = (parts.hostname or "", parts.port or PORTS.get(parts.scheme.partition("+")[0], port))
    except ValueError:  # its text may hold a part of a password
        raise ConfigError(
            "it is no address; what is special in a password is written %XX",
            hint=f"{name}=scheme://user@host:port/name",
        ) from None
    if not where[0]:  # a file, or a socket of Unix
        job.told.append(f"{name} names no server, so none is waited for")
        return
    deadline = time.monotonic() + SERVICE_S
    while True:
        try:
            socket.create_connection(where, timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise PlatformError(
                    f"nothing answers at {where[0]}:{where[1]} ({error.strerror or error})",
                    hint=f"start the service, or unset {name}",
                ) from None
            time.sleep(0.2)


def _python(job: Job, workshop: Workshop, repository: Repository) -> None:
    test_tools(workshop)
    python, data = str(workshop.python / "bin" / "python"), str(workshop.reports / ".coverage")
    own = repository.configures("coverage") or repository.has(".coveragerc")
    omit = ".tenfold/*,.venv/*,tests/*,test/*,*/tests/*,*/test_*.py,test_*.py,conftest.py,setup.py"
    scope = [] if own else ["--source", ".", "--omit", omit]
    django = repository.has("manage.py") and not repository.uses_pytest
    if django and not any(
        DJANGO_TEST.search(ci_place.text_of(job.base / name) or "") for name in _test_files(repository)
    ):
        # Django's runner ends well with no test at all, and of pytest's it sees none.
        job.findings.append("tests: manage.py test would find none; write a TestCase, or set up pytest-django")
        return
    runner = ["manage.py", "test"] if django else ["-m", "pytest", f"--junitxml={workshop.reports / 'junit.xml'}"]
    report = str(workshop.reports / "coverage.xml")
    if not django and repository.measures_itself:  # two measures at once see nothing
        code = workshop.show([python, *runner, f"--cov-report=xml:{report}"], {}, TEST_S)
    else:
        code = workshop.show([python, "-m", "coverage", "run", "--data-file", data, *scope, *runner], {}, TEST_S)
    if code == 5 and not django:
        job.findings.append("tests: there are none; write one in tests/test_….py")
    elif code:
        job.findings.append(f"tests: ended with {code}; the lines above say which")
    if Path(data).exists():
        workshop.show([python, "-m", "coverage", "xml", "-q", "--data-file", data, "-o", report], {}, 120)


def _test_files(repository: Repository) -> list[str]:
    return [name for name in repository.sources(Language.PYTHON) if re.search(r"(^|/)tests?[^/]*(\.py$|/)", name)]


def _node(job: Job, workshop: Workshop, repository: Repository) -> None:
    if "test" not in repository.table("package.json", "scripts"):
        job.findings.append('tests: package.json has no script "test"; add one, such as "node --test"')
        return
    raw = workshop.reports / "v8"
    manager, *rest = node_script(repository, "test")
    code = workshop.show([workshop.find(manager), *rest], {"NODE_V8_COVERAGE": str(raw)}, TEST_S)
    if code:
        job.findings.append(f"tests: {manager} run test ended with {code}; the lines above say which")
    runs: list[dict[str, Any]] = []
    for file in sorted(raw.glob("*.json")):
        text = ci_place.text_of(file, LARGEST_REPORT)
        runs += [json.loads(text)] if text else []
    tested = [name for name in repository.sources(Language.NODE)
              if name.endswith((".js", ".cjs", ".mjs")) and not _is_test(name)]  # fmt: skip
    sources = {(job.base / name).resolve().as_uri(): ci_place.text_of(job.base / name) or "" for name in tested}
    figure, missed = of_v8(runs, sources)
    shutil.rmtree(raw, ignore_errors=True)
    names = {url: str(Path(url.removeprefix("file://")).relative_to(job.base.resolve())) for url in missed}
    report = {"totals": {"covered_lines": figure.covered, "num_statements": figure.lines},
              "missed": {names[url]: lines for url, lines in missed.items()}}  # fmt: skip
    (workshop.reports / "node.json").write_text(json.dumps(report))


def _is_test(name: str) -> bool:
    parts = name.split("/")
    return bool({"test", "tests", "__tests__"}.intersection(parts)) or ".test." in parts[-1] or ".spec." in parts[-1]


def _php(job: Job, workshop: Workshop, repository: Repository) -> None:
    configured = repository.has("phpunit.xml", "phpunit.xml.dist")
    if not configured and not any(name.startswith("tests/") for name in repository.files):
        job.findings.append("tests: there are none; write one in tests/…Test.php")
        return
    phpunit, php = workshop.find("phpunit"), workshop.find("php")
    modules = subprocess.run([php, "-m"], capture_output=True, text=True, timeout=60).stdout.lower().split()
    command = [php, phpunit, "--log-junit", str(workshop.reports / "junit.xml")]
    extra = {}
    if "pcov" in modules or "xdebug" in modules:
        command += ["--coverage-clover", str(workshop.reports / "clover.xml")]
        extra = {"XDEBUG_MODE": "coverage"}
        if not configured:
            command += ["--coverage-filter", "src" if any(f.startswith("src/") for f in repository.files) else "."]
    else:
        job.told.append("coverage: PHP has neither pcov nor xdebug; apt-get install php-pcov")
    if not configured:
        command.append("tests")
    code = workshop.show(command, extra, TEST_S)
    if code:
        job.findings.append(f"tests: phpunit ended with {code}; the lines above say which")
    elif "<testcase" not in (ci_place.text_of(workshop.reports / "junit.xml", LARGEST_REPORT) or ""):
        job.findings.append("tests: there are none; write one in tests/…Test.php")


def tell_coverage(job: Job) -> None:
    """Read what the runs have left, tell it, and fail below --min-coverage."""
    found: dict[str, Coverage] = {}
    for places in (sorted(job.workshop.reports.glob("*")), [job.base / name for name in ELSEWHERE]):
        for path in places if not found else ():
            if path.name == "junit.xml" or path.suffix not in (".xml", ".json", ".info") or not _is_new(path, job):
                continue
            figure = read(path.name, ci_place.text_of(path, LARGEST_REPORT) or "")
            if figure:
                found[path.name] = figure
    wanted = job.options.get("min_coverage")
    for name, figure in found.items():
        job.told.append(f"coverage: {figure}, from {name}")
        if wanted is not None and figure.percent < wanted:
            job.findings.append(f"coverage: {figure} is less than {wanted:g} %")
    if wanted is not None and not found:
        job.findings.append(f"coverage: nothing measured it, so {wanted:g} % cannot be told")
    job.facts["coverage"] = {name: round(figure.percent, 1) for name, figure in found.items()}


def _is_new(path: Path, job: Job) -> bool:
    """Whether this run wrote the file: what lay there says nothing of it."""
    try:
        return path.stat().st_mtime >= job.began_s - 1  # some file systems know whole seconds alone
    except OSError:
        return False
