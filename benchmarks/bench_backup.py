"""How fast is a backup and its way back, beside `mariadb-dump | gzip | age`? Edge.

Rows as the ledger's transactions, on one MariaDB server and on three, where each side dumps all three at once. Same
key, same directory, all parts synced. The peer restores by `age -d | gunzip | mariadb`; Tenfold reads all of it
first, and compares every row afterwards, which the peer does not. `--quick`: fewer rows, one round.
"""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.mariadb import ACCOUNT, PASSWORD, Server, client, pattern, server
from tests.support import SEARCH

from benchmarks.report import alternate, heading, spread
from tenfold.deploy.backup.create import Creation
from tenfold.deploy.backup.envelope import read_identity, write_identity
from tenfold.deploy.backup.restore import Restoring
from tenfold.deploy.backup.shelf import Shelf
from tenfold.sharding.engine.initialise import initialise
from tenfold.topology.load import load

ROWS, ROUNDS = 600_000, 3
ROOM = ("--innodb-buffer-pool-size=192M", "--innodb-flush-log-at-trx-commit=1")
TABLE = (
    "CREATE TABLE transactions (id BIGINT NOT NULL PRIMARY KEY, user_id BIGINT NOT NULL,"
    " account VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, amount BIGINT NOT NULL,"
    " kind VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, ref BIGINT NOT NULL, party VARCHAR(80) NOT NULL,"
    " note VARCHAR(200) NOT NULL, created_at BIGINT NOT NULL, KEY transactions_user (user_id, account, created_at, id))"
)


class Sides:
    """The same rows on some servers, backed up and restored by both sides; the targets are databases of their own."""

    def __init__(self, root: Path, servers: Sequence[Server], rows: int) -> None:
        self.root, self.servers, self.rows = root, servers, rows
        root.mkdir()
        (root / "password").touch(0o600)
        (root / "password").write_text(PASSWORD)
        self.recipient = write_identity(root / "key", "bench")
        self.file = self._platform("bench")
        for nth, one in enumerate(servers):
            with client(one.url("bench")) as line, line.cursor() as cursor:
                cursor.execute(TABLE)
                cursor.execute(
                    "INSERT INTO transactions SELECT seq * 7, seq % 9999, 'wallet', seq % 1000 + 1, 'transfer',"
                    " seq * 3, CONCAT('Person ', seq % 9999), CONCAT('it''s note ', MD5(seq)), 1700000000000 + seq"
                    f" FROM seq_1_to_{rows // len(servers)}"
                )
            # A password in a file, as a careful person has it.
            secret = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
            (root / f"client{nth}.cnf").touch(0o600)
            (root / f"client{nth}.cnf").write_text(
                f'[client]\nuser={ACCOUNT}\npassword="{secret}"\nhost=127.0.0.1\nport={one.port}\n'
            )
        (root / "peer").mkdir()

    def _platform(self, database: str) -> Path:
        for one in self.servers:
            one.create(database)
        shards = "".join(
            f'shard_{nth} = {{ url = "{one.url(database)}", password = "file:password" }}\n'
            for nth, one in enumerate(self.servers)
        )
        file = self.root / f"{database}.toml"
        file.write_text(
            f'[platform]\nname = "bench"\n[app]\ncommand = "app"\n[database]\nengine = "mysql"\n'
            f"[database.shards]\n{shards}"
            '[database.groups.user]\nkey = "user_id"\ntables = { transactions = "user_id" }\nids = []\n'
            f'[backup]\nrecipient = "{self.recipient}"\n'
        )
        initialise(load(file)) if database == "bench" else None
        return file

    def _timed(self, commands: list[str]) -> float:
        began_s = time.perf_counter()
        running = [
            subprocess.Popen(["bash", "-c", f"set -o pipefail; {command}"], env=os.environ | {"PATH": SEARCH})
            for command in commands
        ]
        codes = [process.wait() for process in running]
        os.sync()
        assert not any(codes), codes
        return self.rows / (time.perf_counter() - began_s)

    def create(self) -> float:
        began_s = time.perf_counter()
        self.kept = Creation(load(self.file), lambda event: None).run(consistent=True)
        os.sync()
        return self.rows / (time.perf_counter() - began_s)

    def peer_create(self) -> float:
        return self._timed([
            f"mariadb-dump --defaults-extra-file={shlex.quote(str(self.root / f'client{nth}.cnf'))}"
            f" --single-transaction bench | gzip -1 | age -r {self.recipient}"
            f" > {shlex.quote(str(self.root / 'peer' / f'{nth}.age'))}"
            for nth in range(len(self.servers))
        ])  # fmt: skip

    def restore(self) -> float:
        self._drop("back")
        target = load(self._platform("back"))
        began_s = time.perf_counter()
        kept = Shelf(load(self.file)).find(self.kept.id)
        Restoring(kept, read_identity(self.root / "key"), target, lambda event: None).run(None)
        return self.rows / (time.perf_counter() - began_s)

    def peer_restore(self) -> float:
        self._drop("peer")
        for one in self.servers:
            one.create("peer")
        return self._timed([
            f"age -d -i {shlex.quote(str(self.root / 'key'))} {shlex.quote(str(self.root / 'peer' / f'{nth}.age'))}"
            f" | gunzip | mariadb --defaults-extra-file={shlex.quote(str(self.root / f'client{nth}.cnf'))} peer"
            for nth in range(len(self.servers))
        ])  # fmt: skip

    def _drop(self, database: str) -> None:
        for one in self.servers:
            one.drop(database)

    def sizes(self) -> tuple[int, int]:
        assert self.kept.manifest is not None
        return self.kept.manifest.size, sum(path.stat().st_size for path in (self.root / "peer").iterdir())


