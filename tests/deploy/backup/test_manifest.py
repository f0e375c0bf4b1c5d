"""A manifest that is not what was written is none; frames that are cut off are noticed. Pure."""

from __future__ import annotations

import io
import random
from dataclasses import replace

import pytest

from tenfold.deploy.backup.frames import Frame, frames
from tenfold.deploy.backup.manifest import Manifest, Part, ShardPart, Table, manifest_of
from tenfold.errors import BackupError

SAMPLE = Manifest(
    id="20260302T120000Z-ab12", platform="ledger", environment=None, cluster="c" * 32, engine="sqlite", epoch=7,
    version=12, tenfold="0.1", made_s=1772452800.25, took_s=1.5, pause_s=0.0125, consistent=True, recipient="age1x",
    shards={"shard_0": ShardPart("3.40.1", 1772452800.5, "file", {"users": Table(3, "ab"), "Grüße": Table(0, "cd")})},
    parts={"shard_0.sql.gz.age": Part(100, "ef")}, moves=[{"id": 3, "phase": "cutting"}], notes=["shard_0: x"],
)  # fmt: skip


def test_a_manifest_reads_back_as_it_was_written() -> None:
    found = manifest_of(SAMPLE.text(), "here")
    assert found == SAMPLE
    assert (found.rows, found.size, found.digest) == (3, 100, SAMPLE.digest)


def test_every_flipped_bit_of_a_manifest_shows() -> None:
    whole = SAMPLE.text()
    for position in range(len(whole)):
        for bit in (0, 3, 6):
            hurt = bytearray(whole)
            hurt[position] ^= 1 << bit
            with pytest.raises(BackupError):
                manifest_of(bytes(hurt), "here")


def test_a_manifest_cut_off_or_written_on_shows() -> None:
    whole = SAMPLE.text()
    for hurt in (whole[:-1], whole[: len(whole) // 2], b"", whole + b" ", whole + b"\n", b"[]", b"null", b"[" * 9999):
        with pytest.raises(BackupError):
            manifest_of(hurt, "here")


def test_a_manifest_of_a_later_tenfold_says_so() -> None:
    with pytest.raises(BackupError, match="format 2; this Tenfold knows 1"):
        manifest_of(replace(SAMPLE, format=2).text(), "here")


FRAMES = [
    Frame("key", "shard_0", b"00ff"),
    Frame("table", 'odd " name\nwith -- tenfold {', b"CREATE TABLE x (a);\n-- tenfold {"),
    Frame("rows", "x", b"INSERT INTO x VALUES ('a;\n-- tenfold '),\n(2)", 2, 21),
    Frame("code", "t", b"CREATE TRIGGER t BEGIN a; b; END"),
    Frame("end", "shard_0", b"end"),
]


def test_frames_are_told_apart_whatever_their_statements_hold() -> None:
    text = b"SET NAMES utf8mb4;\n" + b"".join(frame.text() for frame in FRAMES)
    assert list(frames(io.BufferedReader(io.BytesIO(text)))) == FRAMES


def test_frames_that_are_cut_off_anywhere_are_not_whole() -> None:
    text = b"".join(frame.text() for frame in FRAMES)
    for cut in range(len(text)):
        with pytest.raises(BackupError):
            list(frames(io.BytesIO(text[:cut])))


def test_what_comes_after_the_end_is_refused() -> None:
    text = FRAMES[-1].text() + random.Random(1).choice(FRAMES[:4]).text()
    with pytest.raises(BackupError):
        list(frames(io.BytesIO(text)))
