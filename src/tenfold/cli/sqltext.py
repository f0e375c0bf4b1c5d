"""SQL as it is typed: where a statement ends, and which ones the shell itself obeys. Pure."""

from __future__ import annotations

import re
from enum import Enum

from tenfold.topology.model import Engine

# What may hold a semicolon that ends nothing. The engines differ: to MySQL a backslash in a text speaks for the next
# letter, # begins a comment, and -- only before a space.
_PIECES = {
    Engine.SQLITE: re.compile(
        r"""'(?:[^']|'')*'(?!') | "(?:[^"]|"")*"(?!") | `[^`]*` | \[[^\]]*\] | --[^\n]*(?:\n|\Z) | /\*.*?\*/""",
        re.DOTALL | re.VERBOSE,
    ),
    Engine.MYSQL: re.compile(
        r"""'(?:[^'\\]|\\.|'')*'(?!') | "(?:[^"\\]|\\.|"")*"(?!") | `(?:[^`]|``)*` | [#][^\n]*(?:\n|\Z)
        | --(?=\s|\Z)[^\n]*(?:\n|\Z) | /\*.*?\*/""",
        re.DOTALL | re.VERBOSE,
    ),
}
_OPENS = {Engine.SQLITE: ("'", '"', "`", "[", "/*"), Engine.MYSQL: ("'", '"', "`", "/*")}
_COMMENT = ("--", "/*", "#")
_STOPS = re.compile(r"""[;'"`\[#/-]""")


class Turn(Enum):
    """What a statement does to the transaction of the shell."""

    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"


_TURNS = {
    Turn.BEGIN: r"BEGIN(\s+(WORK|TRANSACTION|IMMEDIATE|DEFERRED|EXCLUSIVE))?|START\s+TRANSACTION",
    Turn.COMMIT: r"(COMMIT|END)(\s+(WORK|TRANSACTION))?",
    Turn.ROLLBACK: r"ROLLBACK(\s+(WORK|TRANSACTION))?",
}


def split(text: str, engine: Engine) -> tuple[list[str], str]:
    """(statements that a semicolon ended, without it; what is not ended yet). Empty ones are left out."""
    pieces, opens = _PIECES[engine], _OPENS[engine]
    ended: list[str] = []
    begin = at = 0
    while stop := _STOPS.search(text, at):
        if stop[0] == ";":
            ended.append(text[begin : stop.start()])
            begin = at = stop.end()
        elif piece := pieces.match(text, stop.start()):
            at = piece.end()
        elif text.startswith(opens, stop.start()):
            break  # it is not closed yet
        else:
            at = stop.end()
    return [one.strip() for one in ended if not is_blank(one, engine)], text[begin:]


def is_blank(text: str, engine: Engine) -> bool:
    """Whether there is nothing but space and comments."""
    rest = text.strip()
    while rest.startswith(_COMMENT):
        comment = _PIECES[engine].match(rest)
        if not comment:
            return False
        rest = rest[comment.end() :].strip()
    return not rest


def is_open(text: str, engine: Engine) -> bool:
    """Whether the text ends inside a quote or a comment."""
    ended, _ = split(f"{text}\n;", engine)
    return not ended and not is_blank(text, engine)


def turn(statement: str) -> Turn | None:
    """What it does to the shell's transaction; None for every other statement."""
    return next((what for what, form in _TURNS.items() if re.fullmatch(form, statement.strip(), re.I)), None)


def reads(statement: str) -> bool:
    """Whether it looks like one that gives rows and changes nothing, so that the rows can be shown as they come."""
    first = re.match(r"(?i)\(*\s*(SELECT|VALUES|WITH)\b", statement)
    return first is not None and not (
        first[1].upper() == "WITH" and re.search(r"(?i)\b(INSERT|UPDATE|DELETE)\b", statement)
    )


def changes(statement: str) -> bool:
    """Whether the number of rows that it changed says something."""
    return re.match(r"(?i)(INSERT|REPLACE|UPDATE|DELETE|WITH)\b", statement) is not None


def is_secret(statement: str) -> bool:
    """Whether it may hold a password, and so must not be remembered."""
    return re.search(r"(?i)identified|password|secret", statement) is not None
