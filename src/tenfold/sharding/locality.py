"""Whether each shard alone gives its part of a SELECT's rows, so that all parts together are the answer. Pure.

It does if one use of a group's table, the anchor, decides where every row of the answer comes from: each
other use of a group's table sees only rows with the key of the anchor's row (docs/guides/sharding.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from tenfold.sharding.colocated import follow, reached
from tenfold.sharding.constraints import Analysis, Scope, Use, resolve
from tenfold.sharding.layout import Pinned


@dataclass(frozen=True, slots=True)
class Local:
    """A SELECT whose rows are those of the anchor's shards. peers: uses whose key is always that of the anchor."""

    scope: Scope
    anchor: Use
    peers: frozenset[int]

    def is_key(self, node: exp.Expr) -> bool:
        """Whether an expression is the shard key of the anchor's row, and so never the same on two shards."""
        found = resolve(node, self.scope)
        return (
            found is not None
            and id(found[0]) in self.peers
            and found[0].table is not None
            and found[1] == found[0].table.key
        )


def local(tree: exp.Expr, analysis: Analysis) -> Local | None:
    """The anchor of a SELECT, if it has one."""
    scope = analysis.scopes.get(id(tree))
    if not isinstance(tree, exp.Select) or scope is None or tree.args.get("with_") or scope.opaque:
        return None
    if any(isinstance(use.placed, Pinned) for use in analysis.uses):
        return None
    joins = tree.args.get("joins") or []
    if any((join.side or "").upper() in ("RIGHT", "FULL") or join.args.get("method") for join in joins):
        return None
    outer = {join.this.alias_or_name.lower() for join in joins if (join.side or "").upper() == "LEFT"}
    grouped = [use for use in analysis.uses if use.table]
    for use in scope.uses:
        if use.table is None or use.alias in outer:
            continue
        if follow(analysis, use):
            peers = frozenset(id(other) for other in grouped if id(use) in reached(analysis, other))
            return Local(scope, use, peers)
    return None
