"""What the page's forms may do: small, from this page and this session only, and no more than three things. Edge."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qsl

from starlette.requests import Request

from tenfold.dashboard.alerts import LASTS, LONGEST_NOTE, MORNING
from tenfold.errors import NotifyError

Act = Callable[[str, Mapping[str, str], str], Awaitable[None]]
"""(action, fields, who): does it, or raises TenfoldError. It must not block the event loop."""

ACTIONS = {"ack": ("id", "note"), "silence": ("id", "for_s", "note"), "unsilence": ("id",)}
MOST_BYTES, MOST_FIELDS = 16 * 1024, 20
LONGEST_ID = 400
TOKEN = "csrf"  # noqa: S105  the name of the field


class Refused(Exception):
    """A form that is not obeyed, and why; `status` is HTTP's."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


def token(key: bytes, session: str) -> str:
    """What a form of this session must hold. Another site can send our cookie along, and cannot know this."""
    return hmac.new(key, b"tenfold page form:" + session.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


async def fields_of(request: Request, expected: str) -> Mapping[str, str]:
    """The fields of a form that was sent from our own page. Raises Refused."""
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise Refused(403, "The form was sent from another site, so nothing was done.")
    # No address at all: a browser that keeps it to itself, as our Referrer-Policy has it.
    origin = request.headers.get("origin", "null")
    if origin not in ("null", f"{request.url.scheme}://{request.headers['host']}"):
        raise Refused(403, "The form was sent from another site, so nothing was done.")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise Refused(415, "This is no form of this page, so nothing was done.")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise Refused(413, "That is more than a form of this page can hold, so nothing was done.")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:
        raise Refused(400, "This is no form of this page, so nothing was done.") from None
    fields = dict(pairs)
    if not hmac.compare_digest(fields.pop(TOKEN, "").encode(), expected.encode()):
        raise Refused(403, "The page was older than its session, so nothing was done. Reload it, and try again.")
    return fields


def asked(action: str, fields: Mapping[str, str], now_s: float) -> Mapping[str, str]:
    """What the agent is asked for: only the fields that the action has, a choice of time as seconds.

    Raises NotifyError for what no form of ours can say.
    """
    given = {name: fields.get(name, "").strip() for name in ACTIONS[action]}
    if not given["id"] or len(given["id"]) > LONGEST_ID or len(given.get("note", "")) > LONGEST_NOTE:
        raise NotifyError("the form is not filled in as it should be", hint="reload the page, and try again")
    if "for_s" in given:
        if given["for_s"] not in dict(LASTS):
            raise NotifyError("a silence needs a time", hint=" or ".join(label for _, label in LASTS))
        given["for_s"] = _seconds(given["for_s"], now_s)
    return given


def _seconds(choice: str, now_s: float) -> str:
    if choice != "tomorrow":
        return choice
    here = time.localtime(now_s)
    # mktime knows the 32nd, and what the clock on the wall will say after it was changed in the night.
    morning_s = time.mktime((here.tm_year, here.tm_mon, here.tm_mday + 1, MORNING, 0, 0, 0, 0, -1))
    return str(round(morning_s - now_s))
