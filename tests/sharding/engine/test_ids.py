"""Ids are unique, whatever threads, forks, clocks and catalogs do; and they lead to their row. Edge."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

import tenfold
from tenfold.errors import NodeDown, NodeError, StatementError
from tenfold.sharding.catalog import on_the_catalog
from tenfold.sharding.dialects import MYSQL, SQLITE
from tenfold.sharding.engine.mysql import MysqlDriver
from tenfold.sharding.engine.sqlite import SqliteDriver
from tenfold.sharding.idlease import WINDOW_S, Ids
from tenfold.sharding.ids import BASE_S, SEQUENCES, WORKERS, IdSource, Window, id_bucket, id_second
from tenfold.sharding.keys import KeyType, bucket_of
from tenfold.sharding.ports import Chance, Drawn, Driver, Effect, Send, Steps
from tenfold.sharding.reserve import Transaction
from tests.mariadb import Server, fresh_databases, options_of
from tests.sharding.engine.sites import Site

T0 = BASE_S + 1_000_000.0
DEPOSIT = "INSERT INTO deposits (user_id, amount) VALUES (?, 1)"


class Catalog:
    """The catalog's shard on its own, with a clock that is set by hand; `down`: it cannot be reached."""

    def __init__(self, driver: Driver) -> None:
        self.driver, self.now_s, self.down, self._tokens = driver, T0, False, 0

    def process(self) -> Ids:
        return Ids("shard_0", threading.Lock())

    def run(self, steps: Steps[int] | Steps[None]) -> int:
        try:
            first = next(steps)
        except StopIteration:
            return 0
        return self.carry_on(steps, first)

    def carry_on(self, steps: Steps[int] | Steps[None], effect: Effect) -> int:
        """Run steps from the effect on at which they stand."""
        try:
            while True:
                if isinstance(effect, Chance):
                    self._tokens += 1
                    effect = steps.send(Drawn(self.now_s, f"{self._tokens:032x}"))
                    continue
                assert isinstance(effect, Send) and effect.aside
                if self.down:
                    effect = steps.throw(NodeDown("shard_0 is away"))
                    continue
                effect = steps.send(self.driver.execute(effect.sql, effect.params))
        except StopIteration as stop:
            return int(stop.value or 0)

    def draw(self, process: Ids, bucket: int | None = 5, tx: Transaction | None = None) -> int:
        return self.run(process.draw(bucket, tx))


@pytest.fixture
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    driver = SqliteDriver("shard_0", tmp_path_factory.mktemp("catalog") / "c.db", 1, mode="rwc")
    for statement in on_the_catalog(SQLITE).values():
        driver.execute(statement, ())
    yield Catalog(driver)
    driver.close()


def test_an_id_carries_bucket_and_time_and_fits_63_bits(catalog: Catalog) -> None:
    row_id = catalog.draw(catalog.process(), 4095)
    assert id_bucket(row_id) == 4095 and id_second(row_id) == T0 and 0 < row_id < 2**63


def test_two_processes_never_share_a_worker_however_wrong_their_clocks(catalog: Catalog) -> None:
    ahead, behind = catalog.process(), catalog.process()
    drawn = []
    for _ in range(20):
        catalog.now_s = T0 + 7000
        drawn += [catalog.draw(ahead) for _ in range(50)]
        catalog.now_s = T0
        drawn += [catalog.draw(behind) for _ in range(50)]
        # A process whose clock runs ahead takes over a lease that its holder still believes in.
        catalog.now_s = T0 + WINDOW_S + 1
        drawn += [catalog.draw(catalog.process())]
        catalog.now_s = T0 + WINDOW_S - 1
        drawn += [catalog.draw(behind) for _ in range(50)]
    assert len(set(drawn)) == len(drawn)


def test_a_clock_that_goes_back_gives_no_id_twice(catalog: Catalog) -> None:
    process = catalog.process()
    drawn = []
    for jump in (0, 5, -60, 3, -100_000, 2, 100_000, 0):
        catalog.now_s = T0 + jump
        drawn += [catalog.draw(process, bucket) for bucket in (None, 5, 6) for _ in range(30)]
    assert len(set(drawn)) == len(drawn)
    fives = [row_id for row_id in drawn if id_bucket(row_id) == 5]
    assert fives == sorted(fives)


