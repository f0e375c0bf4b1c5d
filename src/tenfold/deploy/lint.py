"""Whether a statement leaves alone what the release that runs needs: expand first, contract later. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from sqlglot import exp

from tenfold.sharding.shapes import Column

NOT_A_MIGRATION = {
    word: why
    for words, why in (
        (("BEGIN", "START", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "XA"),
         "each file is run so that it can be resumed; leave transactions to Tenfold"),
        (("SET", "PRAGMA", "USE", "ATTACH", "DETACH", "LOCK", "UNLOCK", "FLUSH"),
         "sessions are Tenfold's; leave it out"),
        (("SELECT", "SHOW", "EXPLAIN", "DESCRIBE", "CALL", "DO", "HANDLER", "LOAD"), "leave it out"),
        (("GRANT", "REVOKE", "SHUTDOWN", "KILL", "RESET", "INSTALL", "VACUUM", "OPTIMIZE", "DELIMITER"),
         "run it by hand, as an administrator"),
    )
    for word in words
}  # fmt: skip


class Judged(Enum):
    """What a statement is to the release that runs; the values are said to its author."""

    EXPANDS = "it adds"
    DROPS = "it drops something"
    RENAMES = "it renames something"
    EMPTIES = "it empties a table"
    NARROWS = "it changes a column to what may not hold all it holds now"
    DEMANDS = "a column that is NOT NULL and has no default"
    UNKNOWN = "it cannot be judged"
    NEVER = "it is code"


_CODE = ("TRIGGER", "VIEW", "PROCEDURE", "FUNCTION", "EVENT", "DATABASE", "SCHEMA")


def expands(tree: exp.Expr, present: Mapping[str, Mapping[str, Column]]) -> Judged:
    """Judge one parsed statement. present: what the shards have now, to see what a change of type does."""
    if isinstance(tree, exp.Create):
        kind = str(tree.args.get("kind") or "").upper()
        return Judged.NEVER if kind in _CODE else Judged.EXPANDS if kind in ("TABLE", "INDEX") else Judged.UNKNOWN
    if isinstance(tree, exp.Insert | exp.Update | exp.Delete):
        return Judged.EXPANDS
    if isinstance(tree, exp.Drop):
        return Judged.NEVER if str(tree.args.get("kind") or "").upper() in _CODE else Judged.DROPS
    if isinstance(tree, exp.TruncateTable):
        return Judged.EMPTIES
    if isinstance(tree, exp.Alter):
        columns = present.get(tree.this.name.lower(), {}) if isinstance(tree.this, exp.Table) else {}
        for action in tree.args.get("actions") or ():
            judged = _action(action, columns)
            if judged is not Judged.EXPANDS:
                return judged
        return Judged.EXPANDS
    return Judged.NEVER if isinstance(tree, exp.Block) else Judged.UNKNOWN


def _action(action: exp.Expr, columns: Mapping[str, Column]) -> Judged:
    if isinstance(action, exp.ColumnDef):
        return Judged.DEMANDS if _demands(action) else Judged.EXPANDS
    if isinstance(action, exp.Drop):
        return Judged.DROPS
    if isinstance(action, exp.AlterRename | exp.RenameColumn):
        return Judged.RENAMES
    if isinstance(action, exp.AddConstraint):
        return Judged.EXPANDS
    if isinstance(action, exp.ModifyColumn):
        renamed = action.args.get("rename_from")
        defined = action.this
        if renamed is not None and renamed.name.lower() != defined.name.lower():
            return Judged.RENAMES
        return Judged.EXPANDS if _widens(defined, columns.get(defined.name.lower())) else Judged.NARROWS
    if isinstance(action, exp.AlterColumn):
        if action.args.get("dtype") is not None:
            return Judged.NARROWS
        return Judged.DROPS if action.args.get("drop") else Judged.EXPANDS
    return Judged.UNKNOWN


def _kinds(column: exp.ColumnDef) -> list[object]:
    return [constraint.args.get("kind") for constraint in column.args.get("constraints") or ()]


def _is_not_null(column: exp.ColumnDef) -> bool:
    return any(
        isinstance(kind, exp.NotNullColumnConstraint) and not kind.args.get("allow_null") for kind in _kinds(column)
    )


def _demands(column: exp.ColumnDef) -> bool:
    kinds = _kinds(column)
    must = _is_not_null(column) or any(isinstance(kind, exp.PrimaryKeyColumnConstraint) for kind in kinds)
    filled = (exp.DefaultColumnConstraint, exp.ComputedColumnConstraint, exp.AutoIncrementColumnConstraint,
              exp.GeneratedAsIdentityColumnConstraint)  # fmt: skip
    return must and not any(isinstance(kind, filled) for kind in kinds)


_WHOLE = ("tinyint", "smallint", "mediumint", "int", "bigint")
_TEXT = ("tinytext", "text", "mediumtext", "longtext")


def _widens(column: exp.ColumnDef, now: Column | None) -> bool:
    """Whether all that a column holds, and all that the release that runs writes, still fits."""
    kind = column.args.get("kind")
    if now is None or not isinstance(kind, exp.DataType):
        return False
    if now.nullable and any(
        isinstance(one, exp.NotNullColumnConstraint) and not one.args.get("allow_null") for one in _kinds(column)
    ):
        return False
    old, old_sizes, old_unsigned = _type(now.declared)
    new, new_sizes, new_unsigned = _type(kind.sql(dialect="mysql"))
    if old in _WHOLE and new in _WHOLE:
        return old_unsigned == new_unsigned and _WHOLE.index(new) >= _WHOLE.index(old)
    if old in ("varchar", "char") and new in _TEXT[1:]:
        return True
    if old in _TEXT and new in _TEXT:
        return _TEXT.index(new) >= _TEXT.index(old)
    if old != new or old_unsigned != new_unsigned:
        return False
    if old == "decimal":
        return len(new_sizes) == len(old_sizes) == 2 and new_sizes[0] >= old_sizes[0] and new_sizes[1] == old_sizes[1]
    return len(old_sizes) == len(new_sizes) and all(a <= b for a, b in zip(old_sizes, new_sizes, strict=True))


def _type(declared: str) -> tuple[str, tuple[int, ...], bool]:
    """("varchar", (20,), False) of "varchar(20)"; the display width of integers is no size."""
    head, _, rest = declared.lower().partition("(")
    words = head.split()
    name = {"integer": "int", "numeric": "decimal"}.get(words[0], words[0]) if words else ""
    inside, _, after = rest.partition(")")
    sizes = tuple(int(part) for part in inside.split(",") if part.strip().isdigit())
    return name, () if name in _WHOLE else sizes, "unsigned" in words or "unsigned" in after
