"""A notice: what one person or program is told once, on every channel. Pure."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tenfold.errors import NotifyError
from tenfold.topology.operations import Severity

LONGEST_KEY, LONGEST_TITLE, LONGEST_TEXT = 200, 200, 4000
MOST_FACTS, LONGEST_NAME, LONGEST_FACT = 20, 60, 300
LONGEST_LINK = 500
RANK = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}
DEPLOYS = "deploy"
"""The source of what tells how a deploy ended."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_CONTROL_IN_TEXT = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]+")
_UNPAIRED = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell.

    key       names it for ever: what has been put under a key is told once; receivers see its digest (`identity`)
    title     one line; `text` a few
    at_s      seconds since 1970 at which it happened, not at which it is told
    source    the part of Tenfold that tells it: "alerts", "deploy"
    link      where to look further
    facts     figures beside it, in the operator's units; never a secret
    resolved  whether it takes an earlier one back
    """

    key: str
    severity: Severity
    title: str
    text: str
    at_s: float
    source: str
    link: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    resolved: bool = False

    @property
    def identity(self) -> str:
        """The digest of the key, 32 hexadecimal digits: what receivers may know it by."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:32]

    @property
    def word(self) -> str:
        """How bad it is, in one word: "critical", "warning", "info", "resolved"."""
        return "resolved" if self.resolved else self.severity.value

    def as_json(self) -> str:
        """For the outbox."""
        return json.dumps(asdict(self), ensure_ascii=False)


def notice_of(text: str) -> Notice:
    """A notice from what `as_json` made. Raises ValueError, TypeError, KeyError for anything else."""
    fields: dict[str, Any] = json.loads(text)
    return Notice(**{**fields, "severity": Severity(fields["severity"])})


def bounded(notice: Notice) -> Notice:
    """The notice as channels may take it: its lines are lines, and nothing in it is longer than the limits above.

    Raises NotifyError for one without key or title, or with a moment that is none.
    """
    if not notice.key or not notice.title.strip():
        raise NotifyError("a notice needs a key and a title", hint="this is a bug of ours; please report it")
    if not math.isfinite(notice.at_s):
        raise NotifyError("a notice needs a moment", hint="this is a bug of ours; please report it")
    key = notice.key
    if len(key) > LONGEST_KEY:  # cut alone, two long keys could become one
        key = key[: LONGEST_KEY - 33] + "#" + notice.identity
    facts = {
        line(name, LONGEST_NAME): line(value, LONGEST_FACT) for name, value in list(notice.facts.items())[:MOST_FACTS]
    }
    return Notice(
        key=_UNPAIRED.sub("?", key),
        severity=notice.severity,
        title=line(notice.title, LONGEST_TITLE),
        text=cut(_CONTROL_IN_TEXT.sub(" ", _UNPAIRED.sub("?", notice.text)).strip(), LONGEST_TEXT),
        at_s=notice.at_s,
        source=line(notice.source, LONGEST_NAME),
        # Half an address leads elsewhere.
        link=notice.link if notice.link and len(notice.link) <= LONGEST_LINK and notice.link.isprintable() else None,
        facts=facts,
        resolved=notice.resolved,
    )


def line(text: str, most: int) -> str:
    """`text` on one line, of at most so many characters."""
    return cut(_CONTROL.sub(" ", _UNPAIRED.sub("?", text)).strip(), most)


def cut(text: str, most: int) -> str:
    """At most so many characters, the last of them "…" where some are missing."""
    return text if len(text) <= most else text[: most - 1] + "…"
