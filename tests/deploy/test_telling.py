"""What becomes of a deploy whose reader has gone: a closed pipe, a closed terminal. Edge."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path

import pytest

# Told of a step before and after its reader has gone, it writes down how it ended.
WORK = """
import asyncio, pathlib, sys
from tenfold.cli.deploy import Telling, to_its_end
from tenfold.cli.options import Invocation
from tenfold.deploy.deploying import Outcome

ended = pathlib.Path(sys.argv[1])
run = Invocation(pathlib.Path("tenfold.toml"), json=sys.argv[2] == "json")
telling = Telling(run)

async def work():
    try:
        telling({"event": "phase", "phase": "begun"})
        while not ended.with_suffix(".gone").exists():
            await asyncio.sleep(0.01)
        for number in range(3):
            telling({"event": "phase", "phase": "x" * 100_000})
            telling.note("in between")
            await asyncio.sleep(0.05)
        ended.write_text("done")
        return Outcome("deployed")
    except asyncio.CancelledError:
        telling({"event": "undo", "deploy": 1, "release": "r", "why": "interrupted"})
        ended.write_text("taken back")
        raise

print("code", to_its_end(run, telling, work()), file=ended.with_suffix(".code").open("w"))
"""


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_deploy_whose_output_nobody_reads_any_more_goes_on_to_its_end(form: str, tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    with subprocess.Popen(
        [sys.executable, "-c", WORK, str(ended), form],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        ended.with_suffix(".gone").touch()
        assert process.wait(60) == 0
    assert ended.read_text() == "done"
    assert ended.with_suffix(".code").read_text() == "code 0\n"


def test_a_deploy_whose_terminal_is_closed_is_taken_back(tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", WORK, str(ended), "text"], stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True, preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0),
    ) as process:  # fmt: skip
        os.close(theirs)
        os.read(ours, 100)
        os.close(ours)  # the kernel says so to it by SIGHUP
        assert process.wait(60) != 0
    assert ended.read_text() == "taken back"
