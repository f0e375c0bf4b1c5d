"""What tests of the MySQL driver share: short limits, and what every error of it must be. Edge."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tenfold.errors import TenfoldError
from tests.mariadb import PASSWORD

SHORT: dict[str, Any] = {"connect_s": 1, "statement_s": 5, "lock_wait_s": 1}
"""For `tests.mariadb.options_of`."""


@contextmanager
def told(kind: type[TenfoldError], words: str, retryable: bool) -> Iterator[None]:
    """The block fails with this error, which says what to do and no secret."""
    with pytest.raises(kind, match=words) as failed:
        yield
    assert type(failed.value) is kind
    assert failed.value.retryable is retryable
    assert failed.value.hint
    assert PASSWORD not in "".join(traceback.format_exception(failed.value))
