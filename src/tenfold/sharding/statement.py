"""A statement as the planner sees it: parsed, its parameters numbered in the order of the text. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from sqlglot import Dialect as SqlglotDialect
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from tenfold.errors import RoutingError, StatementError
from tenfold.sharding.dialects import Dialect
from tenfold.sharding.ports import Params
from tenfold.topology.model import Engine

N = TypeVar("N", bound=exp.Expr)
_OWN = "tf_"
_NUMBERED = f"{_OWN}param_"
_NAMED = f"{_OWN}name_"


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
class Text:
    """SQL that Tenfold cut from the caller's text.

    slots  which of the caller's positional parameters its `?` take, in order; None: the parameters as they came
    """

    sql: str
    slots: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """sql: as the shards take it: `%s` is `?` by now, and on SQLite REPLACE is spelt out
    tree: parsed from `numbered`; tokens: of `sql`; positional: how many `?`
    numbered: `sql` with every `?` as a named parameter, so that pieces of it may change places (see `text_of`)
    numbered_tokens: of `numbered`
    nodes: of the tree, in its own order, so that it is walked once
    """

    sql: str
    kind: Kind
    tree: exp.Expr
    tokens: list[Token]
    positional: int
    numbered: str
    numbered_tokens: list[Token]
    dialect: Dialect
    nodes: Sequence[exp.Expr]

    def found(self, *kinds: type[N]) -> Iterator[N]:
        """The nodes of these types."""
        return (node for node in self.nodes if isinstance(node, kinds))

    @property
    def named(self) -> bool:
        """Whether its parameters have names."""
        return f":{_NAMED}" in self.numbered


_PARSERS = {engine: SqlglotDialect.get_or_raise(engine.value) for engine in Engine}
_KINDS: dict[type[exp.Expr], Kind] = {
    exp.Select: Kind.SELECT, exp.Union: Kind.SELECT, exp.Intersect: Kind.SELECT, exp.Except: Kind.SELECT,
    exp.Insert: Kind.INSERT, exp.Update: Kind.UPDATE, exp.Delete: Kind.DELETE,
    exp.Create: Kind.DDL, exp.Drop: Kind.DDL, exp.Alter: Kind.DDL, exp.TruncateTable: Kind.DDL,
}  # fmt: skip
_TRANSACTION = {"BEGIN", "START", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "END"}


def parse(sql: str, dialect: Dialect) -> Statement:
    """Parse one statement. Raises StatementError for what does not parse, RoutingError for what is not routed."""
    sql = question_marks(sql, dialect)
    tokens = tokens_of(sql, dialect)
    if not tokens:
        raise StatementError("the statement is empty", hint="write one SQL statement")
    first = tokens[0].text.upper()
    if first in _TRANSACTION:
        raise RoutingError(f"{first} is not sent as SQL", hint="use `with db.transaction() as tx:`")
    _refuse_hidden(tokens)
    for own in (_NUMBERED, _NAMED):
        if own in sql:
            raise RoutingError(f"{own} is a name of Tenfold's", hint="write it otherwise")
    written = sql
    if first == "REPLACE":
        # To the tokenizer everything after the short form is one text. INSERT is a letter shorter.
        insert = "INSERT OR REPLACE" if dialect.engine is Engine.SQLITE else "INSERT "
        written = f"{sql[: tokens[0].start]}{insert}{sql[tokens[0].end + 1 :]}"
        sql = written if dialect.engine is Engine.SQLITE else sql
        tokens = tokens_of(written, dialect)
    numbered, positional = _number_parameters(written, tokens)
    numbered_tokens = tokens if numbered == written else tokens_of(numbered, dialect)
    tree = _tree(numbered, numbered_tokens, first, dialect)
    if first == "REPLACE" and isinstance(tree, exp.Insert):
        tree.set("alternative", "REPLACE")
    nodes = list(tree.walk())
    if any(isinstance(node, exp.Parameter | exp.SessionParameter) for node in nodes):
        raise RoutingError("@, $ and numbered parameters are not supported", hint="write ? or :name")
    return Statement(sql, _KINDS[type(tree)], tree, tokens, positional, numbered, numbered_tokens, dialect, nodes)


def _tree(numbered: str, tokens: list[Token], first: str, dialect: Dialect) -> exp.Expr:
    try:
        found = _PARSERS[dialect.engine].parser().parse(tokens, numbered)
        # A Semicolon is a comment after the last one.
        trees = [tree for tree in found if tree is not None and not isinstance(tree, exp.Semicolon)]
    except (SqlglotError, RecursionError) as error:
        where = str(error).partition("\n")[0].replace(_NUMBERED, "?").replace(_NAMED, "")
        raise StatementError(f"the statement does not parse: {where}", hint="mend the SQL") from None
    if len(trees) != 1:
        raise RoutingError(f"{len(trees)} statements in one text", hint="send them one by one")
    tree = trees[0]
    if not isinstance(tree, exp.Expr) or type(tree) not in _KINDS:
        raise RoutingError(
            f"{first} statements are not routed",
            hint="run it on a shard itself, by the database's own client",
        )
    return tree


_REPLACE = re.compile(r"\s*REPLACE\b", re.IGNORECASE)


def _with_insert(sql: str) -> str:
    """The text with a leading REPLACE written as an INSERT of the same length, as what follows the one is but one
    token."""
    found = _REPLACE.match(sql)
    return f"{sql[: found.end() - 7]}INSERT {sql[found.end() :]}" if found else sql


_PERCENT = re.compile(r"%(?:\((\w+)\))?s(?!\w)")


def question_marks(sql: str, dialect: Dialect) -> str:
    """Write `%s` as `?` and `%(name)s` as `:name`. As in Python's drivers, `%%` is then a percent sign everywhere."""
    if "%" not in sql or not _PERCENT.search(sql):
        return sql
    markers: list[tuple[int, int, str]] = []
    for token in tokens_of(_with_insert(sql), dialect):
        found = _PERCENT.match(sql, token.start) if token.token_type is TokenType.MOD else None
        if found:
            markers.append((found.start(), found.end(), f":{found[1]}" if found[1] else "?"))
    if not markers:  # the sign stands in a text
        return sql
    pieces, done = [], 0
    for start, end, marker in markers:
        pieces += [sql[done:start].replace("%%", "%"), marker]
        done = end
    return "".join([*pieces, sql[done:].replace("%%", "%")])


