"""What each channel says of a notice, escaped for where it goes; the same bytes at every try. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from tenfold.notify.notice import Notice, bounded

# A word and a shape each, so that no one depends on the colour.
_SHAPES = {"critical": "\U0001f6d1", "warning": "\u26a0\ufe0f", "info": "\u2139\ufe0f", "resolved": "\u2705"}


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose notice it is."""

    platform: str
    environment: str | None = None

    def __str__(self) -> str:
        return f"{self.platform} {self.environment}" if self.environment else self.platform


def slack(notice: Notice, origin: Origin) -> bytes:
    """The JSON for an incoming webhook of Slack, Mattermost and the like."""
    notice = bounded(notice)
    head = f"{_SHAPES[notice.word]} *{_slack(notice.word)}* · {_slack(str(origin))}: *{_slack(notice.title)}*"
    facts = [f"• {_slack(name)}: {_slack(value)}" for name, value in notice.facts.items()]
    # An address stands alone between the brackets: a "|" in it would begin another text for the link.
    link = [f"<{_slack(notice.link).replace('|', '%7C')}>"] if notice.link else []
    text = "\n".join([head, *([_slack(notice.text)] if notice.text else []), *facts, *link])
    return _json({"text": text, "unfurl_links": False, "unfurl_media": False})


def _slack(text: str) -> str:
    # The three that Slack asks for; without them "<!channel>" in the name of a route would wake everybody.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def webhook(notice: Notice, origin: Origin) -> bytes:
    """The JSON for a webhook of the user's; docs/guides/notify.md names its fields."""
    notice = bounded(notice)
    return _json(
        {
            "version": 1,
            "id": notice.identity,
            "platform": origin.platform,
            "environment": origin.environment,
            "severity": notice.severity.value,
            "resolved": notice.resolved,
            "title": notice.title,
            "text": notice.text,
            "at_s": round(notice.at_s, 3),
            "source": notice.source,
            "link": notice.link,
            "facts": dict(notice.facts),
        }
    )


def mail(notice: Notice, origin: Origin, sender: str, to: Sequence[str]) -> bytes:
    """The mail, as it goes over the line. Its Message-ID is that of the notice: a second copy is known as one."""
    notice = bounded(notice)
    message = EmailMessage(SMTP)
    # "=?" begins an encoded word, which Python decodes, and writes line breaks in it as lines of the head.
    message["Subject"] = f"[{origin}] {notice.word}: {notice.title}".replace("=?", "= ?")
    message["From"] = sender
    message["To"] = ", ".join(to)
    message["Date"] = format_datetime(datetime.fromtimestamp(notice.at_s, UTC))
    message["Message-ID"] = f"<{notice.identity}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # so that nobody's holiday answers
    facts = [f"{name}: {value}" for name, value in notice.facts.items()]
    parts = [notice.title, notice.text, "\n".join(facts), notice.link or "", f"-- \nTenfold, for {origin}"]
    message.set_content("\n\n".join(part for part in parts if part) + "\n", cte="quoted-printable")
    return message.as_bytes()


def _json(fields: dict[str, object]) -> bytes:
    return json.dumps(fields, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
