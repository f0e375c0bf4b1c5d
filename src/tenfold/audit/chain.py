"""Entries of the trail, each holding the digest of the one before: what was changed or left out shows. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

START = "0" * 64
"""What the first entry has in place of a digest before it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One act.

    number  from 1
    at_s    seconds since 1970
    who     the account and machine, or the part of Tenfold, that did it
    did     a word for it, such as "deploy" or "alert.ack"
    about   what it was done to, and how it ended; never a secret
    before  digest of the entry before
    """

    number: int
    at_s: float
    who: str
    did: str
    about: Mapping[str, Any]
    before: str

    @property
    def digest(self) -> str:
        """SHA-256 over the line without its digest, as 64 hexadecimal digits."""
        return hashlib.sha256(_text(self._fields()).encode()).hexdigest()

    def line(self) -> str:
        """As it stands in the file, without the line break."""
        return _text({**self._fields(), "digest": self.digest})

    def _fields(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "at_s": self.at_s,
            "who": self.who,
            "did": self.did,
            "about": dict(self.about),
            "before": self.before,
        }


def next_entry(last: Entry | None, at_s: float, who: str, did: str, about: Mapping[str, Any]) -> Entry:
    """The entry that follows `last`; None: the first."""
    return Entry(last.number + 1 if last else 1, at_s, who, did, about, last.digest if last else START)


def entry_of(line: str) -> Entry:
    """An entry from its line. Raises ValueError for what is none, or does not fit its own digest."""
    fields = json.loads(line)
    if not isinstance(fields, dict):
        raise ValueError("not an entry")
    digest = fields.pop("digest", None)
    try:
        entry = Entry(**fields)
    except TypeError:
        raise ValueError("not an entry") from None
    if entry.digest != digest:
        raise ValueError("does not fit its digest")
    return entry


def faults(lines: Iterable[str]) -> list[str]:
    """What is wrong with a trail, a sentence each: lines that were changed, left out or put in. What was cut off at
    its end does not show."""
    found, last = list[str](), None
    for position, line in enumerate(lines, 1):
        try:
            entry = entry_of(line)
        except ValueError as error:
            found.append(f"line {position} {error}")
            last = None
            continue
        if last is not None and (entry.before != last.digest or entry.number != last.number + 1):
            found.append(f"line {position} does not follow line {position - 1}")
        if position == 1 and (entry.before != START or entry.number != 1):
            found.append("line 1 is not the first entry")
        last = entry
    return found


def _text(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
