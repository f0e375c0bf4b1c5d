"""Which alerts are told, when and together: timelines, and a model over random ones. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.notify.grouping import Firing, Grouping
from tenfold.notify.notice import Notice
from tenfold.topology.operations import Severity

WAIT_S, REPEAT_S = 30.0, 600.0
W, C = Severity.WARNING, Severity.CRITICAL


def alert(
    key: str = "a", severity: Severity = W, *, group: str = "g", quiet: bool = False, since_s: float = 0
) -> Firing:
    return Firing(key, group, severity, f"{key} is ill", "", since_s, quiet)


def told(notices: Sequence[Notice]) -> list[tuple[str, str]]:
    return [(notice.word, notice.title) for notice in notices]


def test_alerts_that_begin_together_are_told_as_one() -> None:
    grouping = Grouping(WAIT_S, REPEAT_S)
    assert grouping.step(0, [alert("a")]) == []
    assert grouping.step(29.9, [alert("a"), alert("b", C)]) == []
    (notice,) = grouping.step(30, [alert("a"), alert("b", C)])
    assert told([notice]) == [("critical", "a is ill, and 1 more")]
    assert "warning: a is ill" in notice.text and "critical: b is ill" in notice.text
    assert grouping.step(31, [alert("a"), alert("b", C)]) == []


def test_groups_are_told_apart() -> None:
    grouping = Grouping(WAIT_S, REPEAT_S)
    both = [alert("a", group="g"), alert("b", group="h")]
    grouping.step(0, both)
    assert told(grouping.step(30, both)) == [("warning", "a is ill"), ("warning", "b is ill")]


def test_what_ends_while_it_waits_is_never_told() -> None:
    grouping = Grouping(WAIT_S, REPEAT_S)
    grouping.step(0, [alert()])
    assert grouping.step(10, []) == [] and grouping.step(100, []) == [] and grouping.as_json() == {}


def test_what_was_told_is_told_to_have_ended_once() -> None:
    grouping = Grouping(0, REPEAT_S)
    grouping.step(0, [alert("a"), alert("b", C)])
    (ended,) = grouping.step(130, [alert("a")])
    assert told([ended]) == [("resolved", "b is ill")] and ended.severity is C
    assert "b is ill (after 2 min)\nStill:\na is ill" in ended.text
    assert grouping.step(131, [alert("a")]) == []
    assert told(grouping.step(140, [])) == [("resolved", "a is ill")]
    assert grouping.step(141, []) == []


def test_what_still_fires_is_told_again_after_a_while_and_a_quiet_one_is_not() -> None:
    grouping = Grouping(0, REPEAT_S)
    assert len(grouping.step(0, [alert()])) == 1
    assert grouping.step(599, [alert()]) == []
    (again,) = grouping.step(600, [alert()])
    assert told([again]) == [("warning", "a is ill")] and "(for 10 min)" in again.text
    assert grouping.step(601, [alert()]) == [], "after that, as long again"
    assert grouping.step(1200, [alert(quiet=True)]) == [], "somebody has acknowledged it"
    assert told(grouping.step(1300, [])) == [("resolved", "a is ill")], "and its end is told all the same"


def test_a_silenced_alert_is_told_when_the_silence_ends_and_it_still_fires() -> None:
    grouping = Grouping(WAIT_S, REPEAT_S)
    assert grouping.step(0, [alert(quiet=True)]) == [] and grouping.step(100, [alert(quiet=True)]) == []
    assert grouping.step(101, [alert()]) == []
    assert len(grouping.step(131, [alert()])) == 1
    grouping = Grouping(WAIT_S, REPEAT_S)
    grouping.step(0, [alert(quiet=True)])
    assert grouping.step(100, []) == [], "one that nobody was told of does not end either"


def test_one_that_becomes_graver_is_told_at_once_and_once() -> None:
    grouping = Grouping(WAIT_S, REPEAT_S)
    grouping.step(0, [alert()])
    grouping.step(30, [alert()])
    assert told(grouping.step(40, [alert(severity=C)])) == [("critical", "a is ill")]
    assert grouping.step(41, [alert()]) == [] and grouping.step(42, [alert(severity=C)]) == []


def taken(severity: Severity, known: Severity = W) -> list[Firing]:
    return [Firing("a", "g", severity, "a is ill", "", 0, quiet=True, known=known)]


def test_one_that_becomes_graver_than_somebody_took_it_on_is_told_once_and_not_again() -> None:
    grouping = Grouping(0, REPEAT_S)
    grouping.step(0, [alert()])
    assert grouping.step(10, taken(W)) == []
    assert told(grouping.step(20, taken(C))) == [("critical", "a is ill")]
    for at_s, severity in ((21, C), (22, W), (23, C), (20 + 3 * REPEAT_S, C)):
        assert grouping.step(at_s, taken(severity)) == []
    assert told(grouping.step(3000, [])) == [("resolved", "a is ill")]


def test_one_that_was_taken_on_before_it_was_told_is_told_when_it_becomes_graver_and_then_its_end() -> None:
    grouping = Grouping(WAIT_S, REPEAT_S)
    grouping.step(0, [alert()])
    assert grouping.step(1, taken(W)) == [] and grouping.step(100, taken(W)) == []
    assert told(grouping.step(101, taken(C))) == [("critical", "a is ill")]
    assert told(grouping.step(102, [])) == [("resolved", "a is ill")]


def test_one_that_was_taken_on_as_critical_is_not_told_though_it_was_told_as_less() -> None:
    grouping = Grouping(0, REPEAT_S)
    grouping.step(0, [alert()])
    assert grouping.step(1, [alert(severity=C, quiet=True)]) == [], "it became so under a silence"
    assert grouping.step(2, taken(C, known=C)) == []
    assert grouping.step(3, [alert(severity=C, quiet=True)]) == []


def test_a_new_alert_of_a_group_that_was_told_waits_for_others_too() -> None:
    grouping = Grouping(WAIT_S, REPEAT_S)
    grouping.step(0, [alert("a")])
    grouping.step(30, [alert("a")])
    assert grouping.step(50, [alert("a"), alert("b")]) == []
    (notice,) = grouping.step(80, [alert("a"), alert("b"), alert("c")])
    assert notice.title == "b is ill, and 1 more"


def test_one_that_comes_back_has_another_key() -> None:
    grouping = Grouping(0, REPEAT_S)
    keys = [notice.key for at_s in range(10) for notice in grouping.step(at_s, [alert()] if at_s % 2 else [])]
    assert len(keys) == 9 and len(set(keys)) == 9


def test_a_restart_tells_nothing_twice_and_forgets_nothing() -> None:
    grouping = Grouping(WAIT_S, REPEAT_S)
    grouping.step(0, [alert()])
    grouping = Grouping.of(json.loads(json.dumps(grouping.as_json())), group_wait_s=WAIT_S, repeat_s=REPEAT_S)
    assert len(grouping.step(30, [alert()])) == 1
    grouping = Grouping.of(json.loads(json.dumps(grouping.as_json())), group_wait_s=WAIT_S, repeat_s=REPEAT_S)
    assert grouping.step(31, [alert()]) == []
    assert told(grouping.step(32, [])) == [("resolved", "a is ill")]


def test_a_state_that_is_none_counts_as_none() -> None:
    half = {"g": {"began_s": 1, "number": 1, "last_s": 1, "waiting": 5}}
    states: list[object] = [None, 5, [], "x", {"g": 1}, {"g": {}}, half]
    for state in states:
        assert Grouping(0, REPEAT_S, state).as_json() == {}


def test_a_clock_that_is_set_back_makes_nobody_wait() -> None:
    grouping = Grouping(WAIT_S, REPEAT_S)
    grouping.step(10_000, [alert()])
    assert len(grouping.step(1, [alert()])) == 1
    assert len(grouping.step(1 + REPEAT_S, [alert()])) == 1


def test_hundreds_of_alerts_are_one_notice_of_a_page() -> None:
    grouping = Grouping(0, REPEAT_S)
    (notice,) = grouping.step(0, [alert(f"route_{n}") for n in range(500)])
    assert notice.title == "route_0 is ill, and 499 more" and notice.text.endswith("… and 490 more")
    (ended,) = grouping.step(1, [])
    assert len(ended.text.splitlines()) == 11


ALERTS = st.dictionaries(
    st.sampled_from("abcd"), st.tuples(st.sampled_from([W, C]), st.booleans(), st.sampled_from("gh")), max_size=4
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(1, 700), ALERTS, st.booleans()), max_size=30))
def test_over_any_time_nothing_is_told_twice_and_all_that_was_told_ends(
    steps: list[tuple[int, dict[str, tuple[Severity, bool, str]], bool]],
) -> None:
    grouping, now_s = Grouping(WAIT_S, REPEAT_S), 0.0
    open_groups: dict[str, float] = {}  # told and not ended: when last told
    keys: set[str] = set()
    loud_since: dict[tuple[str, str], float] = {}
    for passed, alerts, restart in [*steps, (1, {}, False), (1, {}, False)]:
        now_s += passed
        firing = [alert(f"{k}{g}", s, group=g, quiet=q) for k, (s, q, g) in alerts.items()]
        if restart:
            state = json.loads(json.dumps(grouping.as_json()))
            grouping = Grouping.of(state, group_wait_s=WAIT_S, repeat_s=REPEAT_S)
        notices = grouping.step(now_s, firing)
        for notice in notices:
            assert notice.key not in keys, "told twice"
            keys.add(notice.key)
            group = notice.facts["group"]
            if notice.key.endswith("repeat"):
                assert now_s - open_groups[group] >= REPEAT_S, "told again too soon"
            if not notice.resolved:
                open_groups[group] = now_s
                assert any(not one.quiet for one in firing if one.group == group), "a quiet one was told"
        now_loud = {(one.group, one.id) for one in firing if not one.quiet}
        loud_since = {key: loud_since.get(key, now_s) for key in now_loud}
        for group, key in now_loud:
            if now_s - loud_since[group, key] >= WAIT_S:
                assert key in grouping.as_json()[group]["told"], "one was not told in time"
    assert grouping.as_json() == {}, "at the end all have ended"
