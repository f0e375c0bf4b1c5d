"""A target without room: the move stops, nothing is lost, and it goes on once there is some. Edge."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from tenfold.sharding.moves.phases import Phase
from tests.sharding.moves.mover.places import Place

NO_ROOM = """
    import resource, sys
    from pathlib import Path
    from tenfold.errors import NodeError
    from tenfold.sharding.engine.router import read_topology
    from tenfold.sharding.moves.mover import Mover
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    try:
        Mover(read_topology(Path(sys.argv[1]), None)).run()
    except NodeError as error:
        print(type(error).__name__, error, "|", error.hint)
"""


def test_a_move_to_a_full_disk_stops_and_goes_on_when_there_is_room(place: Place) -> None:
    if place.site.engine != "sqlite":
        pytest.skip("a server's full table space is tried in tests/sharding/engine/test_full_server.py")
    leg = place.leg()
    users = place.fill(leg.source, leg.buckets)
    for user in users:
        place.site.look(leg.source, "INSERT INTO notes VALUES (?, 'large', ?)", (user, b"x" * 200_000))
    before = place.rows()
    place.mover().begin([leg])
    room = place.site.path(leg.source).stat().st_size // 4
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(NO_ROOM), place.site.file, str(room)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert leg.target in ran.stdout and "disk" in ran.stdout
    assert place.rows() == before
    assert place.mover().run().phase is Phase.SERVING
    assert place.rows() == before
    place.mover().finish()
    assert place.rows() == before and not place.left_behind()
