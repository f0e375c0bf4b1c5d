"""What the ledger says no to, with the HTTP status that says it. Pure.

Problem
├── Invalid          422  fields hold what is wrong with each
├── NotSignedIn      401
├── Refused          403
├── Missing          404
├── Taken            409
├── TooLarge         413
├── WrongType        415
└── Busy             503  again in a moment
"""

from __future__ import annotations

from collections.abc import Mapping


class Problem(Exception):
    """status: of the HTTP answer; code: for programs; str(problem): for people; fields: field → what is wrong."""

    status = 400
    code = "bad_request"

    def __init__(self, message: str, *, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.fields = dict(fields or {})


class Invalid(Problem):
    """Some fields are not as they must be."""

    status = 422
    code = "invalid"

    def __init__(self, message: str = "Please mend the marked fields.", **fields: str) -> None:
        super().__init__(message, fields=fields)


class NotSignedIn(Problem):
    """Nobody is signed in, or the e-mail and password do not belong together."""

    status = 401
    code = "not_signed_in"


class Refused(Problem):
    """This one may not do that."""

    status = 403
    code = "refused"


class Missing(Problem):
    """There is no such thing."""

    status = 404
    code = "not_found"


class Taken(Problem):
    """Someone else has it already, or the key was used for something else."""

    status = 409
    code = "taken"


class Busy(Problem):
    """Too much to do at this moment."""

    status = 503
    code = "busy"


class TooLarge(Problem):
    """The body of the request is larger than the ledger reads."""

    status = 413
    code = "too_large"


class WrongType(Problem):
    """The body of the request is not of the type that is read here."""

    status = 415
    code = "wrong_type"
