"""Every file in tests/cases/config is told exactly the mistakes that its first lines name. Edge."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenfold.errors import ConfigError
from tenfold.topology.load import survey

CASES = sorted((Path(__file__).parent.parent / "cases" / "config").glob("*.toml"))
MARK = "# mistake: "


def told(file: Path) -> list[str]:
    """The lines that `tenfold check` would print, without the file's name."""
    try:
        lines = list(survey(file, environ={}).mistakes)
    except ConfigError as error:
        lines = str(error).splitlines()
    assert all(line.startswith(f"{file.name}: ") for line in lines)
    return [line.removeprefix(f"{file.name}: ") for line in lines]


def test_there_are_cases() -> None:
    assert len(CASES) > 30


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_a_file_is_told_all_its_mistakes_at_once(file: Path) -> None:
    lines = file.read_text().splitlines()
    assert lines[0].startswith("# why: ")
    assert told(file) == [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_no_mistake_repeats_a_password(file: Path) -> None:
    assert "hunter2" not in "\n".join(told(file)).replace("hunter2)", "")
