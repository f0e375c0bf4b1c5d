"""Notices and channels for tests. Edge."""

from __future__ import annotations

from pathlib import Path

from tenfold.notify.messages import Origin
from tenfold.notify.notice import Notice
from tenfold.notify.send import EmailChannel, SlackChannel, WebhookChannel
from tenfold.topology.notifying import http_address
from tenfold.topology.operations import Email, Severity

NOW_S = 1_785_000_000.0
ORIGIN = Origin("ledger", "production")
SECRET = "k3y-of-the-signature"


def notice(key: str = "alerts/x/1", **more: object) -> Notice:
    given = {
        "severity": Severity.CRITICAL, "title": "shard_1 is down", "text": "connection refused", "at_s": NOW_S,
        "source": "alerts", "facts": {"target": "shard_1"},
    }  # fmt: skip
    return Notice(key=key, **{**given, **more})  # type: ignore[arg-type]


class Clock:
    """Time that a test turns."""

    def __init__(self, now_s: float = NOW_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def webhook(url: str, ca: Path | None = None, total_s: float = 20.0, **more: object) -> WebhookChannel:
    return WebhookChannel(http_address(url), SECRET, ca, ORIGIN, total_s=total_s, **more)  # type: ignore[arg-type]


def slack(url: str, total_s: float = 20.0) -> SlackChannel:
    return SlackChannel(http_address(url), ORIGIN, total_s=total_s)


def email(port: int, ca: Path | None = None, total_s: float = 20.0, **more: object) -> EmailChannel:
    given = {"server": "localhost", "port": port, "sender": "tenfold@example.com", "to": ("ann@example.com",)}
    return EmailChannel(Email.model_validate({**given, **more}), ca, ORIGIN, total_s=total_s)
