"""A value that is unique over all shards may be taken again, although an old copy of its row lies there still. Edge."""

from __future__ import annotations

import pytest

import tenfold
from tenfold.errors import ConstraintError
from tests.sharding.moves.mover.places import Place

SIGN_UP = "INSERT INTO users (id, email, name) VALUES (?, ?, 'new')"


@pytest.mark.sample("mysql", "inside")
@pytest.mark.parametrize(("how", "ending"), [("insert", "undo"), ("update", "finish"), ("inside", "undo")])
def test_the_address_that_somebody_gave_up_is_free_where_her_old_row_lies(place: Place, ending: str, how: str) -> None:
    leg = place.leg()
    moving, staying = place.users(leg.buckets, 1)[0], place.users(place.owned(leg.source)[6:], 1)[0]
    with tenfold.connect(place.site.file) as db:
        db.guard._wait_s = 20.0
        db.execute(SIGN_UP, (moving, "old@example.org"))
        if how == "update":
            db.execute(SIGN_UP, (staying, "other@example.org"))
        place.mover().begin([leg])
        place.mover().run()
        with pytest.raises(ConstraintError):  # it is hers
            db.execute(SIGN_UP, (place.users([place.owned(leg.source)[-1]], 1)[0], "old@example.org"))
        db.execute("UPDATE users SET email = 'new@example.org' WHERE id = ?", (moving,))
        if how == "insert":
            db.execute(SIGN_UP, (staying, "old@example.org"))
        elif how == "update":
            assert db.execute("UPDATE users SET email = 'old@example.org' WHERE id = ?", (staying,)).rowcount == 1
        else:
            with db.transaction() as tx:
                tx.execute("SELECT 1 FROM users WHERE id = ?", (staying,))
                tx.execute(SIGN_UP, (staying, "old@example.org"))
                tx.execute("UPDATE users SET name = 'twice' WHERE id = ?", (staying,))
        getattr(place.mover(), ending)()
        asked = "SELECT id FROM users WHERE email = ?"
        assert db.execute(asked, ("old@example.org",)).scalar() == staying
        assert db.execute(asked, ("new@example.org",)).scalar() == moving
        assert db.execute("SELECT COUNT(*) FROM users").scalar() == 2
        db.execute("DELETE FROM users WHERE id IN (?)", (staying,))
    assert not place.left_behind()