def main() -> None:
    quick = "--quick" in sys.argv
    rows, rounds = (60_000, 1) if quick else (ROWS, ROUNDS)
    heading(__doc__.partition("\n")[0].removesuffix(" Edge."))
    for program in ("mariadbd", "mariadb-dump", "age", "gzip"):
        if not any((Path(place) / program).exists() for place in SEARCH.split(":") if place):
            print(f"{program} is not installed: nothing to compare with")
            return
    with tempfile.TemporaryDirectory(prefix="tf") as directory:
        fresh = pattern(Path(directory) / "pattern")
        for count in (1, 3):
            with ExitStack() as stack:
                servers = [stack.enter_context(server(fresh, ROOM)) for _ in range(count)]
                for one in servers:
                    one.sql(f"GRANT RELOAD ON *.* TO {ACCOUNT}@'127.0.0.1'")
                sides = Sides(Path(directory) / f"on_{count}", servers, rows)
                print(f"{rows:,} rows on {count} server{'s' * (count > 1)}, {rounds} rounds; rows a second")
                figures = alternate(rounds, {
                    "tenfold backup create": sides.create, "mariadb-dump | gzip -1 | age": sides.peer_create,
                    "tenfold backup restore": sides.restore, "age -d | gunzip | mariadb": sides.peer_restore,
                })  # fmt: skip
                for name, values in figures.items():
                    print(f"  {name:30} {spread(values, 'rows/s', 0)}")
                for ours, theirs in (
                    ("tenfold backup create", "mariadb-dump | gzip -1 | age"),
                    ("tenfold backup restore", "age -d | gunzip | mariadb"),
                ):
                    ratio = statistics.median(figures[ours]) / statistics.median(figures[theirs])
                    print(f"  {ours} goes {ratio:.2f} times as fast")
                mine, others = sides.sizes()
                manifest = sides.kept.manifest
                assert manifest is not None
                print(f"  size {mine / 1e6:.1f} MB against {others / 1e6:.1f} MB; ", end="")
                print(f"writes waited {1000 * manifest.pause_s:.2f} ms\n")


if __name__ == "__main__":
    main()
