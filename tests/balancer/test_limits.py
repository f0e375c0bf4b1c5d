"""The rate limits: whom they count, when they say 429. Edge."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.balancer.site import Site, site
from tests.http import Answer, fresh_address

HOSTILE_PATHS = ("/a;b", "/{x}", "/$uri", "/\"q'", "/back\\slash", "/two words", "/li\nne", "/x.*", "/é", "/end\\")


def at_once(running: Site, count: int, path: str, method: str = "GET") -> list[Answer]:
    """`count` requests from one address at the same moment."""
    address = fresh_address()
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: running.ask(path, address, method=method), range(count)))


def statuses(answers: list[Answer]) -> Counter[int]:
    return Counter(answer.status for answer in answers)


@pytest.mark.parametrize("path", ["/login", "//login", "/%6cogin", "/x/../login?next=/"])
def test_of_15_log_ins_at_once_6_are_served_and_9_told_to_wait_12_seconds(shipped: Site, path: str) -> None:
    answers = at_once(shipped, 15, path, "POST")
    assert statuses(answers) == {200: 6, 429: 9}
    assert {a.headers["Retry-After"] for a in answers} == {None, "12"}
    assert all(a.headers["Retry-After"] == "12" for a in answers if a.status == 429)


def test_looking_at_the_log_in_page_is_not_a_log_in(shipped: Site) -> None:
    assert statuses(at_once(shipped, 15, "/login")) == {200: 15}


def test_one_client_at_its_limit_is_not_another(shipped: Site) -> None:
    assert 429 in statuses(at_once(shipped, 10, "/login", "POST"))
    assert shipped.ask("/login", method="POST").status == 200


def test_the_api_has_a_limit_of_its_own(shipped: Site) -> None:
    # 21 at once, and what 10 a second add while the test runs.
    served = statuses(at_once(shipped, 40, "/api/history"))
    assert 21 <= served[200] <= 30 and served[200] + served[429] == 40
    assert statuses(at_once(shipped, 40, "/apical")) == {200: 40}


def test_the_general_limit_holds_for_every_path_and_says_when_to_come_back(shipped: Site) -> None:
    answers = at_once(shipped, 90, "/any")
    served = statuses(answers)
    assert 51 <= served[200] < 85 and served[200] + served[429] == 90
    assert {a.headers["Retry-After"] for a in answers if a.status == 429} == {"1"}


def test_the_apps_own_429_keeps_its_own_words(shipped: Site) -> None:
    assert shipped.ask("/own").headers.get_all("Retry-After") == ["77"]


def test_a_burst_of_none_serves_one_and_paths_are_taken_by_the_letter(kind: str, tmp_path: Path) -> None:
    limits = {
        f"l{i}": {"rate": "1r/m", "paths": [quote(path, safe="/;{}$\"'\\.*")]} for i, path in enumerate(HOSTILE_PATHS)
    }
    with site(kind, tmp_path / "var", limits=limits) as running:
        for path in HOSTILE_PATHS:
            address = fresh_address()
            asked = [running.ask(quote(path), address).status for _ in range(2)]
            assert asked == [200, 429], path
            assert running.ask("/zzz", address).status == 200
            assert running.ask(quote(path + "more"), address).headers["Retry-After"] == "60"


def test_a_shipped_limit_is_replaced_by_naming_it(tmp_path: Path) -> None:
    limits = {"general": {"rate": "1000r/s", "burst": 500}, "login": {"rate": "500r/s", "burst": 100}}
    with site("packaged", tmp_path / "var", limits=limits) as running:
        assert statuses(at_once(running, 90, "/login", "POST")) == {200: 90}
