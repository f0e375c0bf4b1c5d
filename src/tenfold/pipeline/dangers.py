"""Calls that hand a user's text to an interpreter, found line by line in Node and PHP code. Pure.

A net with wide meshes, not a proof: it knows lines, not the flow of data. Python has better: ruff's S rules.
A line that is meant ends in a comment `tenfold: allow RULE reason`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tenfold.pipeline.repository import Language

ALLOW = re.compile(r"tenfold: allow ([\w-]+) +\S")


@dataclass(frozen=True, slots=True)
class Danger:
    """A rule: what matches it is `said`, and `remedy` is the way that is safe."""

    name: str
    pattern: re.Pattern[str]
    said: str
    remedy: str


def _rule(name: str, pattern: str, said: str, remedy: str) -> Danger:
    return Danger(name, re.compile(pattern), said, remedy)


TAINTED = r"\$_(?:GET|POST|REQUEST|COOKIE|SERVER|FILES)\b"
RULES: dict[Language, tuple[Danger, ...]] = {
    Language.NODE: (
        _rule("eval", r"(?<![\w.$])eval\s*\(|new\s+Function\s*\(", "runs text as code", "JSON.parse, or a table"),
        _rule("shell", r"\bexec(?:Sync)?\s*\(\s*(?:`[^`]*\$\{|[\"'][^\"']*[\"']\s*\+)", "a shell command with a value "
              "in it", "execFile(program, [arguments])"),
        _rule("shell", r"\bshell\s*:\s*true\b", "starts a shell", "leave the option out, pass arguments"),
        _rule("sql", r"\b(?:query|execute)\s*\(\s*(?:`[^`]*\$\{|[\"'][^\"']*[\"']\s*\+)", "SQL with a value in its "
              "text", "placeholders: query('… ?', [value])"),
        _rule("tls", r"rejectUnauthorized\s*:\s*false|NODE_TLS_REJECT_UNAUTHORIZED", "takes any certificate",
              "trust your CA by the option ca"),
        _rule("html", r"\.(?:innerHTML|outerHTML)\s*=(?!=)|document\.write\s*\(", "writes text as HTML",
              "textContent"),
    ),
    Language.PHP: (
        _rule("eval", r"(?<![\w>:$])(?:eval|create_function)\s*\(", "runs text as code", "a table of functions"),
        _rule("shell", r"(?<![\w>:$])(?:exec|system|shell_exec|passthru|popen|proc_open)\s*\([^)]*\$",
              "a shell command with a value in it", "proc_open with an array of arguments"),
        _rule("sql", rf"(?:query|exec|prepare)\s*\(.*{TAINTED}", "SQL with a request's value in its text",
              "prepare and execute with placeholders"),
        _rule("include", rf"\b(?:include|require)(?:_once)?\b.*{TAINTED}", "includes a file that a request names",
              "a table of names"),
        _rule("unserialize", r"(?<![\w>:$])unserialize\s*\(", "makes objects of foreign text", "json_decode"),
        _rule("html", rf"\b(?:echo|print)\b(?!.*htmlspecialchars).*{TAINTED}", "writes a request's value as HTML",
              "htmlspecialchars(value)"),
        _rule("tls", r"CURLOPT_SSL_VERIFYPEER\s*(?:=>|,)\s*(?:false|0)", "takes any certificate", "CURLOPT_CAINFO"),
    ),
}  # fmt: skip


def dangers(language: Language, path: str, text: str) -> Iterator[str]:
    """One line for each finding: path:line: rule: what it is; what is safe."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith(("//", "*", "/*", "#")):
            continue
        allowed = ALLOW.findall(line)
        for rule in RULES.get(language, ()):
            if rule.name not in allowed and rule.pattern.search(line):
                yield f"{path}:{number}: {rule.name}: {rule.said}; use {rule.remedy}"
