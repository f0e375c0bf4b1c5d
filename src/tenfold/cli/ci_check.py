"""tenfold ci check: lints the workflow, and compares it with what would be rendered. Edge."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from tenfold.cli import ci_place
from tenfold.cli.ci_init import keep_pins
from tenfold.cli.ci_tools import Workshop
from tenfold.cli.options import Invocation, common
from tenfold.errors import ConfigError, PlatformError
from tenfold.pipeline.lint import mistakes, unpinned
from tenfold.pipeline.workflow import render

LINT_S = 120
REMEDY = "tenfold ci init renders it anew; tenfold ci pin holds actions by their commits"


@click.command()
@common
def check(run: Invocation) -> int:
    """Say everything that is wrong with the workflow: by Tenfold's rules, zizmor, actionlint; and where it has drifted.

    Actions that are held by a tag are counted and listed, and are no mistake until `tenfold ci pin` can be run;
    nothing else passes.
    """
    base = ci_place.root(run)
    path, text = ci_place.workflow(base)
    if text is None:
        raise ConfigError(f"there is no {path}", hint="tenfold ci init")
    found, loose = lint(path, text, Workshop(base, run))
    found += list(_drift(run, text))
    run.result({"ok": not found, "findings": found, "unpinned": loose, "hint": REMEDY if found else ""})
    if loose:
        run.say(f"{len(loose)} held by a tag, not by a commit: {', '.join(loose)}; tenfold ci pin")
    if not found:
        run.say(f"{path} is right")
    elif not run.json:
        raise ConfigError("\n".join(f"{path.name}: {line}" for line in found), hint=REMEDY)
    return 1 if found else 0


def lint(path: Path, text: str, workshop: Workshop, *, rendered: bool = True) -> tuple[list[str], list[str]]:
    """(every finding, actions held by a tag) of one workflow.

    rendered  it is the one that Tenfold renders, so Tenfold's own rules hold for it, too. One of the user's may need a
              right to write, or a comment to a linter with the reason why.
    """
    tree = parsed(text)
    found = list(mistakes(text, tree)) if rendered else []
    loose = unpinned(text)
    found += _actionlint(path, workshop)
    found += _zizmor(path, workshop, {use.partition("@")[0] for use in loose})
    return list(dict.fromkeys(found)), loose


def parsed(text: str) -> Any:
    """What the YAML holds. Raises ConfigError where it is none, PlatformError where nothing here can read YAML."""
    try:
        import yaml
    except ImportError:
        raise PlatformError("PyYAML is not installed", hint="pip install 'tenfold[ci]'") from None
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"the workflow is no YAML: {error}", hint="tenfold ci init") from None


def _drift(run: Invocation, text: str) -> Iterator[str]:
    choices = ci_place.choices_in(text)
    if choices is None:
        yield "it was not rendered by Tenfold; tenfold ci init writes one"
        return
    wanted = keep_pins(render(ci_place.planned(run, choices)), text).splitlines()
    is_now = text.splitlines()
    if wanted != is_now:
        line = next((n for n, (a, b) in enumerate(zip(is_now, wanted, strict=False), 1) if a != b),
                    min(len(is_now), len(wanted)) + 1)  # fmt: skip
        yield f"line {line}: it is not what would be rendered now; tenfold ci init shows the difference"


def _actionlint(path: Path, workshop: Workshop) -> list[str]:
    form = "{{range $e := .}}{{$e.Line}}:{{$e.Column}}: {{$e.Message}} [{{$e.Kind}}]\n{{end}}"
    # Without shellcheck and pyflakes: what they say would depend on whether this machine has them.
    done = _run([workshop.find("actionlint"), "-no-color", "-shellcheck=", "-pyflakes=", "-format", form, str(path)])
    if done.returncode not in (0, 1):
        raise PlatformError(f"actionlint failed: {done.stderr.strip()[-500:]}", hint="run it by hand")
    return [f"actionlint: {line}" for line in done.stdout.splitlines() if line.strip()]


def _zizmor(path: Path, workshop: Workshop, loose: set[str]) -> list[str]:
    command = [workshop.find("zizmor"), "--offline", "--no-progress", "--no-config", "--format", "json", str(path)]
    done = _run(command)
    try:
        findings = json.loads(done.stdout or "null")
        assert isinstance(findings, list)  # noqa: S101
    except (ValueError, AssertionError):
        raise PlatformError(f"zizmor failed: {done.stderr.strip()[-500:]}", hint=" ".join(command)) from None
    told = []
    for finding in findings:
        text = json.dumps(finding)
        if finding["ident"] == "unpinned-uses" and any(f"{action}@" in text for action in loose):
            continue  # counted and listed
        told.append(f"zizmor: {_line(finding)}: {finding['desc']} [{finding['ident']}]")
    return told


def _line(finding: dict[str, Any]) -> str:
    for location in finding.get("locations", ()):
        start = location.get("concrete", {}).get("location", {}).get("start_point", {})
        if "row" in start:
            return f"{start['row'] + 1}:{start.get('column', 0) + 1}"
    return "?"


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=LINT_S, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PlatformError(f"{command[0]} could not be run: {error}", hint="run it by hand") from None
