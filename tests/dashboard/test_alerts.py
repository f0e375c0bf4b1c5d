"""Alerts on the page: in words, by forms that only this page can send, and in a real Chromium. Edge."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tenfold.dashboard import forms
from tenfold.dashboard.alerts import shown
from tenfold.dashboard.inputs import Alerts
from tenfold.dashboard.view import view
from tenfold.dashboard.wording import NBSP
from tenfold.errors import NotifyError
from tests.browser import Browser
from tests.dashboard.sample import NOW_S, alerts, sample
from tests.dashboard.served import Served
from tests.support import wait_for

FORM = "application/x-www-form-urlencoded"
ID = "shard_down:shard_1"


# --- words ---


def test_an_alert_is_said_in_the_operators_words_and_units() -> None:
    told = shown(alerts(NOW_S), NOW_S)
    assert told["sentence"] == "Alerts: 1 critical and 2 warning."
    down, slow, disk, cpu, explained = told["items"]
    assert (down["tone"], down["quiet"], down["sub"]) == ("bad", False, "shard_down · shard_1 · for 12\u00a0min")
    assert slow["sub"].endswith("1.71\u00a0s (limit 2.00\u00a0s)")
    assert slow["note"] == "Well again for now. Acknowledged by ann@web-1: a report runs until noon."
    assert not slow["can_ack"] and slow["can_silence"] and slow["quiet"]
    assert (
        disk["sub"].endswith("81\u00a0% (limit 80\u00a0%)")
        and disk["note"] == "Silenced for another 1\u00a0h 30\u00a0min."
    )
    assert disk["can_ack"] and not disk["can_silence"]
    assert cpu["tone"] == "off" and not cpu["can_ack"] and cpu["note"].startswith("Waits")
    assert explained["note"] == "Explained by shard_down:shard_1." and explained["quiet"]
    (silence,) = told["silences"]
    assert silence["title"] == "rule disk, target var"
    assert silence["sub"] == "for another 1\u00a0h 30\u00a0min, by bob@web-1: a larger disk comes at four"
    assert shown(Alerts(), NOW_S)["sentence"] == "No alert."


def test_notices_that_have_not_arrived_are_said_with_the_reason_and_where_to_look() -> None:
    assert shown(Alerts(), NOW_S)["untold"] is None
    slack = {
        "channel": "slack",
        "waiting": 2,
        "dead": 1,
        "since_s": NOW_S - 720,
        "reason": "hooks.example answered 503",
    }
    mail = {"channel": "email", "waiting": 0, "dead": 4, "since_s": NOW_S - 7200, "reason": "it refuses the account"}
    assert shown(Alerts(undelivered=[slack, mail]), NOW_S)["untold"].replace(NBSP, " ") == (
        "Notices have not arrived: slack, 3 for 12 min, 1 of them given up (hooks.example answered 503); "
        "email, 4 for 2 h, given up (it refuses the account). Try: tenfold notify list"
    )


def test_what_is_critical_and_nobody_has_taken_on_is_no_healthy_platform() -> None:
    def state(**more: object) -> str:
        item = {**alerts(NOW_S).items[2], "severity": "critical", "silenced_until_s": None, **more}
        told = view(replace(sample(), alerts=Alerts(items=[item])))["status"]
        assert told["state"] == "healthy" or "the disk of var is 81.3 % full" in told["sentence"]
        return str(told["state"])

    assert state() == "degraded"
    assert state(acked_by="ann") == state(silenced_until_s=NOW_S + 60) == state(inhibited_by="x") == "healthy"
    assert state(severity="warning") == state(state="pending") == state(state="recovering") == "healthy"
    assert state(rule="shard_down") == "healthy", "what is down is said from what is down now"


def test_a_silence_until_tomorrow_ends_there_at_eight_by_the_machines_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    def ends(year: int, month: int, day: int, hour: int) -> tuple[int, ...]:
        now_s = time.mktime((year, month, day, hour, 0, 0, 0, 0, -1))
        given = forms.asked("silence", {"id": "x", "for_s": "tomorrow"}, now_s)
        return time.localtime(now_s + float(given["for_s"]))[2:5]

    try:
        for zone in ("Europe/Berlin", "UTC", "America/New_York"):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            assert ends(2026, 3, 28, 23) == (29, 8, 0), "the night in which an hour is missing in Berlin"
            assert ends(2026, 10, 24, 12) == (25, 8, 0), "the night that has one twice"
            assert ends(2026, 12, 31, 0) == (1, 8, 0)
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()


@pytest.mark.parametrize(
    ("action", "fields"),
    [("ack", {}), ("ack", {"id": "x" * 401}), ("ack", {"id": "x", "note": "n" * 501}), ("silence", {"id": "x"}),
     ("silence", {"id": "x", "for_s": "99999999"}), ("silence", {"id": "x", "for_s": "nan"}),
     ("unsilence", {"id": " "})],
)  # fmt: skip
def test_what_no_form_of_ours_can_say_is_refused(action: str, fields: Mapping[str, str]) -> None:
    with pytest.raises(NotifyError) as refused:
        forms.asked(action, fields, NOW_S)
    assert refused.value.hint


# --- forms ---


class Person:
    """Somebody who is let in, and has read the page."""

    def __init__(self, page: Served) -> None:
        self.page, self.headers = page, page.session()
        _, body = page.ask("/", headers=self.headers)
        found = re.search(rb'name="csrf" value="([0-9a-f]{64})"', body)
        assert found is not None
        self.token = found[1].decode()

    def send(
        self,
        action: str,
        fields: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> tuple[http.client.HTTPResponse, bytes]:
        sent = body if body is not None else urlencode({"csrf": self.token, **fields}).encode()
        return self.page.ask(
            f"/alerts/{action}", "POST", {**self.headers, "Content-Type": FORM, **(headers or {})}, sent
        )


def test_a_form_does_what_it_says_and_leads_back(page: Served) -> None:
    ann = Person(page)
    answer, _ = ann.send("ack", {"id": ID, "note": "I look at it", "x": "y"})
    assert (answer.status, answer.headers["Location"]) == (303, "/#alerts")
    ann.send("silence", {"id": ID, "for_s": "14400", "note": "disk swap"})
    ann.send("unsilence", {"id": "s3"})
    who = page.acted[0][2]
    assert re.fullmatch(r"page [0-9a-f]{6}", who)
    assert page.acted == [
        ("ack", {"id": ID, "note": "I look at it"}, who),
        ("silence", {"id": ID, "for_s": "14400", "note": "disk swap"}, who),
        ("unsilence", {"id": "s3"}, who),
    ]
    assert Person(page).send("unsilence", {"id": "s3"})[0].status == 303
    assert page.acted[-1][2] != who, "another browser is somebody else"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Cookie": ""}, 401),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),  # another port of this machine: the same site to a cookie
        ({"Origin": "https://127.0.0.1:{port}"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Host": "evil.example"}, 421),
    ],
)
def test_a_form_from_elsewhere_does_nothing(page: Served, headers: dict[str, str], status: int) -> None:
    given = {name: value.format(port=page.port) for name, value in headers.items()}
    answer, _ = Person(page).send("ack", {"id": ID}, given)
    assert answer.status == status and page.acted == []


def test_the_pages_own_origin_is_taken(page: Served) -> None:
    own = {"Origin": f"http://127.0.0.1:{page.port}", "Sec-Fetch-Site": "same-origin"}
    assert Person(page).send("ack", {"id": ID}, own)[0].status == 303


def test_a_token_is_good_for_its_own_session_only(page: Served) -> None:
    ann, bob = Person(page), Person(page)
    assert ann.token != bob.token
    for token in ("", "x", bob.token, ann.token[:-1], ann.token + "0"):
        answer, body = ann.send("ack", {"id": ID, "csrf": token})
        assert answer.status == 403 and b"Reload" in body, token
    assert page.acted == []
    page.stop()
    page.start()
    assert ann.send("ack", {"id": ID})[0].status == 303, "a page stays good over a restart of the agent"


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe", b"id=" + b"x" * 20_000, b"&".join(b"a%d=1" % n for n in range(50)), b"%zz=%ff"]
)
def test_a_body_that_is_no_form_does_nothing(page: Served, body: bytes) -> None:
    ann = Person(page)
    answer, _ = ann.send("ack", {}, body=f"csrf={ann.token}&id={ID}&".encode() + body if body else b"x")
    assert answer.status in (400, 403, 413) or body in (b"",) or body.startswith(b"%zz")
    assert page.acted == [] or body.startswith(b"%zz")


def test_there_is_nothing_else_to_do_and_nothing_by_get(page: Served) -> None:
    ann = Person(page)
    assert ann.send("explode", {"id": ID})[0].status == 404
    assert page.ask(f"/alerts/ack?csrf={ann.token}&id={ID}", headers=ann.headers)[0].status == 405
    assert page.acted == []


def test_a_refusal_is_shown_with_its_remedy_and_a_bug_without_a_word_of_it(page: Served) -> None:
    ann = Person(page)
    page.refusal = NotifyError("<b>it is over</b>", hint="tenfold alerts")
    answer, body = ann.send("ack", {"id": ID})
    assert (
        answer.status == 409
        and b"&lt;b&gt;it is over&lt;/b&gt; Try: tenfold alerts" in body
        and b'href="/#alerts"' in body
    )
    answer, body = ann.send("ack", {"id": ID}, {"Accept": "application/json"})
    assert (answer.status, json.loads(body)) == (
        409, {"ok": False, "error": "<b>it is over</b>", "hint": "tenfold alerts"})  # fmt: skip
    page.refusal = ValueError("a secret that no page may show")
    answer, body = ann.send("ack", {"id": ID})
    assert answer.status == 500 and b"secret" not in body


# --- in a browser ---


def enter(browser: Browser, page: Served) -> None:
    browser.open(page.link)
    wait_for(lambda: browser.attribute(".link", "data-link") == "live" or None, "the page is live")


def items(browser: Browser) -> list[tuple[str, str, str, str]]:
    found = browser.run(
        "return [...document.querySelectorAll('[data-alerts] > li')].map(e => [e.dataset.alert, e.dataset.tone,"
        " e.querySelector('.state use').getAttribute('href'), [...e.querySelectorAll('p:not([hidden])')]"
        ".map(p => p.textContent).join('|')])"
    )
    return [tuple(one) for one in found]


def acknowledged(name: str) -> Alerts:
    told = alerts(NOW_S)
    changed = [{**item, "acked_by": "page"} if item["id"] == name else item for item in told.items]
    return replace(told, counts={"critical": 0, "warning": 2, "info": 1}, items=changed[:2], silences=())


def test_alerts_come_change_and_go_while_one_looks(page: Served, browser: Browser) -> None:
    page.change(alerts=Alerts())
    enter(browser, page)
    assert browser.text("[data-alerts-empty]") == "No alert." and not browser.visible("[data-alert-counts]")
    page.change(alerts=alerts(NOW_S))
    wait_for(lambda: len(items(browser)) == 5, "alerts come")
    assert [(tone, shape) for _, tone, shape, _ in items(browser)][:3] == [
        ("bad", "#i-bad"), ("warn", "#i-warn"), ("warn", "#i-warn")]  # fmt: skip
    visible = (
        "return [...document.querySelectorAll('[data-alert-counts] a')].filter(e => !e.hidden).map(e => e.innerText)"
    )
    assert browser.run(visible) == ["1 critical", "2 warning"]
    assert "critical: shard_1 is down (no such file)" in browser.text("[data-alerts-announce]"), "it is spoken"
    page.change(alerts=acknowledged(ID))
    wait_for(lambda: "Acknowledged by page." in items(browser)[0][3], "it is seen that somebody acts")
    assert len(items(browser)) == 2 and not browser.visible("[data-silences]")
    assert browser.run(visible) == ["2 warning", "1 info"]
    assert not browser.visible(f'[data-alert="{ID}"] [data-can="can_ack"]')
    page.change(alerts=None)
    wait_for(lambda: "cannot tell" in browser.text("[data-alerts-empty]"), "not known is told from none")
    assert browser.console() == []


def test_an_alert_is_acknowledged_with_a_note_and_the_page_stays_as_it_is(page: Served, browser: Browser) -> None:
    enter(browser, page)
    item = f'[data-alert="{ID}"]'
    browser.click(f"{item} details:nth-of-type(1) summary")
    browser.run("document.querySelector(arguments[0]).focus()", f'{item} [name="note"]')
    browser.press(*"I do")
    made = page.made
    wait_for(lambda: page.made > made + 3, "some ticks go by")
    value = "return document.querySelector(arguments[0]).value"
    assert browser.run(value, f'{item} [name="note"]') == "I do", "what is being written stays"
    browser.run("window.stays = 1")
    browser.press("Enter")
    wait_for(lambda: page.acted, "the agent is asked")
    assert page.acted[0][:2] == ("ack", {"id": ID, "note": "I do"})
    wait_for(lambda: not browser.visible(f'{item} [name="note"]'), "the form closes")
    assert browser.run("return window.stays") == 1 and browser.address == page.url + "/"
    assert browser.run("return document.activeElement.dataset.alert") == ID, "the keyboard stays near"
    assert browser.console() == []


def test_a_silence_is_made_and_ended_and_a_refusal_is_said_beside_it(page: Served, browser: Browser) -> None:
    enter(browser, page)
    item = f'[data-alert="{ID}"]'
    page.refusal = NotifyError("it is over", hint="look again")
    browser.click(f"{item} details:nth-of-type(2) summary")
    browser.click(f'{item} [value="14400"]')
    browser.click(f"{item} details:nth-of-type(2) button")
    wait_for(lambda: browser.text(f"{item} [role=alert]") == "it is over Try: look again", "the refusal is said")
    page.refusal = None
    browser.console()  # that the answer was 409
    browser.click(f"{item} details:nth-of-type(2) button")
    wait_for(lambda: len(page.acted) == 2, "the agent is asked")
    assert page.acted[1][:2] == ("silence", {"id": ID, "for_s": "14400", "note": ""})
    browser.click('[data-silence="s3"] button')
    wait_for(lambda: len(page.acted) == 3, "the agent is asked")
    assert page.acted[2][:2] == ("unsilence", {"id": "s3"})
    assert browser.attribute('[data-silence="s3"] button', "aria-label") == "End the silence of rule disk, target var"
    assert browser.console() == []


def test_without_scripts_the_same_is_done_by_plain_forms(page: Served, browser: Browser) -> None:
    browser.scripts(False)
    browser.open(page.link)
    assert not browser.visible("[data-alert] details")
    browser.click(f'[data-alert="{ID}"] a.plain')
    own = (f"{page.url}/alerts?id={quote(ID, safe='')}", f"{page.url}/alerts?id={ID}")
    wait_for(lambda: browser.address in own, "the link leads to the alert's own page")
    assert browser.text("h1") == "shard_1 is down (no such file)"
    assert browser.run("return document.querySelector('meta[http-equiv]')") is None, "what is being written stays"
    browser.click('[name="note"]')
    browser.press(*"ok")
    browser.click('[action="/alerts/ack"] button')
    wait_for(lambda: browser.address == page.url + "/#alerts", "it leads back")
    assert page.acted[0][:2] == ("ack", {"id": ID, "note": "ok"})
    browser.open(f"{page.url}/alerts?id={quote(ID)}")
    browser.click('[value="tomorrow"]')
    browser.click('[action="/alerts/silence"] button')
    # A form is sent when the browser gets to it, which may be after the click was answered.
    wait_for(lambda: len(page.acted) == 2, "the agent is asked")
    wait_for(lambda: browser.address == page.url + "/#alerts", "it leads back")
    assert page.acted[1][0] == "silence" and 8 * 3600 <= float(page.acted[1][1]["for_s"]) <= 33 * 3600
    browser.open(page.url)
    browser.click('[data-silence="s3"] button')
    wait_for(lambda: len(page.acted) == 3, "the agent is asked")
    wait_for(lambda: browser.address == page.url + "/#alerts", "it leads back")
    page.refusal = NotifyError("it is over", hint="look again")
    browser.open(f"{page.url}/alerts?id={quote(ID)}")
    browser.click('[action="/alerts/ack"] button')
    wait_for(lambda: "it is over Try: look again" in browser.text("main"), "it says why not")
    browser.click("main a")
    wait_for(lambda: browser.address == page.url + "/#alerts", "the link leads back")
    browser.open(f"{page.url}/alerts?id=gone")
    assert "There is no such alert now" in browser.text("main")


def test_the_alerts_say_the_same_with_and_without_scripts(page: Served, browser: Browser) -> None:
    page.change(alerts=acknowledged(ID))
    enter(browser, page)
    assert not browser.visible("[data-untold]")
    failing = {"channel": "slack", "waiting": 2, "dead": 0, "since_s": NOW_S - 60, "reason": "it <b>answered</b> 503"}
    page.change(alerts=replace(alerts(NOW_S), undelivered=[failing]))
    wait_for(lambda: len(items(browser)) == 5, "the script changes all that differs")
    assert browser.visible("[data-untold]")
    untold = browser.text("[data-untold]")
    assert untold.startswith("Notices have not arrived: slack, 2 for") and "it <b>answered</b> 503" in untold
    attributes = (
        "return [...document.querySelectorAll('.alerts li')].map(e => [...e.querySelectorAll('[hidden]')]"
        ".map(h => h.dataset.can ?? h.className).concat(e.hasAttribute('data-quiet')))"
    )
    live, hidden = items(browser), browser.run(attributes)
    silences = browser.texts("[data-silences] p")
    browser.scripts(False)
    browser.open(page.url)
    assert (
        items(browser) == live and browser.run(attributes) == hidden and browser.texts("[data-silences] p") == silences
    )
    assert browser.text("[data-untold]") == untold


@pytest.mark.parametrize("scripts", [True, False])
def test_hostile_alerts_are_shown_as_text(page: Served, browser: Browser, scripts: bool) -> None:
    evil = '"><img src=x onerror="window.hacked=1">\'&amp;'
    told = alerts(NOW_S)
    item = {
        **told.items[0],
        **dict.fromkeys(("id", "rule", "target", "summary", "runbook", "acked_by", "ack_note"), evil),
    }
    silence = {"id": evil, "matches": {"rule": evil}, "until_s": NOW_S + 60, "who": evil, "comment": evil}
    page.change(alerts=Alerts())
    browser.scripts(scripts)
    if scripts:
        enter(browser, page)
        page.change(alerts=replace(told, items=[item], silences=[silence]))
        wait_for(lambda: items(browser), "it comes")
    else:
        page.change(alerts=replace(told, items=[item], silences=[silence]))
        browser.open(page.link)
    assert items(browser)[0][0] == evil and evil in browser.text("[data-alerts] .main")
    assert evil in browser.text("[data-silences] .main")
    assert browser.run("return document.querySelectorAll('.alerts img').length") == 0
    assert browser.run("return window.hacked ?? null") is None
    browser.open(f"{page.url}/alerts?id={quote(evil)}")
    assert browser.text("h1") == evil
    assert browser.run("return document.querySelectorAll('main img').length") == 0


@pytest.mark.parametrize("width", [320, 700, 1280])
def test_forms_that_are_open_hang_over_no_edge(page: Served, browser: Browser, width: int) -> None:
    told = alerts(NOW_S)
    long = {**told.items[0], "summary": "x" * 120, "runbook": "docs/runbooks/" + "y" * 80 + ".md", "target": "z" * 90}
    page.change(alerts=replace(told, items=[long, *told.items[1:]]))
    browser.size(width, 900, phone=width < 700)
    enter(browser, page)
    browser.run("for (const one of document.querySelectorAll('.alerts details')) one.open = true")
    assert browser.run("return document.documentElement.scrollWidth") <= width
    cut = """
      return [...document.querySelectorAll(".alerts p, .alerts input, .alerts button, .alerts summary, .alerts label")]
        .filter(e => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.outerHTML)
    """
    assert browser.run(cut) == []


def test_a_screen_reader_is_told_what_each_control_does(page: Served, browser: Browser) -> None:
    enter(browser, page)
    browser.click(f'[data-alert="{ID}"] details:nth-of-type(2) summary')
    nodes: list[dict[str, Any]] = browser.devtools("Accessibility.getFullAXTree")["nodes"]
    named = {(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if not n["ignored"]}
    assert ("region", "Alerts") in named and ("heading", "Alerts") in named
    assert ("radio", "until tomorrow, 8:00") in named and ("textbox", "Why") in named
    assert ("button", "End the silence of rule disk, target var") in named
    assert ("group", "Silence for") in named or ("radiogroup", "Silence for") in named


def test_a_page_that_can_do_nothing_has_no_forms(page: Served) -> None:
    ann = Person(page)
    page.stop()
    page.start(acts=False)
    try:
        answer, body = page.ask("/", headers=ann.headers)
        assert answer.status == 200 and b"shard_1 is down" in body and b"<form" not in body
        assert ann.send("ack", {"id": ID})[0].status == 404 and page.acted == []
    finally:
        page.stop()
        page.start()
