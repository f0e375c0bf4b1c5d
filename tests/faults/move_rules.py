"""The rules of the move protocol, each a switch. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rules:
    """True: kept. What breaks without each, and where that shows: `move_mutants`."""

    # Leases.
    lease_wait: bool = True
    """After the announcement the mover waits for all leases from before it."""
    finish_wait: bool = True
    """On finish it waits for all leases by an older epoch, before it kills."""
    undo_wait: bool = True
    """On undo it waits for all leases from before that was announced: those of a move that serves guard nothing."""
    lease_from_poll_start: bool = True
    """A lease counts from the start of its poll, not from the answer."""
    after_check: bool = True
    """After the answer the lease is looked at again."""
    same_version: bool = True
    """... and it must have the version that the statement was planned by."""
    connection_first: bool = True
    """The connection is taken before the lease is checked."""

    # Checks of fence rows.
    read_check_guarded: bool = True
    """A read of a bucket that may be taken away checks the fence."""
    read_check_unleased: bool = True
    """So does a read without a lease."""
    zero_row_check: bool = True
    """So does a write that matched nothing."""
    write_check_unleased: bool = True
    """A write without a lease runs in a transaction, which checks the fence before it commits."""
    several_buckets_check: bool = True
    """So does a write to several buckets of one shard, whatever its row count."""
    current_read: bool = True
    """The check reads what is, not what the transaction's snapshot shows."""
    epoch_in_fence: bool = True
    """The check compares the epoch, not the state alone."""
    open_only: bool = True
    """A fenced row does not pass the check, though the shard is still the owner."""

    # Scatters.
    scatter_filter: bool = True
    """Of an announced bucket, only its owner's rows are taken."""
    scatter_filter_serving: bool = True
    """Of one that is no longer guarded, too: the remains, or copies, are there until the announcement is cleared."""
    scatter_filter_unleased: bool = True
    """Without a lease that holds for every bucket: no announcement would have been heard."""
    scatter_demands_lease: bool = True
    """Planned with a lease, it is asked again once that has run out: fences of owners say nothing of copies."""
    scatter_compare: bool = True
    """After the last answer the fences of guarded buckets are checked (without a lease: all)."""

    # Fences and triggers.
    fence: bool = True
    """Writes are stopped before the last marks are carried over."""
    shared_lock: bool = True
    """A trigger's look at the fence locks it until the commit."""
    tombstones: bool = True
    """Fence rows stay after the move."""
    trigger_barrier: bool = True
    """CREATE TRIGGER waits for open transactions."""
    trigger_names: bool = True
    """A mover drops only its own triggers and those of attempts before it."""
    ddl_kill: bool = True
    """Whoever takes over kills the connection that its predecessors create and drop triggers by."""
    ddl_connection_first: bool = True
    """The connection for DDL is taken before the mover looks whether its token is still there, as a router's is."""

    # Capture and follow.
    capture_first: bool = True
    """Triggers come before the copy."""
    capture_in_transaction: bool = True
    """Marks are written in the writer's transaction."""
    position_with_rows: bool = True
    """The copy's position commits with the rows it describes."""
    row_after_version: bool = True
    """A mark's version is read first, then the row."""
    conditional_forget: bool = True
    """A mark goes only if its version is unchanged."""

    # Cutover.
    drain: bool = True
    """Behind the fence, marks are carried over until none is left."""
    verification: bool = True
    """Source and target are compared before the bump."""
    notes_marks: bool = True
    """Compared ahead: a mark that is read puts its row in doubt, before it is taken away."""
    doubts_differing: bool = True
    """... and so does a row that differs where it is read."""
    survey_after_capture: bool = True
    """... which begins when changes are marked."""
    survey_anew: bool = True
    """... and is done again by whoever takes over."""
    reverse_before_open: bool = True
    """The target captures before it takes writes."""
    compare_and_set: bool = True
    """The bump is made only if the catalog still has the mover's token."""
    phase_by_token: bool = True
    """So is every other phase, and the end of the announcement."""
    bump_before_open: bool = True
    """The catalog names the new owner before the shards do."""
    moved_before_open: bool = True
    """The source says `moved` before the target says `open`."""
    forward_only: bool = True
    """There is no cancel after the bump."""
    token_on_shards: bool = True
    """Each transaction of a mover on a shard demands its own token there."""
    token_grows: bool = True
    """A token is written only over a smaller one."""

    # Finish.
    kill: bool = True
    """Connections to the source are killed before its triggers go."""
    late_kill_limit: bool = True
    """... all that were opened before the leases had run out, not only those from before the cutover."""
    announcement_last: bool = True
    """The announcement is cleared after copies and remains."""


PROTOCOL = Rules()
