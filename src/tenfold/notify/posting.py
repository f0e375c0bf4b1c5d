"""One POST to a webhook: verified TLS, no redirect, little read, a bounded time. Edge."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path

from tenfold.notify.dialling import TOTAL_S, Deadline, Resolve, Unreached, dial, resolved, secured, trust
from tenfold.topology.notifying import HttpAddress

MOST_READ = 2048
# They say that this notice will never be taken; all others may be mended at the receiver.
NEVER = {400, 405, 410, 411, 413, 414, 415, 422}
# Slack's own words for what is wrong. No other word of a receiver is shown: it may repeat the address, a secret.
SLACK_WORDS = {
    "action_prohibited", "channel_is_archived", "channel_not_found", "invalid_payload", "invalid_token",
    "no_active_hooks", "no_service", "no_service_id", "no_team", "no_text",
    "posting_to_general_channel_denied", "rollup_error", "team_disabled", "too_many_attachments", "user_not_found",
}  # fmt: skip


def post(
    address: HttpAddress,
    body: bytes,
    headers: Mapping[str, str],
    *,
    ca: Path | None = None,
    total_s: float = TOTAL_S,
    resolve: Resolve = resolved,
) -> None:
    """Give `body` to the receiver; returns once it has answered 2xx. Raises Unreached.

    No proxy of the environment is used: TLS ends at the receiver, or nothing is sent.
    """
    deadline = Deadline(total_s)
    context = trust(ca) if address.scheme == "https" else None
    line = dial(address.host, address.port, deadline, loopback_only=context is None, resolve=resolve)
    with deadline.ends(line):
        if context is not None:
            line = secured(line, address.host, context, deadline)
        talk = http.client.HTTPConnection(address.host, address.port)
        talk.sock = line
        try:
            talk.request(
                "POST",
                address.target.get_secret_value(),
                body,
                {"Host": address.authority, "User-Agent": "Tenfold", "Connection": "close", **headers},
            )
            with talk.getresponse() as answer:
                status, after = answer.status, answer.headers.get("Retry-After", "")
                words = answer.read(MOST_READ).decode("utf-8", "replace").strip() if status >= 300 else ""
        except (OSError, http.client.HTTPException, ValueError):
            # Without what it says: the text of some of these errors repeats what was read or sent.
            if deadline.is_over:
                raise deadline.error(address.host) from None
            raise Unreached(
                f"{address.host} hung up, or does not speak HTTP", "see that the address is the receiver's"
            ) from None
        finally:
            talk.close()
    if deadline.is_over:  # cut off by us, half an answer can look like a whole one
        raise deadline.error(address.host)
    if not 200 <= status < 300:
        raise _refusal(address.host, status, after, words)


def _refusal(host: str, status: int, after: str, words: str) -> Unreached:
    try:
        phrase = f" {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = ""
    if 300 <= status < 400:
        return Unreached(
            f"{host} redirects ({status}{phrase}), and redirects are not followed",
            "let the file refer to the address that it redirects to",
            answered=True,
        )
    said = f" ({words})" if words in SLACK_WORDS else ""
    hint = "see what its log says"
    if status in (401, 403, 404, 410):
        hint = "see that the address still is the receiver's: it may have been withdrawn"
    return Unreached(
        f"{host} answered {status}{phrase}{said}", hint, answered=True, permanent=status in NEVER,
        asked_s=_asked_s(after.strip()),
    )  # fmt: skip


def _asked_s(after: str) -> float | None:
    """Seconds for which a Retry-After asks, which is a number of them or a date; None for anything else."""
    if after.isascii() and after.isdigit() and len(after) < 7:
        return float(after)
    with suppress(ValueError, TypeError, OverflowError):
        return max(0.0, parsedate_to_datetime(after).timestamp() - time.time())
    return None