def test_a_window_that_is_used_up_is_extended_ahead_of_the_clock(catalog: Catalog) -> None:
    process = catalog.process()
    first = catalog.draw(process)
    assert process.source is not None
    process.source.last[5] = (process.source.window.end - 1, SEQUENCES - 2)
    later = [catalog.draw(process) for _ in range(3)]
    assert len({first, *later}) == 4 and id_second(later[-1]) == T0 + WINDOW_S
    assert process.source.window.end == int(T0) - BASE_S + 2 * WINDOW_S


def test_ids_go_on_without_the_catalog_until_the_window_ends(catalog: Catalog) -> None:
    process = catalog.process()
    drawn = [catalog.draw(process)]
    catalog.down = True
    catalog.now_s += WINDOW_S - 1
    drawn.append(catalog.draw(process))
    catalog.now_s += 1
    with pytest.raises(NodeError, match="shard_0 is away") as caught:
        catalog.draw(process)
    assert caught.value.retryable
    catalog.down = False
    drawn.append(catalog.draw(process))
    assert len(set(drawn)) == 3


def test_a_lease_that_another_process_took_over_is_not_extended(catalog: Catalog) -> None:
    slow = catalog.process()
    drawn = [catalog.draw(slow)]
    catalog.now_s += WINDOW_S + 1
    quick = catalog.process()
    drawn += [catalog.draw(quick) for _ in range(5)]
    assert slow.source is not None and quick.source is not None
    assert quick.source.window.worker == slow.source.window.worker
    drawn += [catalog.draw(slow) for _ in range(5)]
    assert slow.source.window.worker != quick.source.window.worker
    assert len(set(drawn)) == len(drawn)


def test_what_is_given_back_goes_to_the_next_process_and_no_id_with_it(catalog: Catalog) -> None:
    drawn = []
    for _ in range(10):
        process = catalog.process()
        drawn += [catalog.draw(process) for _ in range(20)]
        catalog.run(process.give_back())
        assert process.source is None
        catalog.now_s += 1
    assert len(set(drawn)) == len(drawn)
    assert catalog.driver.execute("SELECT COUNT(*) FROM tf_worker", ()).rows == [(1,)]
    catalog.run(catalog.process().give_back())  # of one that drew nothing


def test_ids_drawn_ahead_of_the_clock_are_not_given_back(catalog: Catalog) -> None:
    drawn = []
    for _ in range(2):
        process = catalog.process()
        drawn += [catalog.draw(process) for _ in range(3 * SEQUENCES)]
        catalog.run(process.give_back())
        catalog.now_s += 1
    assert len(set(drawn)) == len(drawn)


def test_two_threads_that_lease_at_once_keep_one_worker(catalog: Catalog) -> None:
    process = catalog.process()
    first, second = process.draw(5, None), process.draw(5, None)
    effect = next(first)
    assert isinstance(effect, Chance)
    effect = first.send(Drawn(T0, "f" * 32))  # to the point where it asks for a free worker,
    drawn = [catalog.run(second)]  # while the other thread leases and draws
    while not drawn[1:]:
        if isinstance(effect, Chance):
            answer: object = Drawn(T0, "e" * 32)
        else:
            assert isinstance(effect, Send)
            answer = catalog.driver.execute(effect.sql, effect.params)
        try:
            effect = first.send(answer)
        except StopIteration as stop:
            drawn.append(stop.value)
    assert len(set(drawn)) == 2
    now = int(T0) - BASE_S
    assert catalog.driver.execute("SELECT COUNT(*) FROM tf_worker WHERE until_s > ?", (now,)).rows == [(1,)]


def test_two_threads_that_extend_at_once_keep_their_worker_though_mariadb_counts_no_row_twice(
    three_servers: list[Server],
) -> None:
    with fresh_databases(three_servers, 1) as databases:
        driver = MysqlDriver(options_of(databases[0]))
        for statement in on_the_catalog(MYSQL).values():
            driver.execute(statement, ())
        catalog = Catalog(driver)
        process = catalog.process()
        catalog.draw(process)
        assert process.source is not None
        worker = process.source.window.worker
        catalog.now_s += WINDOW_S
        first = process.draw(5, None)
        assert isinstance(next(first), Chance)
        pending = first.send(Drawn(catalog.now_s, "f" * 32))  # to the point where it asks for more,
        catalog.draw(process)  # while another thread asks for just as much
        assert isinstance(pending, Send) and pending.sql.startswith("UPDATE tf_worker")
        catalog.carry_on(first, pending)
        assert process.source.window.worker == worker
        assert list(driver.execute("SELECT COUNT(*) FROM tf_worker", ()).rows) == [(1,)]
        driver.close()


