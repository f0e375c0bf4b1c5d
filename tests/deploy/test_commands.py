"""Commands and addresses of [deploy] that cannot work are refused with the file, not in the middle of a deploy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tenfold.errors import ConfigError
from tests.deploy.releases import Repository


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"install": "sh -c 'x"}, "deploy.install: has a quote that is not closed"),
        ({"build": ["make", 'sh -c "x']}, r"deploy.build\[1\]: has a quote that is not closed"),
        ({"build": [""]}, r"deploy.build\[0\]: holds no program"),
        ({"build": ["make && make check"]}, '"&&" needs a shell'),
        ({"build": ["{pyton} build.py"]}, "write {python}"),
        ({"repository": "https://ann:hunter2@git.example/shop.git"}, "deploy.repository: holds a password"),
    ],
)
def test_what_cannot_be_run_is_refused_with_the_file(settings: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        Repository(tmp_path, **settings).topology()
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"install": ""},
        {"install": "{host_python} -m venv .venv", "build": ["{python} build.py", "sh -c 'make && make check'"]},
        {"repository": "git@git.example:shop.git"},
        {"repository": "../shop"},
    ],
)
def test_what_can_be_run_is_not(settings: dict[str, Any], tmp_path: Path) -> None:
    assert Repository(tmp_path, **settings).topology().deploy
