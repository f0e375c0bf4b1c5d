"""TOML that cannot be read: the place, what is wrong there, what to write. Pure."""

from __future__ import annotations

import re

PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
KEY = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=")

# Start of tomllib's message -> (what is wrong, what to write).
WORDS = {
    "Expected newline": ("something follows the value", "write one key = value on a line, and texts in quotes"),
    "Invalid statement": ("neither a key nor a section starts here", 'write key = "value" or [section]'),
    "Cannot declare": ("this section stands here for the second time", "write each [section] once"),
    "Cannot overwrite": ("this key has a value already", "write each key once in its section"),
    "Cannot mutate": ("an inline table cannot grow later", "write all its keys inside its { }"),
    "Cannot redefine": ("this name stands for something else already", "write each name once in its section"),
    "Expected ']'": ("the section's name is not closed", "write [section]"),
    "Expected ']]'": ("the section's name is not closed", "write [[section]]"),
    "Expected '='": ("a key without a value", 'write key = "value"'),
    "Invalid initial character": ("no key can start so", 'write key = "value"; a key with other letters in quotes'),
    "Unclosed array": ("an array is not closed", "write ] after its last value, and commas between its values"),
    "Unclosed inline table": ("an inline table is not closed", "write } after its last value, on the same line"),
    "Duplicate inline table key": ("this key has a value already", "write each key once inside { }"),
    "Unescaped": ("a backslash that means nothing", 'write \\\\ for a backslash, or the text in \'single quotes\''),
    "Invalid hex": ("a character code that is not hexadecimal", "write \\u and four hexadecimal digits"),
    "Escaped character": ("a character code that stands for no character", "write the character itself"),
    "Unterminated": ("a text that is not closed", "write its closing quote on the same line"),
    "Illegal character": ("a character that cannot stand here", "write the text in quotes, closed on the same line"),
    "Invalid value": ("not a value", 'write a text in quotes, a number, true, false, [ … ] or { … }'),
    "Invalid date": ("not a date", "write a text in quotes, or a date such as 2026-01-31"),
    "Expected": ("a quote or bracket is missing", "write what was opened to its end"),
}  # fmt: skip


def explained(message: str, source: str) -> str:
    """One line for a message of tomllib. Never shows the line itself: an unquoted password may stand on it."""
    place = PLACE.search(message)
    starts = [start for start in WORDS if message.startswith(start)]
    what, remedy = WORDS[max(starts, key=len)] if starts else ("not TOML", "write it as https://toml.io shows")
    if place is None:
        return f"{what}; {remedy}"
    if place[1] is None:
        return f"at its end: {what}; {remedy}"
    lines = source.split("\n")
    row = int(place[1])
    key = KEY.match(lines[row - 1]) if row <= len(lines) else None
    return f"line {row}, column {place[2]}{f' ({key[1]})' if key else ''}: {what}; {remedy}"
