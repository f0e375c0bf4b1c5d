"""What a statement is called in the metrics: its kind and its first table, never a value of it. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

_READ = 4000
"""Characters of a statement that are looked at; its first table stands before them."""
_TOKEN = re.compile(
    r"--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*(?:'|\Z)"  # comments and strings are passed over
    r'|"(?P<name>(?:[^"]|"")*)(?:"|\Z)|`(?P<back>[^`]*)(?:`|\Z)|\[(?P<square>[^\]]*)(?:\]|\Z)'
    r"|(?P<word>[^\W\d][\w$]*)|(?P<sign>[().])",
    re.DOTALL,
)
_QUOTED = {"name", "back", "square"}
_VERBS = {
    "select": "select", "values": "select", "insert": "insert", "replace": "insert", "update": "update",
    "delete": "delete", "create": "ddl", "drop": "ddl", "alter": "ddl", "truncate": "ddl",
}  # fmt: skip
# The word before the table. UPDATE and its modifiers are followed by it, the others by FROM, INTO, TABLE or ON.
_BEFORE = {"select": {"from"}, "insert": {"into"}, "delete": {"from"}, "ddl": {"table", "on"}}
_MODIFIERS = {"or", "rollback", "abort", "replace", "fail", "ignore", "low_priority", "if", "not", "exists", "only"}


@lru_cache(4096)
def labels(sql: str) -> tuple[str, str]:
    """(kind, table): select, insert, update, delete, ddl or other; the first table in lower case, "" without one."""
    tokens = [
        (token.lastgroup, token.group(token.lastgroup)) for token in _TOKEN.finditer(sql[:_READ]) if token.lastgroup
    ]
    depth = 0
    for position, (group, text) in enumerate(tokens):
        if group == "sign":
            depth += {"(": 1, ")": -1}.get(text, 0)
        elif group == "word" and depth == 0 and text.lower() in _VERBS:
            kind = _VERBS[text.lower()]
            # WITH t AS (SELECT … FROM users) SELECT … FROM t: the table is the one that the expression reads.
            return kind, _table(tokens[position:] if kind != "select" else tokens, kind)
    return "other", ""


def _table(tokens: list[tuple[str, str]], kind: str) -> str:
    """The name that follows the word which goes before a table."""
    awaited = kind == "update"
    name = ""
    for group, text in tokens[1:] if awaited else tokens:
        lower = text.lower()
        if name and lower != ".":
            break
        if lower == ".":
            awaited, name = bool(name), ""  # what stood before was the schema
        elif awaited and (group in _QUOTED or (group == "word" and lower not in _MODIFIERS)):
            name = lower
        elif group == "word" and not (awaited and lower in _MODIFIERS):
            awaited = lower in _BEFORE.get(kind, ())
        elif group == "sign":
            awaited = False
    return name
