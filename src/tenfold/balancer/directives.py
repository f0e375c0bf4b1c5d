"""nginx's configuration as a tree, and the writer that quotes every word of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tenfold.errors import BalancerError

# Words that nginx reads the same with and without quotes. Everything else is quoted.
_BARE = re.compile(r"[A-Za-z0-9_$.:/=*@%+,~()-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ESCAPES = {'"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
# nginx drops a backslash before these, and keeps it before all others, so that patterns stay readable.
_BACKSLASH = re.compile(r"""\\(?=[\\"'trn\n\r\t]|\Z)""")
_INDENT = "    "


class Literal(str):
    """Text from the user's file, to be taken as it stands.

    nginx has no escape for `$` where it expands variables, so a literal with one cannot be written and
    is refused, as are control characters. (Patterns, where `$` is not expanded, are made by `starts_with`.)
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Directive:
    """`name arguments;`, or `name arguments { body }` when `body` is not None."""

    name: str
    arguments: tuple[str, ...] = ()
    body: tuple[Node, ...] | None = None


@dataclass(frozen=True, slots=True)
class Comment:
    """A line for the person who reads the file; never part of what nginx does."""

    text: str


@dataclass(frozen=True, slots=True)
class Gap:
    """An empty line."""


Node = Directive | Comment | Gap


def line(name: str, *arguments: str | int) -> Directive:
    """A directive that ends in `;`."""
    return Directive(name, tuple(a if isinstance(a, str) else str(a) for a in arguments))


def block(name: str, *arguments: str, body: Iterable[Node]) -> Directive:
    """A directive with a body in braces."""
    return Directive(name, arguments, tuple(body))


def mapping(source: str, variable: str, entries: Iterable[tuple[str, str]]) -> Directive:
    """`map source $variable { key value; … }`; a key that starts with `~` is a pattern."""
    return block("map", source, variable, body=(line(key, value) for key, value in entries))


def write(nodes: Iterable[Node], depth: int = 0) -> str:
    """The text of the tree: one directive a line, four spaces a level.

    Raises BalancerError for a word that nginx's language cannot hold.
    """
    return "".join(_write_one(node, _INDENT * depth, depth) for node in nodes)


def _write_one(node: Node, indent: str, depth: int) -> str:
    if isinstance(node, Gap):
        return "\n"
    if isinstance(node, Comment):
        return f"{indent}# {_CONTROL.sub(' ', node.text)}\n"
    words = " ".join(quote(word) for word in (node.name, *node.arguments))
    if node.body is None:
        return f"{indent}{words};\n"
    return f"{indent}{words} {{\n{write(node.body, depth + 1)}{indent}}}\n"


def quote(word: str) -> str:
    """One word as nginx reads it back unchanged; variables in it are still expanded."""
    if isinstance(word, Literal) and ("$" in word or _CONTROL.search(word)):
        raise BalancerError(
            f"nginx cannot hold {str(word)!r} as it stands",
            hint="take `$` and control characters out of the value in tenfold.toml",
        )
    if "\0" in word:
        raise BalancerError(f"nginx cannot hold {word!r}", hint="take the NUL character out of the value")
    if _BARE.fullmatch(word):
        return word
    return '"' + "".join(_ESCAPES.get(c, c) for c in _BACKSLASH.sub(r"\\\\", word)) + '"'


def starts_with(prefix: str) -> str:
    """A PCRE pattern (without anchor) that matches exactly the characters of `prefix`."""
    # nginx matches bytes, and a character outside ASCII is never special.
    return "".join(c if c.isalnum() or ord(c) > 127 or c in "/_-" else f"\\{c}" for c in prefix)
