"""A statement as the planner sees it: parsed, its parameters numbered in the order of the text. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from tenfold.errors import RoutingError, StatementError
from tenfold.sharding.ports import Params

_OWN = "tf_"
_NUMBERED = f"{_OWN}param_"


class Kind(StrEnum):
    """What a statement does."""

    SELECT = "select"
    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    DDL = "ddl"


@dataclass(frozen=True, slots=True)
class Const:
    """A value written in the text."""

    value: int | float | str | None


@dataclass(frozen=True, slots=True)
class Param:
    """A value that comes with each execution: position from 0, or name."""

    slot: int | str


Source = Const | Param


@dataclass(frozen=True, slots=True)
class Statement:
    """sql: as the caller wrote it, with REPLACE spelt out; tree: parsed; tokens: of `sql`; positional: how many `?`."""

    sql: str
    kind: Kind
    tree: exp.Expr
    tokens: list[Token]
    positional: int


_KINDS: dict[type[exp.Expr], Kind] = {
    exp.Select: Kind.SELECT, exp.Union: Kind.SELECT, exp.Intersect: Kind.SELECT, exp.Except: Kind.SELECT,
    exp.Insert: Kind.INSERT, exp.Update: Kind.UPDATE, exp.Delete: Kind.DELETE,
    exp.Create: Kind.DDL, exp.Drop: Kind.DDL, exp.Alter: Kind.DDL,
}  # fmt: skip
_TRANSACTION = {"BEGIN", "START", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "END"}


def parse(sql: str, dialect: str) -> Statement:
    """Parse one statement. Raises StatementError for what does not parse, RoutingError for what is not routed."""
    tokens = _tokens(sql, dialect)
    if not tokens:
        raise StatementError("the statement is empty", hint="write one SQL statement")
    first = tokens[0].text.upper()
    if first in _TRANSACTION:
        raise RoutingError(f"{first} is not sent as SQL", hint="use `with db.transaction() as tx:`")
    if first == "REPLACE":  # spelt out, as to the tokenizer everything after the short form is one text
        sql = f"{sql[: tokens[0].start]}INSERT OR REPLACE{sql[tokens[0].end + 1 :]}"
        tokens = _tokens(sql, dialect)
    numbered, positional = _number_parameters(sql, tokens)
    try:
        found = sqlglot.parse(numbered, dialect=dialect)
        # A Semicolon is a comment after the last one.
        trees = [tree for tree in found if tree is not None and not isinstance(tree, exp.Semicolon)]
    except (SqlglotError, RecursionError) as error:
        where = str(error).partition("\n")[0].replace(_NUMBERED, "?")
        raise StatementError(f"the statement does not parse: {where}", hint="mend the SQL") from None
    if len(trees) != 1:
        raise RoutingError(f"{len(trees)} statements in one text", hint="send them one by one")
    tree = trees[0]
    kind = _KINDS.get(type(tree))
    if not isinstance(tree, exp.Expr) or kind is None:
        raise RoutingError(
            f"{first} statements are not routed",
            hint="run it on a shard itself, by the database's own client",
        )
    if next(tree.find_all(exp.Parameter, exp.SessionParameter), None):
        raise RoutingError("@, $ and numbered parameters are not supported", hint="write ? or :name")
    return Statement(sql, kind, tree, tokens, positional)


def _tokens(sql: str, dialect: str) -> list[Token]:
    try:
        tokens = sqlglot.tokenize(sql, dialect=dialect)
    except SqlglotError as error:
        raise StatementError(f"the statement does not parse: {error}", hint="mend the SQL") from None
    while tokens and tokens[-1].token_type is TokenType.SEMICOLON:
        tokens.pop()
    return tokens


def _number_parameters(sql: str, tokens: Sequence[Token]) -> tuple[str, int]:
    """Give every `?` a name, so that each is known by its place in the text whatever the tree's order."""
    pieces: list[str] = []
    done = count = 0
    named = False
    for position, token in enumerate(tokens):
        following = tokens[position + 1] if position + 1 < len(tokens) else None
        if token.token_type is TokenType.PLACEHOLDER:
            if following and following.start == token.end + 1 and following.token_type is TokenType.NUMBER:
                raise RoutingError("numbered parameters (?1) are not supported", hint="write ? or :name")
            pieces += [sql[done : token.start], f":{_NUMBERED}{count} "]  # the space, for `x=?AND`
            done, count = token.end + 1, count + 1
        elif token.token_type is TokenType.COLON:
            named = True
            if following and following.text.startswith(_OWN):
                raise RoutingError(f"names of parameters that start with {_OWN} are Tenfold's", hint="rename it")
        elif token.token_type is TokenType.MOD and following and sql[token.start : following.end + 1] == "%s":
            raise RoutingError("%s is no parameter here", hint="write ? or :name")
    if named and count:
        raise RoutingError("? and :name are mixed in one statement", hint="use one of the two")
    return "".join([*pieces, sql[done:]]), count


def target_of(tree: exp.Expr) -> exp.Table | None:
    """The table that an INSERT, UPDATE or DELETE changes."""
    node = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    return node if isinstance(tree, exp.Insert | exp.Update | exp.Delete) and isinstance(node, exp.Table) else None


def source(node: object) -> Source | None:
    """Where the value of an expression comes from; None when it is more than a literal or a parameter."""
    if isinstance(node, exp.Paren):
        return source(node.this)
    if isinstance(node, exp.Placeholder):
        name = str(node.this or "")
        return Param(int(name[len(_NUMBERED) :]) if name.startswith(_NUMBERED) else name)
    if isinstance(node, exp.Null):
        return Const(None)
    if isinstance(node, exp.Neg):
        inner = source(node.this)
        return Const(-inner.value) if isinstance(inner, Const) and isinstance(inner.value, int | float) else None
    if isinstance(node, exp.Literal):
        return Const(node.this if node.is_string else _number(node.this))
    return None


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def value(of: Source, params: Params) -> Any:
    """The value of a source under these parameters. Raises StatementError for one that was not passed."""
    if isinstance(of, Const):
        return of.value
    held: Any = params  # a sequence for ?, a mapping for :name; anything else ends in the error below
    try:
        return held[of.slot]
    except (KeyError, IndexError, TypeError):
        name = f":{of.slot}" if isinstance(of.slot, str) else f"number {of.slot + 1}"
        raise StatementError(
            f"the statement has a parameter {name} that was not passed",
            hint="pass a sequence for ?, a mapping for :name",
        ) from None
