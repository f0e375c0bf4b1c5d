"""Whether the rows that a statement brings together always lie on one shard, whatever their key. Pure."""

from __future__ import annotations

from tenfold.sharding.constraints import Analysis, Use


def follow(analysis: Analysis, anchor: Use, besides: Use | None = None) -> bool:
    """Whether of every table of a group only rows matter that have the key of the row of `anchor`.

    Then each shard can run the statement for its own rows. besides: a use that is not looked at, as the
    target of an INSERT.
    """
    found = reached(analysis, anchor)
    return all(id(use) in found for use in analysis.uses if use.table and use is not besides)


def reached(analysis: Analysis, start: Use) -> set[int]:
    """The ids of the uses of which only rows matter that have the key of the row of `start`."""
    found = {id(start)}
    grown = True
    while grown:
        grown = False
        for one, other in analysis.edges:
            same_group = one.table and other.table and one.table.group == other.table.group
            if same_group and id(one) in found and id(other) not in found:
                found.add(id(other))
                grown = True
    return found
