"""tenfold shard status: how the shards are, also while one is gone or hangs. Edge."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path

from tenfold.cli.shard_status import lines
from tenfold.errors import NodeDown, NodeError
from tenfold.sharding.engine.status import ShardStatus, Status
from tests.cli.conftest import Command
from tests.mariadb import Server
from tests.sharding.engine.sites import Site


def cells(out: str) -> list[list[str]]:
    """The rows of the table, without its heading."""
    return [re.split(r"  +", line) for line in out.partition("\n\n")[0].splitlines()[1:]]


def test_files_have_a_size_rows_and_buckets(ledger: Site, tenfold: Command) -> None:
    code, out, err = tenfold(ledger, "shard", "status")
    assert (code, err) == (0, "")
    assert re.split(r"  +", out.splitlines()[0]) == [
        "SHARD", "SERVER", "ANSWERS IN", "SIZE", "FREE", "ROWS", "BUCKETS"
    ]  # fmt: skip
    rows = cells(out)
    assert [row[0] for row in rows] == ["shard_0", "shard_1", "shard_2"]
    assert [row[-1] for row in rows] == ["1,365", "1,366", "1,365"]
    assert sum(int(row[-2]) for row in rows) == 3 + 2 + 3  # users, posts, and a currency on each shard
    assert re.search(r"\n3 of 3 shards answer; \d+ kB in 8 rows; epoch 1; buckets even\n", out)
    assert max(map(len, out.splitlines())) <= 100


def test_a_shard_that_is_not_there_is_said_and_tried_again_later(own_ledger: Site, tenfold: Command) -> None:
    own_ledger.path("shard_0").unlink()  # which holds the catalog: another shard's copy of the map is taken
    code, out, _ = tenfold(own_ledger, "shard", "status")
    assert code == 75
    assert cells(out)[0][:2] == ["shard_0", "does not answer"] and cells(out)[0][-1] == "1,365"
    assert "2 of 3 shards answer" in out and "\nerror: shard_0: " in out and "\nTry: " in out
    assert not own_ledger.path("shard_0").exists()
    code, out, _ = tenfold(own_ledger, "shard", "status", "--json")
    told = json.loads(out)
    assert code == 75 and [one["up"] for one in told["shards"]] == [False, True, True]
    assert told["epoch"] == 1 and told["shards"][0]["failure"] and told["shards"][1]["size_bytes"] > 0


def test_before_init_there_is_no_map(tmp_path: Path, tenfold: Command) -> None:
    code, out, _ = tenfold(Site(tmp_path / "site"), "shard", "status")
    assert code == 75 and "0 of 3 shards answer; no bucket map to be seen" in out
    assert not (tmp_path / "site" / "var" / "shard_0.db").exists()


def test_servers_tell_their_connections_and_whether_they_hang(
    mariadb_ledger: Site, three_servers: Sequence[Server], tenfold: Command
) -> None:
    code, out, _ = tenfold(mariadb_ledger, "shard", "status")
    assert code == 0
    assert re.search(r"shard_1  MariaDB 10\.\d+\.\d+ +[\d.]+ [mµ]s +\d+/151 \(0\) +", out)
    three_servers[1].sql(
        "CREATE DATABASE another", "GRANT ALL ON another.* TO app@'127.0.0.1'",
        "CREATE TABLE another.big ENGINE=InnoDB SELECT seq, REPEAT('x', 2000) AS text FROM another.seq_1_to_500",
        "ANALYZE TABLE another.big",
    )  # fmt: skip
    with mariadb_ledger.client("shard_1"):
        told = json.loads(tenfold(mariadb_ledger, "shard", "status", "--json")[1])
    assert told["shards"][1]["ours"] == 1 and told["shards"][0]["ours"] == 0
    assert 0 < told["shards"][1]["size_bytes"] < 1_000_000  # that of its own database alone
    three_servers[1].drop("another")
    three_servers[1].pause()
    try:
        started_s = time.monotonic()
        code, out, _ = tenfold(mariadb_ledger, "shard", "status")
        took_s = time.monotonic() - started_s
    finally:
        three_servers[1].resume()
    assert code == 75 and took_s < 6
    assert cells(out)[1][:2] == ["shard_1", "does not answer"] and "2 of 3 shards answer" in out


def test_no_password_is_ever_told(mariadb_ledger: Site, three_servers: Sequence[Server], tenfold: Command) -> None:
    wrong = 'hunter"2'
    (mariadb_ledger.root / "password").write_text(wrong)
    for more in ([], ["--json"]):
        code, out, err = tenfold(mariadb_ledger, "shard", "status", *more)
        assert code == 1 and wrong not in out + err and three_servers[0].password not in out + err
    assert "shard_0  refuses\n" in tenfold(mariadb_ledger, "shard", "status")[1]


def test_replicas_and_figures_that_are_not_known_are_told_apart() -> None:
    seen = Status(
        [
            ShardStatus("a", "h", server="MariaDB 10.11.6", latency_s=0.00042, used=12, most=151, ours=3,
                        replication="primary of 1", size_bytes=5 * 2**30, rows=1_000_000, rows_at_least=True,
                        buckets=4000),
            ShardStatus("b", "h", server="MariaDB 10.11.6", latency_s=0.0123, used=1, most=151, ours=0,
                        replication="12 s behind", lag_s=12.0, size_bytes=2**10, rows=5, buckets=96),
            ShardStatus("c", "h", failure=NodeDown("c is away", hint="start it")),
            ShardStatus("d", "h", failure=NodeError("d denies it", retryable=False)),
        ],
        epoch=7, skew=1.953,
    )  # fmt: skip
    assert (
        "\n".join(lines(seen))
        == """\
SHARD  SERVER           ANSWERS IN  CONNECTIONS   REPLICATION    SIZE        ROWS  BUCKETS
a      MariaDB 10.11.6      420 µs   12/151 (3)  primary of 1  5.0 GB  ≥1,000,000    4,000
b      MariaDB 10.11.6     12.3 ms    1/151 (0)   12 s behind    1 kB           5       96
c      does not answer           –            –             –       –           –        –
d      refuses                   –            –             –       –           –        –

2 of 4 shards answer; 5.0 GB in ≥1,000,005 rows; epoch 7; the fullest has 1.95× its share of the buckets
error: c is away
Try: start it
error: d denies it
"""[:-1]
    )
