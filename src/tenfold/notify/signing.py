"""The signature of a webhook: who knows the secret can tell that we sent it, and when. Pure."""

from __future__ import annotations

import hashlib
import hmac

TIMESTAMP, SIGNATURE, IDEMPOTENCY = "Tenfold-Timestamp", "Tenfold-Signature", "Idempotency-Key"
SHORTEST_SECRET = 16
VERSION = "v1"


def signature(secret: str, at_s: int, body: bytes) -> str:
    """ "v1=" and HMAC-SHA256, as hexadecimal digits, over the timestamp's decimal text, a full stop and the body."""
    return f"{VERSION}={hmac.new(secret.encode(), str(at_s).encode() + b'.' + body, hashlib.sha256).hexdigest()}"


def is_ours(secret: str, at_s: int, body: bytes, given: str, now_s: float, tolerance_s: float = 300.0) -> bool:
    """Tell whether a receiver should believe `given`: right for this body, and made within the tolerance of `now_s`.

    Without the second half, whoever has once seen a request could send it again next year.
    """
    fresh = abs(now_s - at_s) <= tolerance_s
    return fresh and hmac.compare_digest(signature(secret, at_s, body).encode(), given.encode())
