"""The runbooks: what each alert means and what to do, as they were shipped. Edge."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
# In a wheel they lie in the package (pyproject.toml); in a checkout they are part of the docs.
PLACES = (_PACKAGE / "runbooks", _PACKAGE.parents[1] / "docs" / "runbooks")


def text_of(rule: str) -> str | None:
    """The runbook of a rule, as Markdown; None where it was not shipped."""
    for place in PLACES:
        file = place / f"{rule}.md"
        if file.is_file():
            return file.read_text(encoding="utf-8")
    return None
