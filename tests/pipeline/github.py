"""Runs a rendered workflow as GitHub would, for the part of its language that Tenfold renders. Edge.

Jobs in order of `needs`, `if:` and `${{ }}` evaluated, `run:` steps executed by bash in a clean clone, services
started for real, GITHUB_* files honoured. An action of the table does here what it does there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

TOKEN = re.compile(r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<name>[A-Za-z_][\w-]*)|(?P<op>\|\||&&|==|!=|[!().\[\]]))")
BESIDE = Path(sys.executable).parent


class Expression:
    """One `${{ }}`: names, strings, ==, !=, &&, ||, !, parentheses and functions without arguments."""

    def __init__(self, source: str, context: Mapping[str, Any], functions: Mapping[str, Callable[[], bool]]) -> None:
        self._tokens, at = [], 0
        while source[at:].strip():
            found = TOKEN.match(source, at)
            assert found, f"not understood: {source[at:]!r}"
            self._tokens.append(found[0].strip())
            at = found.end()
        self._context, self._functions = context, functions

    def value(self) -> Any:
        value = self._any()
        assert not self._tokens, f"left over: {self._tokens}"
        return value

    def _next(self, *wanted: str) -> str | None:
        return self._tokens.pop(0) if self._tokens and (not wanted or self._tokens[0] in wanted) else None

    def _any(self) -> Any:
        value = self._all()
        while self._next("||"):
            other = self._all()
            value = value or other
        return value

    def _all(self) -> Any:
        value = self._compared()
        while self._next("&&"):
            other = self._compared()
            value = value and other
        return value

    def _compared(self) -> Any:
        value = self._one()
        while sign := self._next("==", "!="):
            value = (value == self._one()) is (sign == "==")
        return value

    def _one(self) -> Any:
        token = self._next()
        assert token, "an expression ends too early"
        if token == "!":
            return not self._one()
        if token == "(":
            value = self._any()
            assert self._next(")")
            return value
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        if self._next("("):
            assert self._next(")"), "functions have no arguments here"
            return self._functions[token]()
        value = self._context[token]  # a context that does not exist is an error, as there
        while sign := self._next(".", "["):
            key = self._next() or ""
            if sign == "[":
                assert self._next("]")
            value = (value or {}).get(key.strip("'"), "")
        return value


@dataclass
class Ran:
    """What became of a job: "success", "failure" or "skipped"; its output, and its summary as GitHub would show it."""

    result: str
    output: str = ""
    summary: str = ""
    steps: list[str] = field(default_factory=list)


class GitHub:
    """A runner for one push or pull request.

    origin    the repository that is cloned
    services  image name → (host port by container port)
    machine   environment that the machine itself has
    """

    def __init__(
        self, origin: Path, work: Path, services: Mapping[str, Mapping[str, int]], machine: Mapping[str, str], *,
        event: str = "push", branch: str = "main", secrets: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.origin, self.work, self.services, self.machine = origin, work, services, dict(machine)
        self.secrets, self.artifacts = dict(secrets or {}), work / "artifacts"
        head = ["git", "-C", str(origin), "rev-parse", branch]
        self.github = {
            "event_name": event, "ref": f"refs/heads/{branch}" if event == "push" else "refs/pull/1/merge",
            "ref_name": branch, "run_id": "1001", "repository": "example/sample",
            "sha": subprocess.run(head, check=True, capture_output=True, text=True).stdout.strip(),
        }  # fmt: skip
        self.done: dict[str, Ran] = {}

    def run(self, text: str, only: set[str] | None = None) -> dict[str, Ran]:
        """Run the jobs of a workflow, or those of `only`; the others count as successful."""
        jobs = yaml.safe_load(text)["jobs"]
        while waiting := [name for name in jobs if name not in self.done]:
            ready = [name for name in waiting if set(jobs[name].get("needs", ())) <= set(self.done)]
            assert ready, f"jobs wait for one another: {waiting}"
            for name in ready:
                self.done[name] = self._job(name, jobs[name]) if not only or name in only else Ran("success")
        return self.done

    def _job(self, name: str, job: Mapping[str, Any]) -> Ran:
        needs = {need: {"result": self.done[need].result} for need in job.get("needs", ())}
        context: dict[str, Any] = {"github": self.github, "needs": needs, "secrets": self.secrets, "vars": {}}
        functions = {
            "always": lambda: True,
            "cancelled": lambda: False,
            "success": lambda: all(need["result"] == "success" for need in needs.values()),
            "failure": lambda: any(need["result"] == "failure" for need in needs.values()),
        }
        condition = str(job.get("if", "success()")).removeprefix("${{").removesuffix("}}")
        if not re.search(r"\b(always|failure|cancelled|success)\(", condition):
            condition = f"success() && ({condition})"  # GitHub adds it
        if not Expression(condition, context, functions).value():
            return Ran("skipped")
        context["job"] = {"services": {n: self._service(one) for n, one in job.get("services", {}).items()}}
        return _Runner(self, name, context).run(job["steps"])

    def _service(self, service: Mapping[str, Any]) -> dict[str, Any]:
        assert "--health-cmd" in service["options"], "a service without a health check is used before it is up"
        given = self.services[service["image"].partition(":")[0]]
        return {"ports": {port: str(given[port]) for port in service["ports"]}}


class _Runner:
    """The machine of one job."""

    def __init__(self, hub: GitHub, name: str, context: Mapping[str, Any]) -> None:
        self.hub, self.context = hub, context
        self.root = hub.work / name
        self.place, self.home, self.files = self.root / "workspace", self.root / "home", self.root / "files"
        for directory in (self.home, self.files):
            directory.mkdir(parents=True)
        self.failed, self.ran = False, Ran("success")
        self.environment: dict[str, str] = {}
        self.path: list[str] = []

    def run(self, steps: list[Mapping[str, Any]]) -> Ran:
        functions = {"always": lambda: True, "cancelled": lambda: False, "success": lambda: not self.failed,
                     "failure": lambda: self.failed}  # fmt: skip
        for step in steps:
            condition = str(step.get("if", "success()")).removeprefix("${{").removesuffix("}}")
            if not Expression(condition, self.context, functions).value():
                continue
            self.ran.steps.append(step["name"])
            well = self._uses(step) if "uses" in step else self._script(step)
            self.failed = self.failed or not well
        self.ran.result = "failure" if self.failed else "success"
        page = self.files / "summary"
        self.ran.summary = page.read_text() if page.exists() else ""
        return self.ran

    def _filled(self, text: object) -> str:
        def one(found: re.Match[str]) -> str:
            return str(Expression(found[1], self.context, {}).value())

        return re.sub(r"\$\{\{(.*?)\}\}", one, str(text))

    def _uses(self, step: Mapping[str, Any]) -> bool:
        action, given = step["uses"].partition("@")[0], step.get("with", {})
        if action == "actions/checkout":
            depth = [] if given.get("fetch-depth") == 0 else ["--depth", "1"]
            subprocess.run(["git", "clone", "--quiet", *depth, self.hub.origin.as_uri(), self.place], check=True)
            here = ["git", "-C", str(self.place)]
            subprocess.run([*here, "checkout", "--quiet", "--detach", self.hub.github["sha"]], check=True)
        elif action == "actions/setup-python":
            assert re.fullmatch(r"3\.\d+", str(given["python-version"])), "1.0 and 3.10 as numbers are others"
            self.path.append(str(BESIDE))  # the Python of the tests, in which Tenfold is installed
        elif action == "actions/setup-node":
            assert shutil.which("node"), "setup-node would bring node"
        elif action == "actions/upload-artifact":
            source = self.place / given["path"]
            hidden = any(part.startswith(".") for part in Path(given["path"]).parts)
            assert given.get("include-hidden-files") or not hidden, "hidden files are left out otherwise"
            if source.is_dir():
                shutil.copytree(source, self.hub.artifacts / given["name"], symlinks=True)
        else:
            raise AssertionError(f"no action of the table: {action}")
        return True

    def _script(self, step: Mapping[str, Any]) -> bool:
        script = self.files / "script.sh"
        script.write_text(self._filled(step["run"]))
        told = {name: self.files / name.lower() for name in ("ENV", "OUTPUT", "PATH")}
        for file in told.values():
            file.write_text("")
        environment = {
            "HOME": str(self.home), "LANG": "C.UTF-8", "CI": "true", "GITHUB_ACTIONS": "true",
            "PATH": ":".join([*self.path, os.environ["PATH"]]), "RUNNER_TEMP": str(self.files),
            "GITHUB_WORKSPACE": str(self.place), "GITHUB_STEP_SUMMARY": str(self.files / "summary"),
            **{f"GITHUB_{name.upper()}": value for name, value in self.hub.github.items()},
            **{f"GITHUB_{name}": str(file) for name, file in told.items()},
            **self.hub.machine, **self.environment,
            **{name: self._filled(value) for name, value in step.get("env", {}).items()},
        }  # fmt: skip
        if step["name"] == "Install Tenfold":
            environment["PIP_NO_INDEX"] = "1"  # what is under test must not be replaced by what is published
        done = subprocess.run(
            ["bash", "-e", str(script)], cwd=self.place, env=environment, text=True, timeout=110,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.ran.output += f"--- {step['name']}\n{done.stdout}"
        for line in told["ENV"].read_text().splitlines():
            name, _, value = line.partition("=")
            self.environment[name] = value
        self.path = [*told["PATH"].read_text().split(), *self.path]
        return done.returncode == 0
