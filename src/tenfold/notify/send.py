"""The channels of a platform: each takes a notice to its receiver, once. Edge."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from tenfold.notify import messages, signing
from tenfold.notify.dialling import TOTAL_S, Resolve, resolved
from tenfold.notify.mailing import hand_over
from tenfold.notify.messages import Origin
from tenfold.notify.notice import Notice
from tenfold.notify.posting import post
from tenfold.topology.model import Topology
from tenfold.topology.notifying import HttpAddress, http_address
from tenfold.topology.operations import Email

NAMES = ("slack", "email", "webhook")
JSON = "application/json; charset=utf-8"


class Channel(Protocol):
    """A way to a receiver."""

    @property
    def name(self) -> str:
        """One of NAMES."""

    @property
    def host(self) -> str:
        """Whose machine takes it: all that is ever said of where it goes."""

    def send(self, notice: Notice, left: Sequence[str] = ()) -> None:
        """Returns once the receiver has taken it; raises Unreached. `left`: recipients still to be served; empty: all.

        A receiver that gets it twice can tell: by Idempotency-Key, by "id", or by Message-ID.
        """


class SlackChannel:
    """An incoming webhook of Slack."""

    name = "slack"

    def __init__(
        self, address: HttpAddress, origin: Origin, *, total_s: float = TOTAL_S, resolve: Resolve = resolved
    ) -> None:
        self._address, self._origin, self._total_s, self._resolve = address, origin, total_s, resolve

    @property
    def host(self) -> str:
        return self._address.host

    def send(self, notice: Notice, left: Sequence[str] = ()) -> None:
        headers = {"Content-Type": JSON, signing.IDEMPOTENCY: notice.identity}
        body = messages.slack(notice, self._origin)
        post(self._address, body, headers, total_s=self._total_s, resolve=self._resolve)


class WebhookChannel:
    """A signed webhook of the user's. `clock`: seconds since 1970, for the signature."""

    name = "webhook"

    def __init__(
        self, address: HttpAddress, secret: str, ca: Path | None, origin: Origin, *,
        clock: Callable[[], float] = time.time, total_s: float = TOTAL_S, resolve: Resolve = resolved,
    ) -> None:  # fmt: skip
        self._address, self._secret, self._ca, self._origin = address, secret, ca, origin
        self._clock, self._total_s, self._resolve = clock, total_s, resolve

    @property
    def host(self) -> str:
        return self._address.host

    def send(self, notice: Notice, left: Sequence[str] = ()) -> None:
        body, at_s = messages.webhook(notice, self._origin), int(self._clock())
        headers = {
            "Content-Type": JSON,
            signing.IDEMPOTENCY: notice.identity,
            signing.TIMESTAMP: str(at_s),
            signing.SIGNATURE: signing.signature(self._secret, at_s, body),
        }
        post(self._address, body, headers, ca=self._ca, total_s=self._total_s, resolve=self._resolve)


class EmailChannel:
    """Mail by a server."""

    name = "email"

    def __init__(
        self, email: Email, ca: Path | None, origin: Origin, *, total_s: float = TOTAL_S, resolve: Resolve = resolved
    ) -> None:
        self._email, self._ca, self._origin = email, ca, origin
        self._to = tuple(dict.fromkeys(email.to))
        self._total_s, self._resolve = total_s, resolve

    @property
    def host(self) -> str:
        return self._email.server

    def send(self, notice: Notice, left: Sequence[str] = ()) -> None:
        # Who is no longer in the file gets nothing; the head names all, whoever is still to be served.
        to = [recipient for recipient in self._to if not left or recipient in left]
        if to:
            mail = messages.mail(notice, self._origin, self._email.sender, self._to)
            hand_over(mail, self._email, to, ca=self._ca, total_s=self._total_s, resolve=self._resolve)


def channels(topology: Topology, *, total_s: float = TOTAL_S, resolve: Resolve = resolved) -> list[Channel]:
    """The channels of the file. Nothing is connected to yet.

    total_s  for one delivery, names and connection included
    """
    notify, origin = topology.notify, Origin(topology.platform.name, topology.environment)
    root = Path(topology.file).parent
    found: list[Channel] = []
    if notify.slack is not None:
        address = http_address(notify.slack.url.get_secret_value())
        found.append(SlackChannel(address, origin, total_s=total_s, resolve=resolve))
    if notify.email is not None:
        ca = root / notify.email.ca if notify.email.ca else None
        found.append(EmailChannel(notify.email, ca, origin, total_s=total_s, resolve=resolve))
    if notify.webhook is not None:
        ca = root / notify.webhook.ca if notify.webhook.ca else None
        address, secret = http_address(notify.webhook.url.get_secret_value()), notify.webhook.secret.get_secret_value()
        found.append(WebhookChannel(address, secret, ca, origin, total_s=total_s, resolve=resolve))
    return found
