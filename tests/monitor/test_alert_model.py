"""What must hold of an alert whatever is seen, and whatever people do; sequences drawn at random. Pure."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.errors import NotifyError
from tenfold.monitor.alerts.book import GAP_S, Book
from tenfold.monitor.alerts.rules import Key, Reading, Rule, id_of
from tenfold.topology.operations import Severity

KEY: Key = ("response_time", "platform")
START_S = 1_700_000_000.0

# Mostly what can be judged, for runs of it are what matters.
values = st.sampled_from(
    [0.0, 1.79, 1.8, 1.81, 2.0, 2.01, 4.49, 4.5, 5.0, 5.01, 9.0, 9.0, 9.0, 9.0, None, float("nan")]
)
readings = st.builds(
    Reading,
    values,
    st.sampled_from([None, None, 500, 500, 20, 19, 3, 0]),
    trouble=st.sampled_from(["", "", "", "", "", "x"]),
)
steps = st.tuples(
    st.sampled_from([0.0, 1.0, 7.0, 29.0, 30.0, 31.0, 86_400.0, -3600.0]),
    readings,
    st.sampled_from(["", "", "", "", "ack", "restart"]),
)
rules = st.builds(
    lambda for_s, keep_s, critical: Rule("response_time", "seconds", 2.0, critical, for_s, keep_s, 0.9, min_count=20),
    st.sampled_from([0.0, 30.0, 60.0]),
    st.sampled_from([0.0, 30.0, 60.0]),
    st.sampled_from([5.0, None]),
)


def restarted(book: Book, rule: Rule) -> Book:
    again = Book({KEY[0]: rule}, 3)
    again.restore(book.as_json())
    return again


def is_judged(reading: Reading) -> bool:
    """Worked out anew, not by the code that is tested."""
    value = reading.value
    if reading.trouble or value is None or value != value:
        return False
    return reading.count is None or reading.count >= 20 or value < 1.8


@settings(max_examples=400, deadline=None, derandomize=True)
@given(rule=rules, taken=st.lists(steps, max_size=60))
def test_it_fires_never_before_its_time_ends_once_and_keeps_who_took_it_on(
    rule: Rule, taken: list[tuple[float, Reading, str]]
) -> None:
    book, now_s, fired = Book({KEY[0]: rule}, 3), START_S, False
    above_s = well_s = -1.0  # seconds that were seen so without a break; -1: it is not so
    seen, acked = False, False  # whether the step before was judged by the same book
    for passed_s, reading, deed in taken:
        now_s += passed_s
        if deed == "restart":
            book, seen = restarted(book, rule), False
        counted_s = passed_s if seen and 0 <= passed_s <= GAP_S else 0.0
        changes = [change.what for change in book.step(now_s, {KEY: reading})]
        if is_judged(reading):
            value = reading.value or 0.0
            above_s = -1.0 if value <= 2.0 else 0.0 if above_s < 0 else above_s + counted_s
            well_s = -1.0 if value >= 1.8 else 0.0 if well_s < 0 else well_s + counted_s
            seen = True
        else:
            assert changes == [], "silence changes nothing"
            seen = False
        assert changes.count("fires") + changes.count("over") <= 1
        if "fires" in changes:
            assert not fired and is_judged(reading)
            assert above_s >= rule.for_s
            fired, acked = True, False
        if "over" in changes:
            assert fired and is_judged(reading) and (reading.value or 0.0) < 1.8
            assert well_s >= rule.keep_s
            fired, acked = False, False
        alert = book.alert(KEY)
        assert fired == (alert is not None and alert.fires)
        item = next(iter(book.view()["items"]), None)
        assert (item is not None and item["acked_by"] is not None) == acked, "held while it fires, armed anew after"
        if deed == "ack":
            with suppress(NotifyError):
                book.ack(id_of(KEY), "ann", "mine", now_s)
                acked = True
            assert acked == fired
        if alert is not None and alert.severity is Severity.CRITICAL:
            assert rule.critical is not None
        if value_low(reading) and not fired:
            assert alert is None, "what is well and does not fire is nothing"


def value_low(reading: Reading) -> bool:
    return is_judged(reading) and (reading.value or 0.0) < 1.8


@settings(max_examples=200, deadline=None, derandomize=True)
@given(rule=rules, taken=st.lists(steps, max_size=40), at=st.integers(0, 40))
def test_a_restart_delays_but_never_invents_an_alert_nor_its_end(
    rule: Rule, taken: list[tuple[float, Reading, str]], at: int
) -> None:
    """Whatever the restarted book says has fired or ended, the one that went on said so before or at the same time."""
    went_on, again, now_s = Book({KEY[0]: rule}, 3), Book({KEY[0]: rule}, 3), START_S
    fires = [0, 0]
    for number, (passed_s, reading, _) in enumerate(taken):
        now_s += passed_s
        if number == at:
            again = restarted(went_on, rule)
            fires[1] = fires[0]
        for which, book in enumerate((went_on, again)):
            fires[which] += sum(change.what == "fires" for change in book.step(now_s, {KEY: reading}))
    assert fires[1] <= fires[0]
