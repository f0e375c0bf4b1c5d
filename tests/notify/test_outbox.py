"""The outbox and what drains it: nothing lost, no order lost, on a clock that tests turn. Edge."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tenfold.errors import NotifyError
from tenfold.notify import outboxfile
from tenfold.notify.backoff import FIRST_S, LONGEST_S, delay_s
from tenfold.notify.dialling import Unreached
from tenfold.notify.notice import LONGEST_TEXT, Notice, bounded, notice_of
from tenfold.notify.outbox import REMEMBERED_S, Outbox
from tenfold.notify.send import Channel
from tenfold.notify.sender import Sender, takers
from tenfold.runtime.agent_alerts_kept import lost
from tenfold.topology.operations import Severity
from tests.notify.receivers import Ca, receiver
from tests.notify.samples import NOW_S, SECRET, Clock, notice, webhook

GIVE_UP_S = 86_400.0


def put(outbox: Outbox, clock: Clock, channel: Channel, *notices: Notice) -> None:
    outbox.put(*notices)
    outbox.assign(takers([channel], Severity.INFO), clock())


def sender(outbox: Outbox, channel: Channel, clock: Clock, give_up_s: float = GIVE_UP_S) -> Sender:
    return Sender(outbox, channel, give_up_s, clock=clock, chance=lambda: 0.5)


def turn(clock: Clock, one: Sender, seconds: float, step_s: float = 1.0) -> None:
    """Let time pass, with a round at each step."""
    for _ in range(int(seconds / step_s)):
        clock.now_s += step_s
        one.round()


def test_waits_double_up_to_a_bound_and_chance_spreads_them() -> None:
    assert [delay_s(n, 0.0) for n in (1, 2, 3, 7, 50, 10**9)] == [5, 10, 20, 300, 300, 300]
    assert delay_s(1, 1.0) == FIRST_S / 2 and delay_s(0, 0.0) == FIRST_S
    assert delay_s(1, 0.0, 120) == 120 and delay_s(1, 0.0, 10**6) == LONGEST_S, "what is asked for, within bounds"


def test_a_receiver_that_fails_for_minutes_gets_each_notice_once_and_in_order(ca: Ca, outbox: Outbox) -> None:
    clock = Clock()
    with receiver(ca.serves(), 500) as there:
        channel = webhook(there.url(), ca.path)
        # With these chances, and at this moment, the second would be due before the first.
        one = Sender(outbox, channel, GIVE_UP_S, clock=clock, chance=itertools.cycle([1.0, 0.0]).__next__)
        put(outbox, clock, channel, notice("a"), notice("b"))
        turn(clock, one, 100)
        tries = len(there.received)
        assert 6 <= tries <= 12, "with pauses that grow"
        put(outbox, clock, channel, notice("a", resolved=True, title="again"), notice("c", resolved=True))
        assert outbox.counts()["waiting"] == 3
        there.does = [200]
        turn(clock, one, LONGEST_S + 1)
    keys = there.keys[tries:]
    assert keys == [notice(key).identity for key in "abc"], "each once, in the order in which they were put"
    assert there.keys[:4] == [notice("a").identity] * 4, "the first is tried, the others wait for it"
    assert outbox.counts() == {"waiting": 0, "delivered": 3, "dead": 0, "unassigned": 0}


def test_an_answer_that_is_lost_brings_the_same_notice_under_the_same_key(ca: Ca, outbox: Outbox) -> None:
    clock = Clock()
    with receiver(ca.serves(), "lost", 200) as there:
        channel = webhook(there.url(), ca.path, clock=clock)
        one = sender(outbox, channel, clock)
        put(outbox, clock, channel, notice("a"))
        one.round()
        assert outbox.counts()["waiting"] == 1
        turn(clock, one, 10)
    first, second = there.received
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"] and first.body == second.body
    assert first.headers["Tenfold-Timestamp"] != second.headers["Tenfold-Timestamp"], "the signature is fresh"


def test_a_key_is_told_once_however_often_it_is_put(ca: Ca, outbox: Outbox) -> None:
    clock = Clock()
    with receiver(ca.serves()) as there:
        channel = webhook(there.url(), ca.path)
        for _ in range(3):
            put(outbox, clock, channel, notice("a"))
            sender(outbox, channel, clock).round()
    assert len(there.received) == 1


@pytest.mark.parametrize("status", [400, 410])
def test_what_will_never_be_taken_is_a_dead_letter_and_the_next_goes(ca: Ca, outbox: Outbox, status: int) -> None:
    clock = Clock()
    with receiver(ca.serves(), status, 200) as there:
        channel = webhook(there.url(), ca.path)
        put(outbox, clock, channel, notice("a"), notice("b"))
        one = sender(outbox, channel, clock)
        assert one.round() == 1
        turn(clock, one, 600, 10)
        assert there.keys == [notice("a").identity, notice("b").identity]
        (dead,) = outbox.listed()["dead"]
        assert dead["key"] == "a" and str(status) in dead["reason"]
        assert outbox.retry(clock()) == 1
        assert one.round() == 1
    assert there.keys[2:] == [notice("a").identity] and outbox.counts()["dead"] == 0


def test_after_long_enough_in_vain_it_is_a_dead_letter_that_can_be_taken_back(ca: Ca, outbox: Outbox) -> None:
    clock = Clock()
    with receiver(ca.serves(), 503) as there:
        channel = webhook(there.url(), ca.path)
        one = sender(outbox, channel, clock, give_up_s=900)
        put(outbox, clock, channel, notice("a"))
        turn(clock, one, 899, 1)
        assert outbox.counts()["waiting"] == 1
        turn(clock, one, 2, 1)
        (dead,) = outbox.listed()["dead"]
        assert "503" in dead["reason"] and dead["attempts"] > 5
        before = len(there.received)
        turn(clock, one, 900, 10)
        assert len(there.received) == before, "a dead letter rests"
        there.does = [200]
        assert outbox.retry(clock(), "slack") == 0 and outbox.retry(clock(), "webhook") == 1
        assert one.round() == 1


def test_what_a_channel_has_not_taken_is_known_with_the_last_reason_until_it_is_delivered_or_forgotten(
    outbox: Outbox,
) -> None:
    clock, answers = Clock(), [""]

    class Moody:
        name, host = "webhook", "x"

        def send(self, notice: Notice, left: Sequence[str] = ()) -> None:
            if answers[0]:
                raise Unreached(answers[0], permanent=answers[0] == "refused")

    def known() -> list[dict[str, object]]:
        assert outbox.undelivered(["slack"]) == []
        return outbox.undelivered(["slack", "webhook"])

    one = sender(outbox, Moody(), clock)
    put(outbox, clock, Moody(), notice("a"), notice("b"))
    assert known() == [], "what was not tried yet has not failed"
    answers[0] = "no answer"
    one.round()
    assert known() == [{"channel": "webhook", "waiting": 2, "dead": 0, "since_s": NOW_S, "reason": "no answer"}]
    answers[0] = "refused"
    turn(clock, one, 10)
    assert [(told["waiting"], told["dead"], told["reason"]) for told in known()] == [(0, 2, "refused")]
    answers[0] = ""
    outbox.retry(clock())
    turn(clock, one, 2)
    assert known() == []
    answers[0] = "refused"
    put(outbox, clock, Moody(), notice("c"))
    turn(clock, one, 2)
    assert outbox.drop("slack") == 0 and outbox.drop("webhook") == 1
    assert known() == [] and outbox.put(notice("c")) == 0, "what was forgotten was put all the same"


def test_one_notice_that_a_receiver_chokes_on_does_not_hold_up_the_others(outbox: Outbox) -> None:
    clock, got = Clock(), list[str]()

    class Choosy:
        name, host = "webhook", "x"

        def send(self, notice: Notice, left: Sequence[str] = ()) -> None:
            if notice.key == "poison":
                raise Unreached("500", answered=True)
            got.append(notice.key)

    one = sender(outbox, Choosy(), clock)
    put(outbox, clock, Choosy(), notice("poison"), notice("b"), notice("c"))
    turn(clock, one, 120)
    assert got == ["b", "c"]
    put(outbox, clock, Choosy(), notice("d"))
    turn(clock, one, 2)
    assert got == ["b", "c", "d"], "the next is not even delayed"
    assert outbox.counts()["waiting"] == 1


def test_a_receiver_asks_for_time_and_gets_it(ca: Ca, outbox: Outbox) -> None:
    clock = Clock()
    with receiver(ca.serves(), 429, 200) as there:
        there.more = {"Retry-After": "200"}
        channel = webhook(there.url(), ca.path)
        put(outbox, clock, channel, notice("a"))
        one = sender(outbox, channel, clock)
        turn(clock, one, 199)
        assert len(there.received) == 1
        turn(clock, one, 5)
    assert len(there.received) == 2


def test_who_asks_for_time_is_not_asked_with_another_notice_meanwhile(outbox: Outbox) -> None:
    clock, tried = Clock(), list[str]()

    class Busy:
        name, host = "webhook", "x"

        def send(self, notice: Notice, left: Sequence[str] = ()) -> None:
            tried.append(notice.key)
            raise Unreached("429", answered=True, asked_s=60.0)

    put(outbox, clock, Busy(), notice("a"), notice("b"))
    turn(clock, sender(outbox, Busy(), clock), 600)
    assert tried and set(tried) == {"a"}


def test_a_clock_that_is_set_back_holds_nothing_up(ca: Ca, outbox: Outbox) -> None:
    clock = Clock()
    with receiver(ca.serves(), 500, 200) as there:
        channel = webhook(there.url(), ca.path)
        put(outbox, clock, channel, notice("a"))
        one = sender(outbox, channel, clock)
        one.round()
        clock.now_s -= 86_400
        assert one.round() == 1 and len(there.received) == 2


def test_what_is_not_grave_enough_is_not_told_and_what_nobody_takes_ends(outbox: Outbox) -> None:
    channels = {"slack": frozenset({"critical"}), "webhook": frozenset({"critical", "warning"})}
    outbox.put(notice("a"), notice("b", severity=Severity.WARNING), notice("c", severity=Severity.INFO))
    assert outbox.counts()["unassigned"] == 3
    assert outbox.assign(channels, NOW_S) and not outbox.assign(channels, NOW_S)
    assert {(row["channel"], row["key"]) for row in outbox.listed()["waiting"]} == {
        ("slack", "a"), ("webhook", "a"), ("webhook", "b")}  # fmt: skip


def test_one_channel_that_fails_leaves_the_other_alone(ca: Ca, outbox: Outbox) -> None:
    clock = Clock()
    with receiver(ca.serves(), 500) as ill, receiver(ca.serves()) as well:
        first, second = webhook(ill.url(), ca.path), webhook(well.url(), ca.path)
        first.name = "slack"
        outbox.put(notice("a"))
        outbox.assign(takers([first, second], Severity.INFO), clock())
        assert (sender(outbox, first, clock).round(), sender(outbox, second, clock).round()) == (0, 1)
        assert outbox.counts()["waiting"] == 1 and len(well.received) == 1


def test_a_channel_has_one_sender_at_a_time(ca: Ca, outbox: Outbox) -> None:
    clock = Clock()
    with receiver(ca.serves()) as there:
        channel = webhook(there.url(), ca.path)
        put(outbox, clock, channel, *(notice(f"n{n}") for n in range(20)))
        with outbox.hold("webhook") as ours:
            assert ours and sender(outbox, channel, clock).round() == 0
        threads = [threading.Thread(target=sender(outbox, channel, clock).round) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(there.received) == len(set(there.keys)) == 20


def test_what_is_remembered_is_kept_with_the_notices_or_not_at_all(outbox: Outbox) -> None:
    assert outbox.recall("x") is None
    outbox.put(notice("a"), remember={"x": {"told": ["a"]}})
    assert outbox.recall("x") == {"told": ["a"]}
    with pytest.raises(NotifyError):
        outbox.put(notice("b"), notice("c", title=" "), remember={"x": {}})
    assert outbox.recall("x") == {"told": ["a"]} and outbox.counts()["unassigned"] == 1


def test_delivered_keys_are_remembered_for_a_week_and_then_forgotten(ca: Ca, outbox: Outbox) -> None:
    clock = Clock()
    with receiver(ca.serves()) as there:
        channel = webhook(there.url(), ca.path)
        put(outbox, clock, channel, notice("a"))
        sender(outbox, channel, clock).round()
        outbox.tidy(["webhook"], GIVE_UP_S, clock() + REMEMBERED_S - 1)
        assert outbox.put(notice("a")) == 0
        outbox.tidy(["webhook"], GIVE_UP_S, clock() + REMEMBERED_S + 1)
        assert outbox.put(notice("a")) == 1 and outbox.counts()["delivered"] == 0
    assert len(there.received) == 1


def test_what_waits_for_a_channel_that_is_gone_becomes_a_dead_letter(outbox: Outbox) -> None:
    outbox.put(notice("a"))
    outbox.assign({"slack": frozenset({"critical"})}, NOW_S)
    outbox.tidy(["webhook"], 900, NOW_S + 899)
    assert outbox.counts()["waiting"] == 1
    outbox.tidy(["webhook"], 900, NOW_S + 901)
    (dead,) = outbox.listed()["dead"]
    assert "no longer in tenfold.toml" in dead["reason"]


def test_an_outbox_does_not_grow_without_end(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenfold.notify.outbox.MOST_WAITING", 3)
    outbox.put(*(notice(f"n{n}") for n in range(3)))
    with pytest.raises(NotifyError, match="3 notices wait already"):
        outbox.put(notice("more"))


def test_a_damaged_outbox_is_set_aside_and_a_new_one_begun(outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    outbox.put(notice("a"))
    outbox.path.write_bytes(b"not a database at all" * 400)
    assert outbox.put(notice("b")) == 1
    aside = [path for path in outbox.path.parent.iterdir() if ".corrupt-" in path.name]
    assert len(aside) == 1 and aside[0].read_bytes().startswith(b"not a database") and "damaged" in caplog.text
    assert f"notices that waited are in {aside[0].name}" in (lost(outbox.path) or "")
    aside[0].unlink()
    assert lost(outbox.path) is None


def test_of_outboxes_that_were_damaged_the_last_few_are_kept(outbox: Outbox) -> None:
    outbox.put(notice("a"))
    for number in range(9):
        outbox.path.with_name(f"{outbox.path.name}.corrupt-170000000{number}").touch()
        outbox.path.with_name(f"{outbox.path.name}.corrupt-170000000{number}-wal").touch()
    outbox.path.write_bytes(b"not a database at all" * 400)
    outbox.put(notice("b"))
    kept = [path for path in outbox.path.parent.iterdir() if ".corrupt-" in path.name]
    assert len(outboxfile.aside(outbox.path)) == outboxfile.KEEP_ASIDE and len(kept) < 9
    assert any(path.read_bytes().startswith(b"not a database") for path in kept), "the newest is among them"


def test_damage_in_the_middle_is_found_when_it_is_met(outbox: Outbox) -> None:
    outbox.put(*(notice(f"n{n}", text="x" * 3000) for n in range(50)))
    with sqlite3.connect(outbox.path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    content = bytearray(outbox.path.read_bytes())
    content[4096 * 2 :] = b"\xa5" * (len(content) - 4096 * 2)
    outbox.path.write_bytes(bytes(content))
    with pytest.raises(NotifyError):
        outbox.listed()
    assert outbox.put(notice("b")) == 1


def test_a_database_of_something_else_is_not_touched(outbox: Outbox) -> None:
    with sqlite3.connect(outbox.path) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    before = outbox.path.read_bytes()
    with pytest.raises(NotifyError, match="no outbox"):
        outbox.put(notice("a"))
    assert b"CREATE TABLE notice" not in outbox.path.read_bytes() and len(before) == len(outbox.path.read_bytes())


def test_the_outbox_is_for_this_account_alone_and_holds_no_secret(ca: Ca, outbox: Outbox) -> None:
    clock = Clock()
    with receiver(ca.serves(), 404) as there:
        there.said = b"S3CRET-PATH"
        channel = webhook(there.url(), ca.path)
        put(outbox, clock, channel, notice("a"))
        sender(outbox, channel, clock).round()
    files = [path for path in outbox.path.parent.iterdir() if path.is_file()]
    assert outbox.path in files and all(path.stat().st_mode & 0o077 == 0 for path in files)
    assert all(word not in path.read_bytes() for path in files for word in (b"S3CRET", SECRET.encode()))
    assert "S3CRET" not in repr(channel) + repr(vars(channel)["_address"])


def test_a_bug_of_ours_holds_up_no_other_notice_and_prints_nothing(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    class Buggy:
        name, host = "webhook", "x"

        def send(self, notice: Notice, left: Sequence[str] = ()) -> None:
            raise ValueError("https://hooks.example/S3CRET")

    clock = Clock()
    put(outbox, clock, Buggy(), notice("a"))
    assert sender(outbox, Buggy(), clock).round() == 0
    assert outbox.listed()["waiting"][0]["reason"] == "ValueError in Tenfold; please report it"
    assert "S3CRET" not in caplog.text


def test_a_notice_is_bounded_whatever_it_is_made_of() -> None:
    long = bounded(
        notice("k" * 9999, title="t" * 999, text="x" * 99_999, link="https://" + "x" * 999,
               facts={f"{n}" + "n" * 999: "v" * 999 for n in range(99)})
    )  # fmt: skip
    assert len(long.as_json()) < 20_000 and len(long.text) == LONGEST_TEXT and long.link is None
    assert len(long.facts) == 20 and len(long.key) <= 200
    assert bounded(notice("k" * 9999)).key != bounded(notice("k" * 9998)).key
    assert notice_of(long.as_json()) == long


@pytest.mark.parametrize("make", [lambda: notice(""), lambda: notice(title="\n"), lambda: notice(at_s=float("nan"))])
def test_a_notice_of_nothing_is_refused(outbox: Outbox, make: Callable[[], Notice]) -> None:
    with pytest.raises(NotifyError):
        outbox.put(make())


def test_an_outbox_that_cannot_be_written_is_said_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotifyError) as refused:
        Outbox(tmp_path / "file" / "outbox.db").put(notice())
    assert refused.value.retryable and "disk" in refused.value.hint


def test_how_a_deploy_ended_is_told_whatever_the_least_severity_of_alerts(ca: Ca, outbox: Outbox) -> None:
    with receiver(ca.serves(), 200) as there:
        channel = webhook(there.url(), ca.path)
        outbox.put(notice("deploy:1", severity=Severity.INFO, source="deploy"), notice("a", severity=Severity.INFO))
        outbox.assign(takers([channel], Severity.CRITICAL), NOW_S)
        assert outbox.counts()["waiting"] == 1
