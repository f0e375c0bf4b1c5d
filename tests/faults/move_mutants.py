"""What breaks when a rule of the move protocol is taken out, and where that shows. Pure."""

from __future__ import annotations

from dataclasses import dataclass

MASK = "verification"
"""Some rules are masked by the comparison of source and target before the bump: it stops the move instead."""
AHEAD = {"notes_marks", "doubts_differing", "survey_after_capture", "survey_anew"}
"""Where rows are compared ahead of the fence, these take its place."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """without: fields of `Rules`; breaks: how the message of what breaks begins; where: a scenario."""

    without: tuple[str, ...]
    breaks: str
    where: str


MUTANTS = (
    # A read that is not linearizable.
    Mutant(("lease_wait",), "P3", "a reader, and a write that it must not miss"),
    Mutant(("lease_from_poll_start",), "P3", "a reader whose polls take their time"),
    Mutant(("read_check_guarded",), "P3", "a reader, and a write that it must not miss"),
    Mutant(("read_check_unleased",), "P3", "a reader without the catalog"),
    Mutant(("epoch_in_fence",), "P3", "a reader, and a move that is undone"),
    Mutant(("undo_wait",), "P3", "a reader, and a move that is undone"),
    # Either is enough: while the source is fenced, a read there passes no check.
    Mutant(("moved_before_open", "open_only"), "P3", "a reader, and a write that it must not miss"),
    # A scatter that sees a row twice, or not.
    Mutant(("after_check",), "P4", "a scatter"),
    Mutant(("same_version",), "P4", "a scatter"),
    Mutant(("scatter_filter",), "P4", "a scatter"),
    Mutant(("scatter_filter_serving",), "P4", "a scatter"),
    Mutant(("scatter_filter_unleased",), "P4", "a scatter without the catalog"),
    Mutant(("scatter_demands_lease",), "P4", "a scatter"),
    Mutant(("scatter_compare",), "P4", "a scatter, and a row born meanwhile"),
    Mutant(("announcement_last",), "P4", "a scatter"),
    Mutant(("announcement_last",), "P4", "a scatter, and a move that is cancelled"),
    Mutant(("token_on_shards",), "P4", "a scatter and two movers"),
    # A write that is lost.
    Mutant(("zero_row_check",), "P1", "an update of a row born meanwhile"),
    Mutant(("several_buckets_check",), "P1", "an update of it and of another bucket"),
    Mutant(("undo_wait",), "P1", "an update of a row born meanwhile"),
    Mutant(("current_read",), "P1", "an update of it in an older snapshot"),
    Mutant(("write_check_unleased",), "P1", "a writer without the catalog"),
    Mutant(("tombstones",), "P1", "a writer without the catalog"),
    Mutant(("connection_first",), "P1", "a writer, up to the end"),
    Mutant(("finish_wait",), "P1", "a writer, up to the end"),
    Mutant(("kill",), "P1", "a writer, up to the end"),
    Mutant(("late_kill_limit",), "P1", "a writer, up to the end"),
    Mutant(("trigger_barrier",), "P1", "a writer, up to the cutover"),
    Mutant(("shared_lock",), "P1", "a writer, up to the cutover"),
    Mutant(("fence",), "P1", "a writer, up to the cutover"),
    Mutant(("compare_and_set",), "P1", "two movers"),
    Mutant(("phase_by_token",), "P1", "two moves by two movers"),
    Mutant(("token_on_shards",), "P1", "two movers"),
    Mutant(("forward_only",), "P1", "two movers and a write"),
    Mutant(("bump_before_open",), "P1 while at rest", "a writer without the catalog, and two movers"),
    # The same, were it not for the verification.
    Mutant(("capture_first", MASK), "P1", "a writer, up to the cutover"),
    Mutant(("capture_in_transaction", MASK), "P1", "a writer, up to the cutover"),
    Mutant(("drain", MASK), "P1", "a writer, up to the cutover"),
    # Compared ahead, rows that were changed without a mark, or whose mark was not read, are in no doubt.
    Mutant(("capture_in_transaction",), "P1", "a writer, compared ahead"),
    Mutant(("drain",), "P1", "a writer, compared ahead"),
    Mutant(("fence",), "P1", "a writer, compared ahead"),
    Mutant(("shared_lock",), "P1", "a writer, compared ahead"),
    Mutant(("trigger_barrier",), "P1", "a writer, compared ahead"),
    Mutant(("token_on_shards",), "P1", "two movers, compared ahead"),
    Mutant(("capture_first", "doubts_differing"), "P1", "a writer, compared ahead"),
    Mutant(("capture_first", "survey_after_capture"), "P1", "a writer, compared ahead"),
    Mutant(("position_with_rows", "doubts_differing"), "P1", "two movers, compared ahead"),
    Mutant(("position_with_rows", "survey_anew"), "P1", "two movers, compared ahead"),
    Mutant(("conditional_forget", "notes_marks"), "P1", "two writes while marks are carried over, compared ahead"),
    Mutant(("row_after_version", "notes_marks"), "P1", "two writes while marks are carried over, compared ahead"),
    Mutant(("position_with_rows", MASK), "P1", "two movers"),
    Mutant(("conditional_forget", MASK), "P1", "two writes while marks are carried over"),
    Mutant(("row_after_version", MASK), "P1", "two writes while marks are carried over"),
    Mutant(("reverse_before_open", MASK), "P1", "two writes while marks are carried over"),
    # Either keeps a zombie from dropping its successor's triggers. The verification does not: dropped after it,
    # they no longer refuse writes behind the fence.
    Mutant(("trigger_names", "ddl_kill"), "P1", "two moves by two movers"),
    # Triggers that nobody drops; movers that stop each other.
    Mutant(("ddl_kill",), "P5", "two movers"),
    Mutant(("ddl_connection_first",), "P5", "two movers"),
    Mutant(("token_grows",), "P5", "two movers"),
)
