"""What an error of MySQL or MariaDB means for us, without the values of rows that its words may hold. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tenfold.errors import ConstraintError, FenceError, NodeDown, NodeError, StatementError, TenfoldError

# A value is taken, missing or not allowed: duplicates, NULL and no default, foreign keys, checks.
CONSTRAINT = frozenset({1022, 1048, 1062, 1169, 1216, 1217, 1263, 1364, 1451, 1452, 1557, 1586, 1761, 1762, 1859,
                        3819, 4025})  # fmt: skip
LOST = frozenset({0, 1053, 1079, 1080, 1152, 1153, 1158, 1159, 1160, 1161, 1184, 1317, 1927, 2002, 2003, 2005, 2006,
                  2013, 2014, 2027, 2055, 4031})  # fmt: skip
"""The connection is gone, or the server is: nothing more can be asked on it."""
BUSY = frozenset({1040, 1203, 1226, 1637})
FULL = frozenset({3, 1021, 1026, 1114})
DENIED = frozenset({1044, 1045, 1129, 1130, 1142, 1143, 1227, 1370, 1698, 1820, 1862, 2059, 2061})
CHANGED = frozenset({1020, 1213, 1412})
"""Somebody else was quicker; the server has undone the transaction, or it could not be committed as one."""
TOO_LONG = frozenset({1969, 3024})
DEADLOCK = 1213
LOCK_WAIT, READ_ONLY, NO_DATABASE, TLS_FAILED, ENGINE = 1205, frozenset({1290, 1836}), 1049, 2026, 1030

# Messages whose quotes hold names only: of columns, tables, keys, accounts.
_NAMES_ONLY = frozenset({
    1044, 1045, 1046, 1048, 1049, 1050, 1051, 1052, 1054, 1055, 1056, 1059, 1060, 1061, 1066, 1067, 1068, 1071, 1072,
    1075, 1091, 1101, 1103, 1109, 1110, 1111, 1130, 1136, 1138, 1142, 1143, 1146, 1166, 1170, 1176, 1193, 1221, 1227,
    1235, 1238, 1247, 1248, 1264, 1265, 1267, 1270, 1273, 1286, 1290, 1305, 1364, 1370, 1406, 1451, 1452, 1471, 1553,
    1644, 1698, 1836, 1901, 1906, 3105, 3819, 4025, 4031,
})  # fmt: skip
_NEAR = re.compile(r"(near ')(.*)(' at line \d+)", re.DOTALL)
_LITERAL = re.compile(r"""'[^'\\]*(?:(?:\\.|'')[^'\\]*)*(?:'|\Z)|"[^"\\]*(?:(?:\\.|"")[^"\\]*)*(?:"|\Z)""", re.DOTALL)
# From the first quote to the last one before these words: the value may hold quotes, and these words too.
_VALUE_OF = re.compile(r"'.*'( for (?:key|column|function) )", re.DOTALL)
_QUOTED = re.compile(r"'.*'", re.DOTALL)
HIDDEN = "'…'"
SIGNALLED = 1644
_FENCED = {"fenced": "on its way from", "incoming": "on its way to", "moved": "no longer on"}
_FENCE = re.compile(r"tf_fence ([0-9]+) ([a-z]+)", re.ASCII)


def translated(shard: str, code: int, message: str, wait_s: Mapping[str, float]) -> TenfoldError:
    """The error to raise.

    code     the server's, or the client's (2000 to 2999); 0: the connection was closed before
    message  the server's words
    wait_s   the limits "statement", "lock" and "connect" in seconds, to be named
    """
    fence = _FENCE.fullmatch(message) if code == SIGNALLED else None
    if fence is not None:  # said by a trigger of moves/capture.py
        number = int(fence[1])
        return FenceError(f"bucket {number} is {_FENCED.get(fence[2], 'not on')} {shard}", bucket=number)
    known = _of_machine(shard, code, wait_s) or _of_access(shard, code, message)
    if known is not None:
        return known
    words = without_values(code, message)
    if code in CONSTRAINT:
        return ConstraintError(words, hint="the statement changed nothing")
    if code in READ_ONLY and "read" in message and "only" in message:
        return NodeDown(
            f"{shard} takes no writes: {words}",
            hint="see that the address is that of the primary, and that read_only is off there",
        )
    if code in FULL or (code == ENGINE and "error 28" in message):
        return NodeDown(f"{shard}: {words}", hint="make room on the server's disk, or raise the limit of the table")
    if code == ENGINE:
        return NodeDown(f"{shard}: {words}", hint="look at the server's error log")
    return StatementError(words, hint="mend the statement or its parameters")


def _of_machine(shard: str, code: int, wait_s: Mapping[str, float]) -> NodeError | None:
    """Errors whose words say less than we know."""
    if code in CHANGED:
        return NodeError(
            f"{shard} undid the transaction: another one needed the same rows at the same time",
            hint="run the whole transaction again; touch rows in the same order everywhere",
        )
    if code == LOCK_WAIT:
        return NodeError(
            f"{shard} stayed locked for {wait_s['lock']:g} s",
            hint="a long transaction holds the row or table; try again, or raise database.lock_wait_s",
        )
    if code in TOO_LONG:
        return NodeError(
            f"a statement took longer than {wait_s['statement']:g} s on {shard} and was stopped there",
            hint="an index may help; or raise database.statement_s",
        )
    if code in BUSY:
        return NodeDown(
            f"{shard} has no connection left for us",
            hint="raise the server's max_connections (or the account's limit), or lower database.pool_size",
        )
    if code in LOST:
        return NodeDown(f"the connection to {shard} was lost", hint="see that the server runs; then try again")
    return None


def _of_access(shard: str, code: int, message: str) -> NodeError | None:
    if code in DENIED:
        return NodeError(
            f"{shard} denies it: {without_values(code, message)}",
            hint="correct the account or password in tenfold.toml, or grant what the message names",
            retryable=False,
        )
    if code == NO_DATABASE:
        return NodeError(
            f"{shard}: {message}", hint="create the database, or correct the url in tenfold.toml", retryable=False
        )
    if code == TLS_FAILED:
        return NodeError(f"{shard} offers no TLS", hint="turn it on at the server (ssl_cert, ssl_key)", retryable=False)
    return None


def without_values(code: int, message: str) -> str:
    """The server's words without what was in quotes, unless that is a name: values of rows stay out of logs."""
    if _NEAR.search(message):
        # A piece of the statement, in which parameters are values already; it may end within one.
        return _NEAR.sub(lambda near: near[1] + _LITERAL.sub(HIDDEN, near[2]) + near[3], message)
    if code in _NAMES_ONLY:
        return message
    pattern = _VALUE_OF if _VALUE_OF.search(message) else _QUOTED
    return pattern.sub(lambda found: HIDDEN + (found[1] if pattern is _VALUE_OF else ""), message)


def ended_before(shard: str) -> NodeError:
    """Of a statement in a transaction that is no more."""
    return NodeError(
        f"{shard} has ended the transaction before: an error undid it, or DDL committed it",
        hint="leave the transaction, mend what the earlier error says, and run all of it again",
    )


def still_reading(shard: str) -> StatementError:
    """Of a statement on a connection that is in the midst of an answer."""
    return StatementError(f"the connection to {shard} is still reading rows", hint="read them all, or close the cursor")


def too_large(shard: str, size: int, limit: int) -> StatementError:
    """Of a statement of `size` bytes, over which the server would hang up."""
    return StatementError(
        f"the statement has {size:,} bytes, {shard} takes {limit:,}",
        hint="send less at once, or raise the server's max_allowed_packet",
    )


def silent(shard: str, read_s: float) -> NodeDown:
    """Of a statement whose answer was waited for long enough."""
    return NodeDown(
        f"{shard} did not answer within {read_s:g} s",
        hint="see what the server is doing; a long statement needs a larger database.statement_s",
    )


def closed_amid(shard: str) -> NodeDown:
    """Of a statement whose connection was closed by us."""
    return NodeDown(f"the connection to {shard} was closed while a statement ran", hint="try again")
