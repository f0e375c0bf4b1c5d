"""From an alert of the real agent to a form on its page, and back to the command and the trail. Edge."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from tests.runtime.agents import LoneAgent, log_line
from tests.support import wait_for

FILE = "[monitor]\nerror_ratio = { for_s = 0.0 }\n"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[LoneAgent]:
    """An agent that reads of failed requests."""
    alone = LoneAgent(tmp_path / "site", backends=1, more=FILE)
    alone.start()
    alone.write(*(log_line(alone.ports[0], status=500) for _ in range(40)))
    yield alone
    alone.close()


def ask(url: str, path: str, cookie: str = "", form: dict[str, str] | None = None) -> tuple[int, str, str]:
    """→ (status, body, the session it opened)"""
    at = urlsplit(url)
    connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=20)
    headers = {"Cookie": cookie, "Accept": "application/json" if form else "text/html"}
    if form:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    connection.request("POST" if form else "GET", path, urlencode(form) if form else None, headers)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body, (answer.headers["Set-Cookie"] or "").partition(";")[0]


def test_who_acknowledges_on_the_page_is_heard_by_the_agent_and_stands_on_the_trail(agent: LoneAgent) -> None:
    def firing() -> str | None:
        items = agent.ask("alerts", action="list")["alerts"]["items"]
        return next((i["id"] for i in items if i["rule"] == "error_ratio" and i["state"] == "firing"), None)

    name = wait_for(firing, "the failed requests alert", 30)
    url = agent.ask("status")["page"]
    link = agent.ask("link")["link"]
    _, _, cookie = ask(url, link.removeprefix(url))
    _, body, _ = ask(url, "/", cookie)
    assert name in body
    found = re.search('name="csrf" value="([0-9a-f]{64})"', body)
    assert found is not None
    form = {"csrf": found[1], "id": name, "note": "I look at it"}
    assert json.loads(ask(url, "/alerts/ack", cookie, form)[1]) == {"ok": True}
    (item,) = [i for i in agent.ask("alerts", action="list")["alerts"]["items"] if i["id"] == name]
    assert item["ack_note"] == "I look at it" and item["acked_by"].startswith("page ")
    assert "Acknowledged by page " in ask(url, "/", cookie)[1], "and is seen at once"
    assert ask(url, "/alerts/silence", cookie, {**form, "for_s": "3600"})[0] == 200
    (silence,) = agent.ask("alerts", action="list")["alerts"]["silences"]
    assert ask(url, "/alerts/unsilence", cookie, {**form, "id": silence["id"]})[0] == 200
    status, body, _ = ask(url, "/alerts/unsilence", cookie, {**form, "id": silence["id"]})
    assert status == 409 and json.loads(body)["error"], "it is over already"
    trail = [json.loads(line) for line in (agent.root / "var/audit.jsonl").read_text().splitlines()]
    acts = [(one["did"], one["who"]) for one in trail if one["did"].startswith("alerts.")]
    assert [did for did, _ in acts] == ["alerts.ack", "alerts.silence", "alerts.unsilence"]
    assert {who for _, who in acts} == {item["acked_by"]}
