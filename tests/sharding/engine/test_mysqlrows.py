"""Bytes of MySQL's protocol become rows only where they are one whole, plain result. Pure."""

from __future__ import annotations

import pytest

from tenfold.sharding.engine.mysqlrows import Shape, descriptions, small_result


def packets(*payloads: bytes) -> bytes:
    """What the server sends: each payload with its length and number."""
    return b"".join(
        len(payload).to_bytes(3, "little") + bytes([number]) + payload for number, payload in enumerate(payloads, 1)
    )


END = b"\xfe\0\0\2\0"
SHAPE = Shape(("id", "name", "data"), (8, 253, 252), (("ascii", int), ("utf8", None), (None, None)))
HEAD = (b"\3", b"column one", b"column two", b"column three", END)
ROW = b"\x0242" + b"\x02\xc3\xbc" + b"\xfc\x2c\1" + b"x" * 300
NULLS = b"\xfb\0\xfb"
WHOLE = packets(*HEAD, ROW, NULLS, END)
KNOWN = {b"\3" + packets(*HEAD)[5:-9]: SHAPE}


def test_a_whole_result_is_read_at_once() -> None:
    assert descriptions(WHOLE) in KNOWN
    assert small_result(WHOLE, KNOWN) == (SHAPE, [(42, "ü", b"x" * 300), (None, "", None)])
    assert small_result(packets(*HEAD, END), KNOWN) == (SHAPE, [])


def test_a_result_of_which_more_is_to_come_is_left_alone() -> None:
    for length in range(len(WHOLE)):
        assert small_result(WHOLE[:length], KNOWN) is None
    assert small_result(packets(*HEAD, ROW, b"\xfe\0\0\x0a\0"), KNOWN) is None  # another result follows


@pytest.mark.parametrize(
    "data",
    [
        b"",
        packets(b"\0\1\0\2\0\0\0"),  # OK
        packets(b"\xff\x28\x04#42000You have an error"),
        packets(*HEAD, ROW, b"\xff\x25\x05#70100Query execution was interrupted"),
        packets(*HEAD, b"\xff\x25\x05#70100Query", END),
        packets(*HEAD, ROW + b"x", END),  # longer than its columns
        packets(*HEAD, ROW + packets(NULLS), END),  # what is too much looks like another row
        packets(*HEAD, b"\x0242\0", END),  # one column too few
        packets(*HEAD, b"\xfd\0\0\1", END),  # a length of three bytes
        packets(*HEAD, END, END),
        WHOLE + WHOLE,
        packets(b"\3", b"other", b"columns", b"here", END, ROW, END),
    ],
)
def test_what_is_no_plain_result_of_known_columns_is_left_alone(data: bytes) -> None:
    assert small_result(data, KNOWN) is None
