"""The page beside a running platform, in a real Chromium, against the load's count and the app's timings. Edge."""

from __future__ import annotations

import json
import os
import random
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tenfold.errors import TenfoldError
from tenfold.hosts.agent_link import AgentLink
from tests.browser import Browser, driver, window
from tests.http import Client
from tests.runtime.platforms import Platform
from tests.support import wait_for

pytestmark = pytest.mark.system

APP = Path(__file__).with_name("timed.py")
REQUESTS, SEED = 400, 20261123


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    platform = Platform(tmp_path_factory.mktemp("watched") / "site", backends=3)
    platform.write(command=f"{{python}} {APP} {{port}}")
    platform.up()
    yield platform
    platform.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with driver() as url, window(url) as browser:
        yield browser


def view(site: Platform) -> dict[str, Any]:
    told: dict[str, Any] = AgentLink(site.root / "var/run/agent.sock").ask({"do": "view"})["view"]
    return told


def load(site: Platform, times_ms: list[int]) -> int:
    """Ask for each, 20 at a time, each from an address of its own; → how many were answered with 200."""

    def one(ms: int) -> bool:
        with Client(site.port) as client:
            return client.ask(f"/work/{ms}").status == 200

    with ThreadPoolExecutor(20) as crowd:
        return sum(crowd.map(one, times_ms))


def exact(site: Platform, share: float) -> float:
    """The quantile of what the backends wrote down, nearest rank."""
    lines = [line for file in site.root.glob("timings.*") for line in file.read_text().split()]
    ordered = sorted(map(float, lines))
    assert len(ordered) == REQUESTS
    return ordered[int(share * (len(ordered) - 1) + 0.5)]


def test_the_page_agrees_with_the_load_and_with_the_apps_own_timings(site: Platform, browser: Browser) -> None:
    link = json.loads((site.root / "var/run/agent.json").read_text())
    browser.open(f"{link['url'].rstrip('/')}/enter?token={link['token']}")
    wait_for(lambda: browser.attribute(".link", "data-link") == "live" or None, "the page is live", 20)
    # Ninety-odd per cent stand close together, so that the quantile does not hang on one request.
    chance = random.Random(SEED)
    times = [chance.choice((30, 40, 60, 90)) if n % 10 else 240 for n in range(REQUESTS)]
    assert load(site, times) == REQUESTS
    told = wait_for(lambda: counted(site, REQUESTS), "log and recorders have told of all requests", 20)
    assert told["totals"]["requests"] == REQUESTS, "exactly, without the health probes"
    (route,) = (route for route in told["routes"] if route["route"] == "/work/{ms}")
    assert route["count"] == REQUESTS
    for name, share in (("p50_s", 0.50), ("p95_s", 0.95)):
        assert route[name] == pytest.approx(exact(site, share), rel=0.011), (name, SEED)
    # nginx writes milliseconds, and its own share of the time comes on top.
    assert told["totals"]["p95_s"] == pytest.approx(exact(site, 0.95), rel=0.011, abs=0.01)
    shown = '[data-figure="totals.requests"]'
    wait_for(lambda: browser.text(shown) == str(REQUESTS), "the page shows the count")
    assert sum(backend["rate"] is not None for backend in told["backends"]) == 3
    assert browser.console() == []


def test_a_killed_backend_turns_red_and_back(site: Platform, browser: Browser) -> None:
    row = '[data-table="backends"] [data-row="backend_1"]'
    wait_for(lambda: browser.attribute(row, "data-tone") == "ok", "all is well", 30)
    os.kill(site.pid("backend_1"), signal.SIGKILL)
    wait_for(lambda: browser.attribute(row, "data-tone") == "bad", "the row turns red", 10)
    wait_for(lambda: browser.attribute(row, "data-tone") == "ok", "and back", 20)


def test_a_killed_agent_comes_back_and_so_does_the_page(site: Platform, browser: Browser) -> None:
    killed = site.pid("agent")
    os.kill(killed, signal.SIGKILL)
    assert load(site, [20] * 10) == 10  # while it is away
    wait_for(lambda: site.pid("agent") not in (killed, 0), "the supervisor starts it again", 20)
    assert load(site, [20] * 10) == 10
    # The window of the page begins anew; the log is read on from where the last agent was.
    told = wait_for(lambda: counted(site, 20, recorded=False), "it has read what came while it was away", 20)
    assert told["totals"]["requests"] == 20
    wait_for(lambda: browser.attribute(".link", "data-link") == "live" or None, "the open page is live again", 30)


def counted(site: Platform, at_least: int, recorded: bool = True) -> dict[str, Any] | None:
    """The view, once the log (and the recorders) have told of so many requests."""
    try:
        told = view(site)
    except TenfoldError:  # it is just starting
        return None
    seen = [told["totals"]["requests"]] + [sum(route["count"] for route in told["routes"])] * recorded
    return told if all(count is not None and count >= at_least for count in seen) else None


def test_the_page_is_for_who_has_the_link(site: Platform) -> None:
    url = json.loads((site.root / "var/run/agent.json").read_text())["url"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{url.rstrip('/')}/view.json", timeout=5)
    assert refused.value.code in (401, 403)
    refused.value.close()
