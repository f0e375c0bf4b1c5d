"""What must be true when all is over, read from every shard past Tenfold. Edge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tenfold.sharding.keys import BUCKETS, KeyType, bucket_of
from tests.faults.moving.log import DOUBT, NOT, OK, lines
from tests.faults.moving.plan import SHARDS
from tests.faults.moving.world import LASTING_POSTS, Key, World
from tests.sharding.engine.sites import Site

Row = tuple[Any, ...]
_COLUMNS = {"users": "id, 0, v, email", "items": "user_id, slot, v, id", "pillars": "user_id, 0, v"}
_LEFTOVERS = {
    "sqlite": "SELECT type || ' ' || name FROM sqlite_master WHERE type = 'trigger' OR name LIKE 'tf\\_d%' ESCAPE '\\'"
    " OR name LIKE 'tf\\_k%' ESCAPE '\\' OR name LIKE 'tf\\_p%' ESCAPE '\\'",
    "mysql": "SELECT CONCAT('trigger ', trigger_name) FROM information_schema.triggers"
    " WHERE trigger_schema = DATABASE()"
    " UNION ALL SELECT CONCAT('table ', table_name) FROM information_schema.tables WHERE table_schema = DATABASE()"
    " AND (table_name LIKE 'tf\\_d%' OR table_name LIKE 'tf\\_k%' OR table_name LIKE 'tf\\_p%')",
}


class Checker:
    """Of one run. legs: what should have moved in the end; ledger: tf_object before the move."""

    def __init__(self, site: Site, root: Path, world: World, legs: list[tuple[str, str, tuple[int, ...]]]) -> None:
        self.site, self.root, self.world, self.legs = site, root, world, legs
        self.keys: dict[int, Key] = {place: key for own in world.own for place, key in own.keys().items()}
        self.map = dict(site.look("shard_0", "SELECT bucket, shard FROM tf_bucket"))
        self.found: dict[Key, Row] = {}

    def all(self, ledger: list[Row], before: dict[int, str]) -> Iterator[str]:
        """Every sentence that says what is wrong."""
        yield from self.map_and_fences(before)
        yield from self.leftovers(ledger)
        yield from self.places()
        yield from self.writes()
        yield from self.transfers()
        yield from self.site.violations()

    # --- Tenfold's own tables ---

    def map_and_fences(self, before: dict[int, str]) -> Iterator[str]:
        """The map is what the move was to make of it, the same everywhere, and all fences are at rest."""
        wanted = dict(before)
        for source, target, buckets in self.legs:
            wanted |= dict.fromkeys(buckets, target)
            yield from (f"{b} was on {before[b]}, not on {source}" for b in buckets if before[b] != source)
        yield from (
            f"bucket {b} is on {self.map[b]}, not on {wanted[b]}" for b in wanted if self.map.get(b) != wanted[b]
        )
        original = dict(
            (b, (s, e)) for b, s, e in self.site.look("shard_0", "SELECT bucket, shard, epoch FROM tf_bucket")
        )
        for shard in SHARDS:
            copy = {b: (s, e) for b, s, e in self.site.look(shard, "SELECT bucket, shard, epoch FROM tf_bucket")}
            if copy != original:
                differ = sorted(b for b in original if copy.get(b) != original[b])
                yield f"{shard} has another map than the catalog: buckets {differ[:8]}"
            sql = "SELECT bucket, state, epoch, to_shard, captured FROM tf_fence"
            for bucket, state, epoch, to, captured in self.site.look(shard, sql):
                owner, since = original.get(bucket, ("", 1))
                rest = ("open", since, "") if owner in (shard, "") else ("moved", since, owner)
                if (state, epoch, to) != rest or captured:
                    yield f"{shard}: the fence of {bucket} is {(state, epoch, to, captured)}, not {rest}"

    def leftovers(self, ledger: list[Row]) -> Iterator[str]:
        """Nothing is left of a move."""
        for shard in SHARDS:
            for (name,) in self.site.look(shard, _LEFTOVERS[self.site.engine]):
                yield f"{shard} still has {name}"
        now = self.site.look("shard_0", "SELECT shard, object FROM tf_object")
        if sorted(now) != sorted(ledger):
            yield f"the ledger has other lines than before: {sorted(set(now) ^ set(ledger))}"
        for number, phase in self.site.look("shard_0", "SELECT id, phase FROM tf_move"):
            if phase != "done":
                yield f"move {number} is {phase}"

    # --- rows ---

    def places(self) -> Iterator[str]:
        """Every row is there once, and on the shard that its bucket's owner is."""
        for table, key in (("users", "id"), ("items", "user_id"), ("pillars", "user_id"), ("accounts", "user_id"),
                           ("transfers", "user_id")):  # fmt: skip
            for shard, rows in self.site.look_everywhere(f"SELECT {key} FROM {table}").items():
                for (user,) in rows:
                    owner = self.map[bucket_of(user, KeyType.INTEGER)]
                    if owner != shard:
                        yield f"{table} of user {user} lies on {shard}; {owner} has its bucket"
        for table, columns in _COLUMNS.items():
            for shard, rows in self.site.look_everywhere(f"SELECT {columns} FROM {table}").items():
                for user, slot, *row in rows:
                    key_ = Key(table, user, slot)
                    if key_ in self.found:
                        yield f"{key_} is there twice, once on {shard}"
                    self.found[key_] = tuple(row)
        yield from self._own_places()
        yield from self._posts()

    def _own_places(self) -> Iterator[str]:
        for table, column in (("tf_reservation", "digest"), ("tf_verdict", "token")):
            for shard, rows in self.site.look_everywhere(f"SELECT {column}, bucket FROM {table}").items():
                for name, bucket in rows:
                    if self.map[bucket] != shard:
                        yield f"{table} {name} of bucket {bucket} lies on {shard}; {self.map[bucket]} has it"

    def _posts(self) -> Iterator[str]:
        numbers = [number for number in self.map if number > BUCKETS]
        owner = self.map[numbers[0]] if numbers else "shard_2"
        for shard, rows in self.site.look_everywhere("SELECT slot, v, id FROM posts").items():
            if rows and shard != owner:
                yield f"{len(rows)} posts lie on {shard}; {owner} has them"
            for slot, *row in rows if shard == owner else ():
                self.found[Key("posts", 0, slot)] = tuple(row)
        lasting = sum(key.table == "posts" and key.slot < LASTING_POSTS for key in self.found)
        if lasting != LASTING_POSTS:
            yield f"{lasting} of {LASTING_POSTS} posts that are always there"

    def writes(self) -> Iterator[str]:
        """Each key is as its last acknowledged write left it; of writes in doubt, as before or after, but not half."""
        known: dict[int, Row | None] = dict.fromkeys(self.keys)
        known |= {place: (0,) for place, key in self.keys.items() if key.table == "pillars"}
        doubts: list[dict[str, Any]] = []
        for number in range(len(self.world.own)):
            yield from self._replay(self.root / f"writer_{number}.log", known, doubts)
        doubtful: set[int] = set()
        for op in doubts:
            changes = {int(place): tuple(row) if row else None for place, row in op["keys"].items()}
            doubtful.update(changes)
            yield from self._doubt(op, changes, known)
        for place, row in known.items():
            if place not in doubtful and self.found.get(self.keys[place]) != row:
                yield f"{self.keys[place]} (place {place}) is {self.found.get(self.keys[place])}, not {row}"

    def _replay(self, log: Path, known: dict[int, Row | None], doubts: list[dict[str, Any]]) -> Iterator[str]:
        pending: dict[str, Any] | None = None
        for line in lines(log):
            if "op" in line:
                pending = line
            elif "of" in line:
                if pending is None or pending["op"] != line["of"]:
                    yield f"{log.stem}: the log is broken at {line}"
                    return
                if line["end"] == OK:
                    known |= {int(place): tuple(row) if row else None for place, row in pending["keys"].items()}
                elif line["end"] == DOUBT:
                    doubts.append(pending)
                pending = None
        if pending is not None:  # its process was killed
            doubts.append(pending)

    def _doubt(self, op: dict[str, Any], changes: dict[int, Row | None], known: dict[int, Row | None]) -> Iterator[str]:
        came: set[bool] = set()
        for place, after in changes.items():
            now, before = self.found.get(self.keys[place]), known[place]
            if now not in (before, after):
                yield f"{self.keys[place]} (place {place}) is {now}, not {before} or, in doubt, {after}"
            elif before != after:
                came.add(now == after)
        if op["alone"] and len(came) > 1:
            yield f"op {op['op']} ({op['what']}) is there by halves: {changes}"

    def transfers(self) -> Iterator[str]:
        """No amount was lost or made."""
        found = self.site.look_everywhere("SELECT id, user_id, amount FROM transfers").values()
        there = {number: (user, amount) for rows in found for number, user, amount in rows}
        balances: dict[int, int] = {}
        for rows in self.site.look_everywhere("SELECT user_id, balance FROM accounts").values():
            for user, balance in rows:
                if user in balances:
                    yield f"the account of {user} is there twice"
                balances[user] = balance
        sums = dict.fromkeys(self.world.accounts, 0)
        for user, amount in there.values():
            sums[user] += amount
        yield from (
            f"account of {u}: {balances.get(u)}, but {sums[u]} was transferred"
            for u in sums
            if balances.get(u) != sums[u]
        )
        for number in range(len(self.world.own)):
            yield from self._carried(number, there)

    def _carried(self, writer: int, there: dict[int, tuple[int, int]]) -> Iterator[str]:
        ends: dict[int, str] = {}
        wanted: dict[int, list[list[int]]] = {}
        for line in lines(self.root / f"writer_{writer}.log"):
            if "transfer" in line:
                wanted[line["transfer"]] = line["legs"]
                ends[line["transfer"]] = DOUBT
            elif "carried" in line:
                ends[line["carried"]] = line["end"]
        for number, legs in wanted.items():
            here = [leg[0] in there for leg in legs]
            if ends[number] == OK and not all(here):
                yield f"transfer {number} was acknowledged, and is not there: {legs} {here}"
            if ends[number] == NOT and any(here):
                yield f"transfer {number} was refused, and is there: {legs} {here}"
            if len(set(here)) > 1:
                yield f"transfer {number} is there by halves: {legs} {here}"
            if number % 2 and any(here) and number - 1 not in there:
                yield f"transfer {number} was credited and not debited: {legs}"
