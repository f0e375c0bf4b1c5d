"""The text of an INSERT cut at its rows: ids added to each, and some rows sent without the others. Pure.

Done in the text, not by printing the tree: what the caller wrote reaches the database as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from sqlglot.tokenizer_core import Token, TokenType

from tenfold.sharding.statement import Statement

ID_PARAMETER = "tf_id_"


@dataclass(frozen=True, slots=True)
class RowCuts:
    """An INSERT is its head, its rows with commas between them, and its tail.

    counts  of positional parameters: in the head, in each row, in the tail
    """

    head: str
    rows: tuple[str, ...]
    tail: str
    counts: tuple[int, ...]

    def only(self, wanted: Sequence[int]) -> str:
        """The statement with just these rows (numbered from 0)."""
        return self.head + ", ".join(self.rows[row] for row in wanted) + self.tail

    def slots(self, wanted: Sequence[int]) -> list[int]:
        """Which of the whole statement's positional parameters `only(wanted)` takes, in order."""
        starts = [0]
        for count in self.counts:
            starts.append(starts[-1] + count)
        pieces = [0, *(row + 1 for row in wanted), len(self.rows) + 1]
        return [slot for piece in pieces for slot in range(starts[piece], starts[piece + 1])]


@dataclass(frozen=True, slots=True)
class _Places:
    """Offsets in the text. columns: of the `)` of the column list; rows: of `(` and behind `)` of each row;
    assigned: behind the last assignment of INSERT … SET."""

    columns: int | None
    rows: tuple[tuple[int, int], ...]
    assigned: int | None = None


def cut(statement: Statement, rows: int, id_column: str | None) -> tuple[str, tuple[int, ...], RowCuts | None]:
    """→ the text to send, where in the list of positional parameters ids go, and its cuts.

    rows       how many the parser saw
    id_column  quoted; to be added with a parameter for each row. None: the text stays as it is.
    """
    sql, tokens = statement.sql, statement.tokens
    places = _places(tokens)
    named = any(token.token_type is TokenType.COLON for token in tokens)
    if places.assigned is not None:
        if id_column is None:
            return sql, (), None
        marker = f":{ID_PARAMETER}0" if named else "?"
        text = f"{sql[: places.assigned]}, {id_column} = {marker}{sql[places.assigned :]}"
        return text, () if named else (_parameters(tokens, 0, places.assigned),), None
    if len(places.rows) != rows:
        return sql, (), None
    cuts = RowCuts(
        sql[: places.rows[0][0]],
        tuple(sql[start:end] for start, end in places.rows),
        sql[places.rows[-1][1] :],
        (
            _parameters(tokens, 0, places.rows[0][0]),
            *(_parameters(tokens, start, end) for start, end in places.rows),
            _parameters(tokens, places.rows[-1][1], len(sql)),
        ),
    )
    if id_column is None or places.columns is None:
        return sql, (), cuts
    head = _with_last(sql[: places.columns], id_column) + sql[places.columns : places.rows[0][0]]
    markers = [f":{ID_PARAMETER}{row}" if named else "?" for row in range(rows)]
    filled = tuple(_with_last(row[:-1], marker) + ")" for row, marker in zip(cuts.rows, markers, strict=True))
    between = [sql[end:start] for (_, end), (start, _) in pairwise(places.rows)]
    text = head + "".join(piece for pair in zip(filled, [*between, cuts.tail], strict=True) for piece in pair)
    if named:
        return text, (), replace(cuts, head=head, rows=filled)
    counts = (cuts.counts[0], *(count + 1 for count in cuts.counts[1:-1]), cuts.counts[-1])
    slots = tuple(sum(counts[: row + 2]) - 1 for row in range(rows))
    return text, slots, RowCuts(head, filled, cuts.tail, counts)


def _with_last(listed: str, item: str) -> str:
    """A list that is still open, `(a, b`, with one more item."""
    return listed + item if listed.rstrip().endswith("(") else f"{listed}, {item}"


def _parameters(tokens: Sequence[Token], start: int, end: int) -> int:
    return sum(token.token_type is TokenType.PLACEHOLDER and start <= token.start < end for token in tokens)


def _places(tokens: Sequence[Token]) -> _Places:
    depth, opened = 0, 0
    columns: int | None = None
    rows: list[tuple[int, int]] = []
    in_values = False
    # MySQL takes VALUE for VALUES; elsewhere it is a name.
    short = not any(token.token_type is TokenType.VALUES for token in tokens)
    for position, token in enumerate(tokens):
        kind = token.token_type
        if kind is TokenType.L_PAREN:
            opened = token.start if depth == 0 else opened
            depth += 1
        elif kind is TokenType.R_PAREN:
            depth -= 1
            if depth == 0 and in_values:
                rows.append((opened, token.end + 1))
                following = tokens[position + 1] if position + 1 < len(tokens) else None
                if following is None or following.token_type is not TokenType.COMMA:
                    break
            elif depth == 0 and columns is None:
                columns = token.start
        elif depth == 0 and columns is None and kind is TokenType.SET:
            return _Places(None, (), _end_of_assignments(tokens[position:]))
        elif depth == 0 and (kind is TokenType.VALUES or (short and token.text.upper() == "VALUE")):
            in_values = True
    return _Places(columns, tuple(rows))


def _end_of_assignments(tokens: Sequence[Token]) -> int:
    depth = 0
    for token, following in pairwise(tokens):
        depth += (token.token_type is TokenType.L_PAREN) - (token.token_type is TokenType.R_PAREN)
        if depth == 0 and following.token_type in (TokenType.ON, TokenType.RETURNING):
            return token.end + 1
    return tokens[-1].end + 1
