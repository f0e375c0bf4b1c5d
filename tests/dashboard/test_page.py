"""The page as a person meets it, in a real Chromium. Edge."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tenfold.dashboard.view import Agent, Backend, Inputs, Route, Service, view
from tests.browser import Browser
from tests.dashboard.sample import NOW_S, history, traffic
from tests.dashboard.served import Served
from tests.support import wait_for

EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>"\'&{name}'


def enter(browser: Browser, page: Served, path: str = "/") -> None:
    """Open the page by a fresh link, and wait until it is live."""
    browser.open(page.link)
    if path != "/":
        browser.open(page.url + path)
    wait_for(lambda: browser.attribute(".link", "data-link") == "live" or None, "the page is live")


def rows(browser: Browser, table: str) -> list[str]:
    return browser.texts(f'[data-table="{table}"] tbody th .main')


def test_numbers_move(page: Served, browser: Browser) -> None:
    enter(browser, page)
    figure = '[data-figure="totals.rate"]'
    before = browser.text('[data-now="rate"]')
    page.change(totals=traffic(777, 0.02, 0.3), history=replace(history(NOW_S + 3), rate=[555.0] * 900))
    wait_for(lambda: browser.text(figure) == "777", "the golden number follows")
    wait_for(lambda: browser.text('[data-now="rate"]') == "555" != before, "the chart follows")
    assert browser.text('[data-figure="totals.requests"]') == "46.6k"
    assert browser.text('[data-figure="totals.error_rate"]') == "2.0\u00a0%"
    assert browser.console() == []


def test_a_backend_turns_red_and_back(page: Served, browser: Browser) -> None:
    enter(browser, page)
    row = '[data-table="backends"] [data-row="backend_1"]'
    assert (browser.attribute(row, "data-tone"), browser.text(f"{row} .state")) == ("ok", "up")
    green = browser.run("return getComputedStyle(document.querySelector(arguments[0])).color", f"{row} .state")
    well = page.facts.backends or ()
    sick = replace(well[1], state="down", reason="connection refused", since_s=NOW_S - 65, traffic=None)
    page.change(backends=[well[0], sick, well[2]])
    wait_for(lambda: browser.attribute(row, "data-tone") == "bad", "the row turns red")
    assert browser.text(f"{row} .state") == "down"
    assert browser.text(f"{row} td .sub") == "connection refused, for 1 min"
    assert browser.attribute(f"{row} .state use", "href") == "#i-bad", "its shape changes too, not the colour alone"
    red = browser.run("return getComputedStyle(document.querySelector(arguments[0])).color", f"{row} .state")
    assert red != green
    assert browser.attribute("html", "data-state") == "degraded" and browser.title == "Degraded · ledger"
    assert browser.text("h1") == "Degraded: backend_1 has been down for 1 min (connection refused)."
    assert browser.text("[data-announce]") == browser.text("h1"), "and it is spoken"
    assert (browser.attribute('link[rel="icon"]', "href") or "").endswith("/icons/degraded.svg")
    page.change(backends=well)
    wait_for(lambda: browser.attribute(row, "data-tone") == "ok", "the row turns back")
    assert browser.text("h1").startswith("Healthy") and browser.title == "Healthy · ledger"
    assert browser.console() == []


def test_the_policy_is_kept_by_all_the_page_does_and_would_be_noticed_if_not(page: Served, browser: Browser) -> None:
    enter(browser, page)
    browser.drag('[data-chart="rate"] .u-over', 0.2, 0.7)
    wait_for(lambda: browser.visible("[data-zoomed]"), "dragging zooms")
    browser.click("[data-unzoom]")
    browser.click('[data-key="p95_s"] a')
    browser.click("[data-theme-next]")
    browser.click('[data-chart="latency"] summary')
    browser.click("[data-more] a")
    made = page.made
    wait_for(lambda: page.made > made + 3, "some ticks go by")
    assert browser.console() == []
    # The detector works: a script that is not ours is refused, and said so.
    browser.run(
        "const s = document.createElement('script'); s.textContent = 'window.hacked = 1'; document.body.append(s)"
    )
    assert any("Content Security Policy" in line for line in browser.console())
    assert browser.run("return window.hacked ?? null") is None


def test_the_keyboard_reaches_all_that_the_mouse_does(page: Served, browser: Browser) -> None:
    enter(browser, page)
    browser.run("document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex')")
    reached: list[str] = []
    for _ in range(40):
        browser.press("Tab")
        reached.append(browser.run("return document.activeElement.outerHTML.slice(0, 400)"))
    expected = browser.run(
        "return [...document.querySelectorAll('a, button, summary, [tabindex=\"0\"]')]"
        ".filter(e => e.checkVisibility()).map(e => e.outerHTML.slice(0, 400))"
    )
    plain = {text.split(" aria-value")[0] for text in reached}
    assert len(expected) >= 20
    assert {text.split(" aria-value")[0] for text in expected} <= plain
    visible = "return getComputedStyle(document.activeElement).outlineStyle"
    browser.run("document.querySelector('[data-pause]').focus()")
    browser.press("Tab")
    assert browser.run(visible) != "none", "one sees where one is"


def test_arrow_keys_move_one_cursor_through_all_charts_and_say_what_is_there(page: Served, browser: Browser) -> None:
    enter(browser, page)
    plot = '[data-chart="latency"] [data-plot]'
    assert browser.attribute(plot, "role") == "slider" and browser.attribute(plot, "aria-valuetext") == "newest"
    browser.run("document.querySelector(arguments[0]).focus()", plot)
    browser.press("Left", "Left")
    times = browser.texts("[data-at]")
    assert len(set(times)) == 1 and times[0], "the same moment in all four"
    told = browser.attribute(plot, "aria-valuetext") or ""
    assert told.startswith(times[0]) and "P50" in told and "P99" in told
    browser.press("Home")
    assert browser.texts("[data-at]")[3] != times[0]
    browser.press("Escape")
    assert set(browser.texts("[data-at]")) == {""}


def test_the_mouse_over_one_chart_points_at_the_same_moment_in_all(page: Served, browser: Browser) -> None:
    enter(browser, page)
    browser.hover('[data-chart="resources"] .u-over', 0.5)
    times = wait_for(lambda: [t for t in browser.texts("[data-at]") if t], "the mouse points at a moment")
    assert len(times) == 4 and len(set(times)) == 1
    assert browser.text('[data-now="rate"]') != browser.text('[data-figure="totals.rate"]')


def test_dragging_zooms_all_charts_and_live_figures_do_not_undo_it(page: Served, browser: Browser) -> None:
    enter(browser, page)
    browser.drag('[data-chart="errors"] .u-over', 0.25, 0.5)
    wait_for(lambda: browser.visible("[data-zoomed]"), "dragging zooms")
    browser.hover('[data-chart="rate"] .u-over', 0.9)
    seen = browser.text("[data-at]")
    page.change(history=history(NOW_S + 10), totals=traffic(11, 0, 0.1))
    wait_for(lambda: browser.text('[data-figure="totals.rate"]') == "11", "the page goes on")
    assert browser.visible("[data-zoomed]")
    browser.hover('[data-chart="rate"] .u-over', 0.1)
    browser.hover('[data-chart="rate"] .u-over', 0.9)
    assert browser.text("[data-at]") == seen, "each chart still shows the part that was chosen"
    browser.run("document.querySelector('[data-chart=rate] [data-plot]').focus()")
    browser.press("Escape")
    assert not browser.visible("[data-zoomed]")


def said(browser: Browser) -> dict[str, list[Any]]:
    """All that the page says, but the time and the connection."""
    script = """
      const all = (selector, take) => [...document.querySelectorAll(selector)].map(take);
      return {
        figures: all("[data-figure], [data-since], [data-now]", e => e.textContent),
        cells: all("tbody [role=row] > *", e => [e.querySelector(".main").textContent,
          e.querySelector(".sub")?.textContent ?? "", e.querySelector(".state")?.dataset.tone ?? "",
          e.querySelector("use")?.getAttribute("href") ?? ""]),
        bars: all(".bar rect", e => parseFloat(e.getAttribute("width")).toFixed(1)),
        sparks: all("[data-spark]", e => e.getAttribute("d")),
        levels: all("[data-mark]", e => e.dataset.level),
        problems: all("[data-problems] li", e => e.textContent),
        hidden: all("main p:not(.scale), main ul, main li", e => e.hidden).slice(1, -1),
        state: [document.documentElement.dataset.state, document.title],
      };
    """
    told: dict[str, list[Any]] = browser.run(script)
    return told


@pytest.mark.parametrize("state", ["well", "ill", "nothing"])
def test_the_page_says_the_same_with_and_without_scripts(page: Served, browser: Browser, state: str) -> None:
    well = page.facts
    first, second, third = well.backends or ()
    ill = replace(
        well,
        backends=[replace(first, state="down", reason="refused", traffic=None), replace(second, wanted="drain"), third],
        totals=traffic(9, 0.2, 1.0),
        history=history(NOW_S + 7, 500),
        services=[Service("redis", "down", reason="refused")],
        routes_capped=True,
        agent=replace(well.agent or Agent(), store_trouble="disk full", since_s=NOW_S - 70),
    )
    facts = {"well": well, "ill": ill, "nothing": Inputs("ledger", "production", NOW_S)}
    # From another state, so that the script has to change all that differs.
    page.facts = facts["well" if state == "ill" else "ill"]
    enter(browser, page)
    # After trouble the page gets all again, its history too, instead of what is new.
    page.broken = True
    wait_for(lambda: browser.visible("[data-notice]"), "the trouble is said")
    page.facts, page.broken = facts[state], False
    sentence = view(page.facts)["status"]["sentence"]
    wait_for(lambda: browser.text("h1") == sentence, "the page follows")
    wait_for(lambda: not browser.visible("[data-notice]"), "the trouble is over")
    live = said(browser)
    browser.scripts(False)
    browser.open(page.link)
    assert not browser.visible("[data-pause]"), "no button that does nothing"
    assert browser.attribute(".link", "data-link") == "still"
    without = said(browser)
    for part, told in without.items():
        assert live[part] == told, part
    assert len(live["figures"]) > 20 and len(live["sparks"]) == 4
    if state == "well":
        assert len(live["cells"]) > 150 and live["state"] == ["healthy", "Healthy · ledger"]
        assert all(len(path) > 300 for path in live["sparks"])


def test_sorting_works_with_and_without_scripts_and_stays_in_the_address(page: Served, browser: Browser) -> None:
    browser.scripts(False)
    browser.open(page.link)
    assert rows(browser, "routes")[0] == "/history" and len(rows(browser, "routes")) == 12
    browser.click('[data-table="routes"] [data-key="p95_s"] a')
    without = rows(browser, "routes")
    assert without[0] == "/login" and browser.attribute('[data-key="p95_s"][aria-sort]', "aria-sort") == "descending"
    browser.click("[data-more] a")
    everything = rows(browser, "routes")
    assert len(everything) == 15 and everything[:12] == without
    browser.scripts(True)
    enter(browser, page)
    browser.run("document.querySelector('[data-table=routes] [data-key=p95_s] a').focus()")
    browser.press("Enter")
    assert rows(browser, "routes") == without
    assert "sort=p95_s" in browser.address
    browser.press("Enter")
    assert browser.attribute('[data-table="routes"] [data-key="p95_s"]', "aria-sort") == "ascending"
    assert rows(browser, "routes")[0] == "/static/{path}"
    browser.click("[data-more] a")
    assert len(rows(browser, "routes")) == 15 and not browser.visible("[data-more]")
    enter(browser, page, browser.address.removeprefix(page.url))
    assert len(rows(browser, "routes")) == 15 and rows(browser, "routes")[0] == "/static/{path}"
    page.change(routes=(page.facts.routes or ())[:2])
    wait_for(lambda: len(rows(browser, "routes")) == 2, "rows that are gone go")


@pytest.mark.parametrize("scripts", [True, False])
def test_hostile_names_are_shown_as_text(page: Served, browser: Browser, scripts: bool) -> None:
    browser.scripts(scripts)
    if scripts:
        enter(browser, page)  # with harmless names first, so that the script has to write the others
    hostile = Backend(EVIL, EVIL, 1, "down", reason=EVIL)
    page.change(
        routes=[Route(EVIL, EVIL, traffic(5, 0, 0.1)), Route("GET", "{method}", traffic(3, 0, 0.1))],
        backends=[hostile, *(page.facts.backends or ())],
        services=[Service(EVIL, "down", reason=EVIL)],
        environment=EVIL,
    )
    if scripts:
        wait_for(lambda: EVIL in browser.text("h1"), "the page follows")
    else:
        browser.open(page.link)
        assert browser.text(".chip") == EVIL
    assert rows(browser, "routes") == [EVIL, "{method}"]
    assert browser.texts('[data-table="routes"] tbody .sub') == [EVIL, "GET"]
    assert rows(browser, "backends")[0] == EVIL and EVIL in browser.text("h1")
    assert browser.run("return document.querySelectorAll('main img, main script, header img').length") == 0
    assert browser.run("return window.hacked ?? null") is None
    assert browser.console() == []


def test_the_page_comes_back_by_itself_after_the_agent_was_restarted(page: Served, browser: Browser) -> None:
    enter(browser, page)
    page.stop()
    wait_for(lambda: browser.attribute(".link", "data-link") == "waiting", "it says that it waits")
    assert browser.visible("[data-notice]") and "old" in browser.text("[data-notice]")
    page.change(totals=traffic(4321, 0, 0.1))
    page.start()
    wait_for(lambda: browser.text('[data-figure="totals.rate"]') == "4,321", "new figures come")
    assert browser.attribute(".link", "data-link") == "live" and not browser.visible("[data-notice]")
    page.stop()
    wait_for(lambda: browser.attribute(".link", "data-link") == "waiting", "it says that it waits")
    page.start(key=b"another key")
    wait_for(lambda: browser.attribute(".link", "data-link") == "ended", "it says that the session is over")
    assert "tenfold status" in browser.text("[data-notice]")


def test_a_panel_that_breaks_leaves_the_others_moving(page: Served, browser: Browser) -> None:
    enter(browser, page)
    page.tamper = {"shards": [{"name": "shard_0"}]}
    page.change(totals=traffic(777, 0, 0.1))
    wait_for(lambda: browser.visible('[data-panel="shards"] > .broken'), "the panel says that it is broken")
    wait_for(lambda: browser.text('[data-figure="totals.rate"]') == "777", "the others go on")
    assert len(browser.texts(".broken")) == 1
    page.tamper = {}
    wait_for(lambda: not browser.texts(".broken"), "and it comes back when it can")
    assert rows(browser, "shards") == ["shard_0", "shard_1", "shard_2"]


def test_trouble_of_the_agent_is_said_and_goes_away(page: Served, browser: Browser) -> None:
    enter(browser, page)
    page.broken = True
    wait_for(lambda: "could not make its figures" in browser.text("[data-notice]"), "the trouble is said")
    assert browser.run("return document.documentElement.hasAttribute('data-stale')")
    page.broken = False
    wait_for(lambda: not browser.visible("[data-notice]"), "the trouble is over")


def test_a_paused_page_stands_still_until_it_goes_on(page: Served, browser: Browser) -> None:
    enter(browser, page)
    browser.click("[data-pause]")
    assert browser.attribute("[data-pause]", "aria-pressed") == "true"
    standing = browser.text('[data-figure="totals.rate"]')
    page.change(totals=traffic(777, 0, 0.1))
    made = page.made
    wait_for(lambda: page.made > made + 3, "some ticks go by")
    assert browser.text('[data-figure="totals.rate"]') == standing
    assert browser.text("[data-link-word]") == "Paused at"
    browser.click("[data-pause]")
    assert browser.text('[data-figure="totals.rate"]') == "777"


def test_the_page_tells_a_screen_reader_what_it_is(page: Served, browser: Browser) -> None:
    enter(browser, page)
    nodes = browser.devtools("Accessibility.getFullAXTree")["nodes"]
    named = {(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if not n["ignored"]}
    for title in ("Backends", "Routes", "Shards", "Services", "Collectors"):
        assert ("table", title) in named, title
    for title in ("Requests a second", "Response time", "Errors", "CPU and memory"):
        assert ("figure", title) in named and ("slider", f"{title}: arrow keys move through time") in named
    assert ("heading", "Healthy: 3 backends, 3 shards and 2 services answer.") in named
    assert ("rowheader", "backend_0 127.0.0.1:8101 · weight 3") in named or ("rowheader", "backend_0") in named
    browser.click('[data-chart="latency"] summary')
    wait_for(lambda: len(browser.texts('[data-chart="latency"] [data-minutes] tr')) >= 15, "the chart as a table")


def luminance(colour: str) -> float:
    whole = colour.lstrip("#") if len(colour) > 4 else "".join(2 * digit for digit in colour.lstrip("#"))
    parts = [int(whole[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground_in_both_schemes(page: Served, browser: Browser, scheme: str) -> None:
    browser.prefer(color_scheme=scheme, reduced_motion="reduce")
    enter(browser, page)
    read = "return getComputedStyle(document.documentElement).getPropertyValue('--' + arguments[0]).trim()"
    grounds = {
        "card": ("text", "soft", "link", "ok", "warn", "bad"),
        "back": ("text", "soft", "link"),
        "bad-back": ("text", "soft", "bad", "warn"),
        "warn-back": ("text", "soft", "warn", "bad"),
        "ok-back": ("text", "ok", "warn", "bad"),
    }
    for ground, inks in grounds.items():
        for ink in inks:
            light, dark = sorted((luminance(browser.run(read, name)) for name in (ground, ink)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground)
    assert (luminance(browser.run(read, "back")) < 0.1) == (scheme == "dark")
    still = "return getComputedStyle(document.querySelector('.link i')).animationName"
    assert browser.run(still) == "none", "reduced motion is respected"


def test_the_chosen_colours_stay(page: Served, browser: Browser) -> None:
    browser.prefer(color_scheme="light")
    enter(browser, page)
    browser.click("[data-theme-next]")
    browser.click("[data-theme-next]")
    assert browser.text("[data-theme-next]") == "Colours: dark"
    enter(browser, page)
    assert browser.attribute("html", "data-theme") == "dark"
    ground = "return getComputedStyle(document.body).backgroundColor"
    assert browser.run(ground) == "rgb(13, 16, 21)"


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1920])
def test_nothing_hangs_over_the_edge_of_any_screen(page: Served, browser: Browser, width: int) -> None:
    long = Route("DELETE", "/api/" + "very-long-name/" * 12, traffic(5, 0, 0.1))
    page.change(routes=[long, *(page.facts.routes or ())])
    browser.size(width, 900, phone=width < 700)
    enter(browser, page)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    cut = """
      return [...document.querySelectorAll("main .main, main .sub, .value, .beside, h1, h2, dd")]
        .filter(e => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.textContent)
    """
    assert browser.run(cut) == []


def test_a_resting_page_asks_for_nothing(page: Served, browser: Browser) -> None:
    enter(browser, page)
    browser.open("about:blank")
    wait_for(lambda: page.app.state.stream.watched == 0, "a page that was left lets go of its stream")