def test_with_all_workers_taken_the_error_says_how_long_to_wait(catalog: Catalog) -> None:
    rows = [(worker, "x" * 32, int(T0) - BASE_S + 30) for worker in range(WORKERS)]
    catalog.driver.execute_many("INSERT INTO tf_worker (worker, token, until_s) VALUES (?, ?, ?)", rows)
    with pytest.raises(NodeError, match="all 1024 id workers are taken"):
        catalog.draw(catalog.process())
    catalog.now_s += 30
    catalog.draw(catalog.process())


def test_a_transaction_on_the_catalog_leases_before_it_begins(catalog: Catalog) -> None:
    process = catalog.process()
    catalog.run(process.ahead(Transaction()))
    inside = Transaction("shard_0")
    first = catalog.draw(process, tx=inside)
    assert process.source is not None
    process.source.last[5] = (process.source.window.end - 1, SEQUENCES - 1)
    with pytest.raises(NodeError, match="ran out") as caught:
        catalog.draw(process, tx=inside)
    assert caught.value.retryable
    catalog.run(process.ahead(Transaction()))  # the retry must not fail for the same reason
    assert catalog.draw(process, tx=inside) > first


def test_an_id_source_never_leaves_its_window() -> None:
    source = IdSource(Window(3, 100, 102))
    drawn = {source.draw(1, BASE_S + 100.0) for _ in range(2 * SEQUENCES)}
    assert None not in drawn and len(drawn) == 2 * SEQUENCES
    assert source.draw(1, BASE_S + 100.0) is None and source.used_up_to() == 102
    assert IdSource(Window(3, 100, 102)).draw(1, BASE_S + 102.0) is None


def test_the_first_id_of_a_process_may_be_drawn_in_a_transaction_on_the_catalog(
    site: Site, db: tenfold.Database
) -> None:
    key = site.key("shard_0")
    with db.transaction() as tx:
        tx.execute("UPDATE deposits SET amount = 2 WHERE user_id = ?", (key,))
        row_id = tx.execute(DEPOSIT, (key,)).lastrowid
    assert db.execute("SELECT user_id FROM deposits WHERE id = ?", (row_id,)).scalar() == key


def test_every_id_leads_to_its_row(site: Site, db: tenfold.Database) -> None:
    for shard in site.shards:
        user = site.key(shard)
        inserted = db.execute(DEPOSIT, (user,)).lastrowid
        assert inserted is not None and id_bucket(inserted) == bucket_of(user, KeyType.INTEGER)
        drawn = db.new_id("deposits", user)
        db.execute("INSERT INTO deposits (id, user_id, amount) VALUES (?, ?, 7)", (drawn, user))
        assert site.look(shard, "SELECT id FROM deposits ORDER BY id") == sorted([(inserted,), (drawn,)])
        assert db.execute("UPDATE deposits SET amount = 8 WHERE id = ?", (drawn,)).rowcount == 1
    new_user = db.new_id("users")
    db.execute("INSERT INTO users (id, name) VALUES (?, 'ada')", (new_user,))
    assert site.look(site.owner(new_user), "SELECT name FROM users") == [("ada",)]
    with pytest.raises(StatementError, match="takes no ids"):
        db.new_id("posts")


def test_threads_never_share_an_id(site: Site, db: tenfold.Database) -> None:
    drawn: list[int] = []
    failures: list[BaseException] = []
    user = site.key("shard_1")

    def draw() -> None:
        try:
            for number in range(300):
                drawn.append(db.new_id("deposits", user) if number % 2 else db.new_id("users"))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=draw) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [] and len(set(drawn)) == len(drawn) == 2400
    # Whoever leased a worker beside the first one gave it back: a process holds one.
    now = int(time.time()) - BASE_S
    assert site.look("shard_0", "SELECT COUNT(*) FROM tf_worker WHERE until_s > ?", (now + 60,)) == [(1,)]
