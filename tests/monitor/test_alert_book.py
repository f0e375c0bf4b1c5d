"""Acknowledgements, silences, alerts that explain others, and the state that survives. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.errors import NotifyError
from tenfold.monitor.alerts.book import LINGER_S, REMEMBER, SAMPLES, Book
from tenfold.monitor.alerts.rules import NAMES, Key, Reading, id_of, key_of, rules_of, runbook
from tenfold.monitor.alerts.silences import LONGEST_S, LONGEST_TEXT, MOST, length, matchers, text
from tenfold.topology.operations import Monitor, Severity, Threshold

START_S = 1_700_000_000.0
QUICK = Monitor(
    response_time_s=Threshold(warning=2.0, critical=5.0, for_s=0.0),
    error_ratio=Threshold(warning=0.05, critical=0.1, for_s=0.0),
    slow_query_s=Threshold(warning=1.0, for_s=0.0),
    down_for_s=0.0,
    keep_firing_s=0.0,
)
SLOW: Key = ("response_time", "platform")


def book_of(backends: int = 4) -> Book:
    return Book(rules_of(QUICK), backends)


def seen(book: Book, now_s: float, **figures: float) -> list[str]:
    """One step; "response_time__platform" names a rule and a target."""
    given = {(rule, target): Reading(value) for rule, _, target in (n.partition("__") for n in figures) for value in [
        figures[f"{rule}__{target}"]
    ]}  # fmt: skip
    return [f"{change.what} {id_of(change.alert.key)}" for change in book.step(now_s, given)]


def item(book: Book, key: Key = SLOW) -> dict[str, Any]:
    return next(one for one in book.view()["items"] if one["id"] == id_of(key))


def quiet(book: Book) -> set[str]:
    return {id_of(alert.key) for alert in book.firing() if book.is_quiet(alert)}


def test_an_acknowledgement_holds_while_it_gets_worse_and_is_gone_when_it_fires_anew() -> None:
    book = book_of()
    seen(book, START_S, response_time__platform=3)
    book.ack("response_time:platform", "ann", "a report", START_S)
    for second, value in enumerate((3, 9, 1.9, 3)):  # graver, not well yet, and back
        seen(book, START_S + second, response_time__platform=value)
        assert (item(book)["acked_by"], item(book)["ack_note"]) == ("ann", "a report")
        assert quiet(book) == {"response_time:platform"}
    assert seen(book, START_S + 9, response_time__platform=0.1) == ["over response_time:platform"]
    assert seen(book, START_S + 10, response_time__platform=3) == ["fires response_time:platform"]
    assert item(book)["acked_by"] is None and quiet(book) == set()


def test_as_how_grave_an_alert_was_taken_on_is_known_unless_something_else_keeps_it_quiet() -> None:
    book = book_of()
    seen(book, START_S, response_time__platform=3)
    (alert,) = book.firing()
    assert book.known_as(alert) is None
    book.ack("response_time:platform", "ann", "", START_S)
    seen(book, START_S + 1, response_time__platform=9)
    (alert,) = book.firing()
    assert (alert.severity, book.known_as(alert)) == (Severity.CRITICAL, Severity.WARNING)
    again = book_of()
    again.restore(json.loads(json.dumps(book.as_json())))
    assert again.known_as(alert) is Severity.WARNING
    book.silence({"rule": "*"}, START_S + 60, "bob", "")
    assert book.known_as(alert) is None


def test_a_state_of_the_release_before_keeps_what_was_taken_on_quiet() -> None:
    book, again = book_of(), book_of()
    seen(book, START_S, response_time__platform=3)
    book.ack("response_time:platform", "ann", "", START_S)
    state = json.loads(json.dumps(book.as_json()))
    del state["acks"][0]["severity"]
    again.restore(state)
    assert again.known_as(book.firing()[0]) is Severity.CRITICAL


def test_what_does_not_fire_cannot_be_taken_on() -> None:
    book = Book(rules_of(Monitor()), 1)
    with pytest.raises(NotifyError, match="response_time:platform does not fire"):
        book.ack("response_time:platform", "ann", "", START_S)
    book.step(START_S, {SLOW: Reading(9.0)})
    with pytest.raises(NotifyError, match="does not fire yet"):
        book.ack("response_time:platform", "ann", "", START_S)


def test_a_silence_keeps_quiet_what_it_fits_until_its_last_second_and_no_longer() -> None:
    book = book_of()
    made = book.silence(matchers(["rule=response_time", "severity=warning"]), START_S + 60, "bob", "known")
    seen(book, START_S, response_time__platform=3, error_ratio__platform=1)
    assert quiet(book) >= {"response_time:platform"} and book.covered(made) == 1
    assert item(book)["silenced_until_s"] == START_S + 60
    seen(book, START_S + 1, response_time__platform=9)  # critical: not what was silenced
    assert "response_time:platform" not in quiet(book)
    seen(book, START_S + 2, response_time__platform=3)
    seen(book, START_S + 59.9, response_time__platform=3)
    assert quiet(book) == {"response_time:platform"}
    seen(book, START_S + 60, response_time__platform=3)
    assert quiet(book) == set() and book.view()["silences"] == []


@pytest.mark.parametrize(
    "target", ["[::1]:443", "certs/[old] site.pem", "a=b.pem", "100%.pem", "x:y:z", "*.pem", "Ü.pem"]
)
def test_a_silence_of_an_alerts_own_id_fits_it_whatever_its_target_is_called(target: str) -> None:
    book, key = book_of(), ("certificate", target)
    book.step(START_S, {key: Reading(1.0)})
    made = book.silence(matchers([id_of(key)]), START_S + 60, "bob", "")
    assert book.covered(made) == 1 and quiet(book) == {id_of(key)}


def test_a_silence_of_a_clock_that_was_wrong_by_years_ends_when_it_is_put_right() -> None:
    book = book_of()
    seen(book, START_S + 4 * 365 * 86_400, response_time__platform=3)
    book.silence({"rule": "*"}, START_S + 4 * 365 * 86_400 + LONGEST_S, "bob", "")
    assert quiet(book) == {"response_time:platform"}
    seen(book, START_S, response_time__platform=3)
    assert quiet(book) == set() and book.view()["silences"] == []


def test_a_silence_that_is_ended_tells_again() -> None:
    book = book_of()
    seen(book, START_S, response_time__platform=3)
    made = book.silence({"target": "plat*"}, START_S + 60, "bob", "")
    assert quiet(book) == {"response_time:platform"}
    assert book.unsilence(made.id) == made and quiet(book) == set()
    with pytest.raises(NotifyError, match="there is no silence 's1'"):
        book.unsilence(made.id)


def test_there_are_not_more_silences_than_anybody_can_read() -> None:
    book = book_of()
    for _ in range(MOST):
        book.silence({"rule": "cpu"}, START_S + 60, "bob", "")
    with pytest.raises(NotifyError, match="silences already"):
        book.silence({"rule": "cpu"}, START_S + 60, "bob", "")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["response_time:backend_1"], {"rule": "response_time", "target": "backend_1"}),
        (["certificate:db.example:443"], {"rule": "certificate", "target": "db.example:443"}),
        (["cpu"], {"rule": "cpu"}),
        (["target=backend_*", "severity=warning"], {"target": "backend_*", "severity": "warning"}),
        (["rule=*"], {"rule": "*"}),
        ({"target": "a=b"}, {"target": "a=b"}),
    ],
)
def test_what_a_silence_matches(words: Any, meant: Mapping[str, str]) -> None:
    assert matchers(words) == meant


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "of what"),
        (["slient"], "no rule is called 'slient'"),
        (["severity=bad"], "no severity"),
        (["host=a"], "not told apart by 'host'"),
        (["target="], "nothing that can be matched"),
        (["target=\x1b[2J"], "nothing that can be matched"),
        (["target=a", "target=b"], "two patterns"),
        (["target=" + "a" * 300], "nothing that can be matched"),
        ({"rule": 5}, "nothing that can be matched"),
    ],
)
def test_what_is_no_silence_is_refused(words: Any, why: str) -> None:
    with pytest.raises(NotifyError, match=why):
        matchers(words)


@pytest.mark.parametrize("for_s", [0, -1, LONGEST_S + 1, float("nan"), float("inf"), True, "2h", None])
def test_a_silence_lasts_for_a_time(for_s: Any) -> None:
    with pytest.raises(NotifyError):
        length(for_s)
    assert length(LONGEST_S) == LONGEST_S


def test_notes_are_one_line_without_tricks() -> None:
    assert text(" a\nb\x1b[2J \u202e c ", "note") == "a b [2J c"
    assert text(None, "note") == ""
    for bad in ("x" * (LONGEST_TEXT + 1), 5):
        with pytest.raises(NotifyError):
            text(bad, "note")


@pytest.mark.parametrize(
    ("figures", "by"),
    [
        # What is down is also slow, and fails.
        ({"backend_down__b": 1, "response_time__b": 9, "error_ratio__b": 1}, {
            "response_time:b": "backend_down:b", "error_ratio:b": "backend_down:b"}),
        ({"shard_down__s": 2, "slow_query__s": 9}, {"slow_query:s": "shard_down:s"}),
        ({"shard_down__s": 2, "slow_query__t": 9}, {}),
        # Critical over warning at the same target.
        ({"error_ratio__platform": 1, "response_time__platform": 3}, {
            "response_time:platform": "error_ratio:platform"}),
        ({"error_ratio__platform": 1, "response_time__platform": 9}, {}),
        ({"error_ratio__platform": 1, "response_time__x": 3}, {}),
        # The platform speaks for its backends where they begin together.
        ({"error_ratio__platform": 1, "error_ratio__a": 1, "error_ratio__b": 1}, {
            "error_ratio:a": "error_ratio:platform", "error_ratio:b": "error_ratio:platform"}),
        # A lesser alert keeps no graver one quiet.
        ({"error_ratio__platform": 0.06, "error_ratio__a": 1}, {}),
    ],
)  # fmt: skip
def test_what_another_alert_explains_is_not_told_beside_it(figures: dict[str, float], by: dict[str, str]) -> None:
    book = book_of(backends=4)
    seen(book, START_S, **figures)
    told = {one["id"]: one["inhibited_by"] for one in book.view()["items"] if one["inhibited_by"]}
    assert told == by and quiet(book) == set(by)
    assert sum(book.view()["counts"].values()) == len(figures) - len(by)


def test_of_a_platform_and_its_backends_the_first_speaks_until_most_of_them_are_ill() -> None:
    book = book_of(backends=4)
    seen(book, START_S, error_ratio__a=1, error_ratio__platform=0)
    seen(book, START_S + 1, error_ratio__a=1, error_ratio__platform=0.3)
    assert quiet(book) == {"error_ratio:platform"}
    seen(book, START_S + 2, error_ratio__a=1, error_ratio__b=1, error_ratio__platform=0.5)
    assert quiet(book) == {"error_ratio:platform"}
    seen(book, START_S + 3, error_ratio__a=1, error_ratio__b=1, error_ratio__c=1, error_ratio__platform=0.7)
    assert quiet(book) == {"error_ratio:a", "error_ratio:b", "error_ratio:c"}


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.lists(
        st.dictionaries(
            st.tuples(
                st.sampled_from(["error_ratio", "response_time", "slow_query", "backend_down", "shard_down"]),
                st.sampled_from(["platform", "a", "b", "c"]),
            ),
            st.sampled_from([0.06, 1.0, 2.0, 3.0, 9.0]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_fires_somebody_is_told_of_it_or_of_what_explains_it(moments: list[dict[Key, float]]) -> None:
    book = book_of(backends=3)
    for second, moment in enumerate(moments):
        book.step(START_S + second, {key: Reading(value) for key, value in moment.items()})
        causes = {one["id"]: one["inhibited_by"] for one in book.view()["items"] if one["state"] != "pending"}
        for name in causes:
            way = [name]
            while causes.get(way[-1]) is not None:
                way.append(causes[way[-1]])
                assert len(way) <= len(causes) + 1, way
            # One that is over now has been told; figures of five minutes remember it.
            told_lately = way[-1] not in causes and key_of(name)[0] in REMEMBER
            assert told_lately or way[-1] not in quiet(book)


def test_a_figure_that_remembers_what_is_over_is_no_news_for_five_minutes() -> None:
    book = book_of()
    seen(book, START_S, shard_down__s=2, slow_query__s=9, error_ratio__s=0.06)
    for second in (1, LINGER_S / 2, LINGER_S - 1):  # the shard is back, its last five minutes were slow
        seen(book, START_S + second, shard_down__s=0, slow_query__s=9)
        assert quiet(book) == {"slow_query:s"}, second
    kept = json.loads(json.dumps(book.as_json()))
    again = book_of()
    again.restore(kept)
    for then in (book, again):
        seen(then, START_S + LINGER_S, shard_down__s=0, slow_query__s=9)
        assert quiet(then) == set(), "it is slow by itself"


def test_what_gets_worse_after_its_cause_is_over_is_news() -> None:
    book = book_of()
    seen(book, START_S, error_ratio__platform=0.06, error_ratio__a=0.06, error_ratio__b=0.06, error_ratio__c=0.06)
    seen(book, START_S + 1, error_ratio__platform=0, error_ratio__a=0.06, error_ratio__b=1)
    assert quiet(book) == {"error_ratio:a"}


def test_what_only_waits_explains_nothing() -> None:
    book = Book(rules_of(QUICK.model_copy(update={"down_for_s": 15.0})), 4)
    seen(book, START_S, shard_down__s=2, slow_query__s=9)
    assert quiet(book) == set()


def test_a_target_that_is_watched_no_more_is_over_and_one_without_data_is_not() -> None:
    book = book_of()
    seen(book, START_S, response_time__platform=3, error_ratio__platform=1)
    book.step(START_S + 1, {SLOW: Reading()})
    assert [id_of(alert.key) for alert in book.firing()] == ["response_time:platform"]


def test_everything_survives_a_restart_and_nothing_fires_or_ends_by_it() -> None:
    book = Book(rules_of(Monitor()), 2)
    for second in range(200):
        book.step(START_S + second, {SLOW: Reading(3.0, 50), ("disk", "var"): Reading(0.85 if second > 100 else 0.1)})
    book.ack("response_time:platform", "ann", "mine", START_S)
    book.silence({"rule": "disk"}, START_S + 9_000, "bob", "new disk")
    kept = json.loads(json.dumps(book.as_json(), allow_nan=False))
    again = Book(rules_of(Monitor()), 2)
    again.restore(kept)
    assert again.view() == book.view()
    later_s = START_S + 4_000  # an hour away: nobody saw it, so it counts for nothing
    both = {SLOW: Reading(3.0, 50), ("disk", "var"): Reading(0.85)}
    assert again.step(later_s, both) == []
    assert item(again)["acked_by"] == "ann" and item(again, ("disk", "var"))["state"] == "pending"
    fires = [second for second in range(1, 60) if again.step(later_s + second, both)]
    assert fires == [22]  # 98 s before it, 22 s after it
    assert again.silence({"rule": "cpu"}, later_s + 60, "bob", "").id == "s2"


@pytest.mark.parametrize(
    "broken",
    [
        lambda kept: kept.pop("alerts"),
        lambda kept: kept["alerts"][0].update(phase="dead"),
        lambda kept: kept["alerts"][0].update(since_s="nan"),
        lambda kept: kept["alerts"][0].pop("warning_s"),
        lambda kept: kept["silences"][0].update(matches={}),
        lambda kept: kept["silences"][0].update(until_s=float("inf")),
        lambda kept: kept["acks"][0].pop("who"),
        lambda kept: kept.update(number="x"),
    ],
)
def test_a_state_that_is_none_is_refused_whole(broken: Any) -> None:
    book = book_of()
    seen(book, START_S, response_time__platform=3)
    book.ack("response_time:platform", "ann", "", START_S)
    book.silence({"rule": "cpu"}, START_S + 60, "bob", "")
    kept = book.as_json()
    broken(kept)
    again = book_of()
    with pytest.raises((ValueError, KeyError, TypeError)):
        again.restore(kept)
    assert again.view()["items"] == again.view()["silences"] == []


def test_why_something_fires_or_not_is_said_with_what_was_seen() -> None:
    book = Book(rules_of(Monitor()), 2)
    shard: Key = ("shard_down", "shard_0")

    def why(key: Key) -> str:
        return str(book.explain(key)["why"])

    assert why(SLOW) == "does not fire: it was not judged yet"
    book.step(START_S, {SLOW: Reading(1.5, 50), shard: Reading(0.0)})
    assert why(SLOW) == "does not fire: 1.50 s is not above 2.00 s" and why(shard) == "does not fire: all is well"
    book.step(START_S + 1, {SLOW: Reading(7.0, 19)})
    assert why(SLOW) == "does not fire: too few requests, 19 of 20"
    book.step(START_S + 2, {SLOW: Reading()})
    assert why(SLOW) == "does not fire: there is no data"
    for second in range(30):
        book.step(START_S + 3 + second, {SLOW: Reading(7.0, 50)})
    assert why(SLOW) == "waits: beyond its limit for 29 s of 2 min"
    for second in range(100):
        book.step(START_S + 33 + second, {SLOW: Reading(7.0, 50)})
    assert why(SLOW) == "fires: 7.00 s is above 5.00 s"
    book.step(START_S + 134, {SLOW: Reading()})
    assert why(SLOW) == "fires: 7.00 s is above 5.00 s; nothing is known now (there is no data), so it stays as it is"
    book.step(START_S + 135, {SLOW: Reading(4.6, 50)})
    assert why(SLOW) == "fires: it was beyond 5.00 s, and 4.60 s is not well yet"
    book.step(START_S + 136, {SLOW: Reading(1.0, 50)})
    assert why(SLOW) == "still fires: well for 0 s of 2 min"
    told = book.explain(SLOW)
    assert len(told["samples"]) == SAMPLES and told["samples"][-1]["value"] == 1.0
    assert told["condition"] == (
        "warning above 2.00 s, critical above 5.00 s, for 2 min; well again below 1.80 s; "
        "over once it was well for 2 min; needs 20 requests"
    )
    told = book.explain(("shard_down", "shard_0"))
    assert told["condition"] == "alerts when it is not well for 15 s; over once it was well for 2 min"
    json.dumps(told, allow_nan=False)


def test_ids_lead_back_to_rule_and_target() -> None:
    for key in [("certificate", "db.example:443"), ("disk", "/srv/a b"), ("cpu", "host")]:
        assert key_of(id_of(key)) == key


def test_rules_without_limits_and_without_silence_are_not_judged() -> None:
    off = Monitor(no_data=False, slow_query_s=Threshold(warning=None))
    assert "silent" not in rules_of(off)
    book = Book(rules_of(off), 2)
    key: Key = ("slow_query", "shard_0")
    for second in range(300):
        assert book.step(START_S + second, {key: Reading(99.0, 99), ("silent", "host"): Reading(1.0)}) == []
    assert book.explain(key)["why"] == "does not fire: it has no limit"
    assert [runbook(name) for name in rules_of(Monitor())] == [f"docs/runbooks/{name}.md" for name in NAMES]