def _refuse_hidden(tokens: Sequence[Token]) -> None:
    """What MySQL runs inside comments would be routed unseen."""
    for token in tokens:
        if any(comment.startswith(("!", "M!")) for comment in token.comments):
            raise RoutingError("comments that the database executes (/*! … */) are not routed", hint="write it plainly")


def tokens_of(sql: str, dialect: Dialect) -> list[Token]:
    """The tokens of a text, semicolons at its end left out. Raises StatementError for what has none."""
    try:
        tokens = _PARSERS[dialect.engine].tokenize(sql)
    except SqlglotError as error:
        raise StatementError(f"the statement does not parse: {error}", hint="mend the SQL") from None
    while tokens and tokens[-1].token_type is TokenType.SEMICOLON:
        tokens.pop()
    return tokens


def _number_parameters(sql: str, tokens: Sequence[Token]) -> tuple[str, int]:
    """Give every `?` a name, so that each is known by its place in the text whatever the tree's order, and names
    a prefix, as the parser knows some of them for keywords."""
    pieces: list[str] = []
    done = count = 0
    named = False
    for position, token in enumerate(tokens):
        following = tokens[position + 1] if position + 1 < len(tokens) else None
        if token.token_type is TokenType.PLACEHOLDER:
            if following and following.start == token.end + 1 and following.token_type is TokenType.NUMBER:
                raise RoutingError("numbered parameters (?1) are not supported", hint="write ? or :name")
            done_at = token.end + 1
            apart = " " if sql[done_at : done_at + 1].isalnum() else ""  # for `x=?AND`
            pieces += [sql[done : token.start], f":{_NUMBERED}{count}{apart}"]
            done, count = done_at, count + 1
        elif token.token_type is TokenType.COLON and following and following.start == token.end + 1:
            named = True
            if following.text.startswith(_OWN):
                raise RoutingError(f"names of parameters that start with {_OWN} are Tenfold's", hint="rename it")
            pieces += [sql[done : token.start], f":{_NAMED}"]
            done = following.start
    if named and count:
        raise RoutingError("parameters by place and by name are mixed in one statement", hint="use one of the two")
    return "".join([*pieces, sql[done:]]), count


_MARKER = re.compile(rf":{_NUMBERED}([0-9]+)")


def text_of(numbered: str, positional: int) -> Text:
    """A text made of pieces of `Statement.numbered`, as shards take it. positional: as in the Statement."""
    if not positional:
        return Text(numbered.replace(f":{_NAMED}", ":"))
    alone = _MARKER.fullmatch(numbered)
    if alone:
        return Text("?", (int(alone[1]),))
    return Text(_MARKER.sub("?", numbered), tuple(int(slot) for slot in _MARKER.findall(numbered)))


def picked(text: Text, params: Params) -> Params:
    """The parameters that `text` takes, in its order."""
    if text.slots is None or isinstance(params, Mapping):
        return params
    if text.slots and max(text.slots) >= len(params):
        return params  # the shard says how many there should be
    return [params[slot] for slot in text.slots]


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
        return Param(int(name[len(_NUMBERED) :]) if name.startswith(_NUMBERED) else name.removeprefix(_NAMED))
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
