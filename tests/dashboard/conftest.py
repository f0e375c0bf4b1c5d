"""A served page, and one browser for all tests that look at it. Edge."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser import Browser, driver, window
from tests.dashboard.served import Served


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    page = Served()
    try:
        yield page
    finally:
        page.stop()


@pytest.fixture
def page(served: Served) -> Served:
    """The module's page, with the facts it began with."""
    served.reset()
    return served


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with driver() as url, window(url) as browser:
        browser.forget()
        yield browser


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """The module's browser, as good as new."""
    yield chromium
    chromium.forget()
