"""The text of a SELECT cut into its clauses, so that pieces can be sent as the caller wrote them. Pure.

Nothing is printed from the parsed tree: a printer may change what it prints. The tree says what a
piece is; the piece itself is text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from tenfold.sharding.statement import Statement

_CLAUSES = {
    TokenType.FROM: "from", TokenType.WHERE: "where", TokenType.GROUP_BY: "group", TokenType.HAVING: "having",
    TokenType.WINDOW: "window", TokenType.ORDER_BY: "order", TokenType.LIMIT: "limit", TokenType.OFFSET: "offset",
    TokenType.FOR: "lock", TokenType.LOCK: "lock", TokenType.FETCH: "fetch",
}  # fmt: skip
_OPEN = {TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE}
_SHUT = {TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE}
_BOUNDS = {TokenType.COMMA, TokenType.L_PAREN, TokenType.R_PAREN}


@dataclass(frozen=True, slots=True)
class Piece:
    """Some tokens of a text, one after the other."""

    text: str
    tokens: Sequence[Token]

    def __str__(self) -> str:
        return self.text[self.tokens[0].start : self.tokens[-1].end + 1] if self.tokens else ""

    @property
    def words(self) -> tuple[tuple[TokenType, str], ...]:
        """The tokens without case: two pieces that say the same have the same words."""
        return tuple((token.token_type, _word(token)) for token in self.tokens)

    def replaced(self, spans: Sequence[tuple[int, int, str]]) -> str:
        """The text with some spans (start, end inclusive, as in the whole text) written otherwise."""
        pieces: list[str] = []
        done = self.tokens[0].start
        for start, end, written in sorted(spans):
            pieces += [self.text[done:start], written]
            done = end + 1
        return "".join([*pieces, self.text[done : self.tokens[-1].end + 1]])

    def find(self, other: Piece) -> list[tuple[int, int]]:
        """Where `other` stands in this piece as a whole: between commas, parentheses or the ends."""
        words, wanted = self.words, other.words
        found = []
        for at in range(len(words) - len(wanted) + 1):
            after = at + len(wanted)
            if words[at:after] == wanted and _bounded(self.tokens, at, after):
                found.append((self.tokens[at].start, self.tokens[after - 1].end))
        return found


@dataclass(frozen=True, slots=True)
class Item:
    """One of a list: the piece with its alias or direction (`whole`) and without (`bare`)."""

    whole: Piece
    bare: Piece


@dataclass(frozen=True, slots=True)
class Clauses:
    """select: up to the first item; head: with the items; body: from FROM to before LIMIT; source: FROM with WHERE
    items, group, order: the lists; having, limit: from their keyword to their end; empty where there is none."""

    select: Piece
    head: Piece
    body: Piece
    items: tuple[Item, ...]
    source: Piece
    group: tuple[Item, ...]
    having: Piece
    order: tuple[Item, ...]
    limit: Piece


def cut(statement: Statement) -> Clauses | None:
    """The clauses of a plain SELECT; None where its text has more than these."""
    tree = statement.tree
    if not isinstance(tree, exp.Select) or tree.args.get("with_") or tree.args.get("operation_modifiers"):
        return None
    text, tokens = statement.numbered, statement.numbered_tokens
    starts = _starts(tokens)
    if (
        starts is None
        or tokens[0].token_type is not TokenType.SELECT
        or not {"window", "lock", "fetch"}.isdisjoint(starts)
    ):
        return None
    bounds = sorted([*starts.values(), len(tokens)])

    def piece(*names: str) -> Piece:
        present = [starts[name] for name in names if name in starts]
        if not present:
            return Piece(text, ())
        return Piece(text, tokens[present[0] : bounds[bounds.index(present[-1]) + 1]])

    def listed(name: str) -> tuple[Item, ...]:
        return _items(Piece(text, piece(name).tokens[1:]))

    first = 2 if tokens[1].token_type in (TokenType.DISTINCT, TokenType.ALL) else 1
    items = _items(Piece(text, tokens[first : bounds[0]]))
    end = min(starts.get("limit", len(tokens)), starts.get("offset", len(tokens)))
    found = Clauses(
        select=Piece(text, tokens[:first]),
        head=Piece(text, tokens[: bounds[0]]),
        body=Piece(text, tokens[bounds[0] : end]),
        items=items,
        source=piece("from", "where"),
        group=listed("group"),
        having=piece("having"),
        order=listed("order"),
        limit=piece("limit", "offset"),
    )
    group, order = tree.args.get("group"), tree.args.get("order")
    agrees = (
        len(items) == len(tree.expressions)
        and len(found.group) == (len(group.expressions) if group else 0)
        and len(found.order) == (len(order.expressions) if order else 0)
    )
    return found if agrees else None


def _starts(tokens: Sequence[Token]) -> dict[str, int] | None:
    """Where each clause begins; None when one begins twice (a UNION, or a text that is not understood)."""
    starts: dict[str, int] = {}
    depth = 0
    for position, token in enumerate(tokens):
        depth += (token.token_type in _OPEN) - (token.token_type in _SHUT)
        name = _CLAUSES.get(token.token_type) if depth == 0 else None
        if name is None:
            continue
        if name in starts:
            return None
        starts[name] = position
    return starts


def _items(piece: Piece) -> tuple[Item, ...]:
    return tuple([_item(piece.text, part) for part in parts_of(piece.tokens)])


def closing(tokens: Sequence[Token], at: int) -> int:
    """Where what opens at `at` is closed, in a text that was parsed."""
    depth = 0
    for position in range(at, len(tokens)):
        depth += (tokens[position].token_type in _OPEN) - (tokens[position].token_type in _SHUT)
        if depth == 0:
            return position
    return len(tokens)


def parts_of(tokens: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """What stands between the commas."""
    depth = start = 0
    for position, token in enumerate(tokens):
        kind = token.token_type
        if kind in _OPEN:
            depth += 1
        elif kind in _SHUT:
            depth -= 1
        elif depth == 0 and kind is TokenType.COMMA:
            yield tokens[start:position]
            start = position + 1
    if tokens:
        yield tokens[start:]


def _item(text: str, tokens: Sequence[Token]) -> Item:
    """Leave out `AS name` or `name`, ASC, DESC and NULLS FIRST or LAST at the end."""
    end = len(tokens)
    if end > 2 and tokens[-2].token_type is TokenType.ALIAS:
        return Item(Piece(text, tokens), Piece(text, tokens[:-2]))
    if end > 1 and _is_name(tokens[-1]) and _ends_a_value(tokens[-2]):
        return Item(Piece(text, tokens), Piece(text, tokens[:-1]))
    if end > 2 and tokens[-2].text.upper() == "NULLS":
        end -= 2
    if end > 1 and tokens[end - 1].token_type in (TokenType.ASC, TokenType.DESC):
        end -= 1
    return Item(Piece(text, tokens), Piece(text, tokens[:end]))


def _is_name(token: Token) -> bool:
    return token.token_type in (TokenType.VAR, TokenType.IDENTIFIER, TokenType.STRING)


def _ends_a_value(token: Token) -> bool:
    return _is_name(token) or token.token_type in (TokenType.R_PAREN, TokenType.NUMBER, TokenType.NULL, TokenType.END)


def _word(token: Token) -> str:
    return token.text if token.token_type is TokenType.STRING else token.text.lower()


def _bounded(tokens: Sequence[Token], start: int, end: int) -> bool:
    before = tokens[start - 1].token_type if start else TokenType.COMMA
    after = tokens[end].token_type if end < len(tokens) else TokenType.COMMA
    return before in _BOUNDS and after in _BOUNDS


def span_of(column: exp.Column) -> tuple[int, int]:
    """Where a column stands in the text that was parsed, its qualifier included."""
    parts = [part.meta for part in column.parts]
    return min(part["start"] for part in parts), max(part["end"] for part in parts)


def list_of(text: str, listing: exp.In, column: exp.Column, tokens: Sequence[Token]) -> list[tuple[int, int]] | None:
    """Where each item of `column IN (…)` stands in the text; None where that is not clear."""
    _, end = span_of(column)
    at = next((at for at, token in enumerate(tokens) if token.start > end and token.token_type is TokenType.IN), None)
    if at is None or at + 1 >= len(tokens) or tokens[at + 1].token_type is not TokenType.L_PAREN:
        return None
    items = list(parts_of(tokens[at + 2 : closing(tokens, at + 1)]))
    if len(items) != len(listing.expressions):
        return None
    return [(item[0].start, item[-1].end) for item in items]
