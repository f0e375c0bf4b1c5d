"""How fast does a move copy, how long do writers wait at its cutover, and what does it cost all others meanwhile? Edge.

All buckets of one server go to another that is empty, and the peer is `mariadb-dump | mariadb` of the same rows from
the same server to the same other in the same round. A move's figure includes capture, following what was written,
comparing all rows and cutting over; the dump compares nothing. Beside 1,000 writes a second both have the same load.
Clients and servers share the machine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from tests.mariadb import Server

import tenfold
from benchmarks import platforms
from benchmarks.mariadb import missing, servers
from benchmarks.movefewest import fewest
from benchmarks.moveload import POINT, SCATTER, UPDATE, WRITES_S, Sample, beside
from benchmarks.moverun import STEPS, Pause, Run, dumped, finished, moved
from benchmarks.report import heading, percentile, spread
from tenfold.sharding.keys import KeyType, bucket_of
from tenfold.sharding.moves.joining import Joining
from tenfold.sharding.moves.progress import Silence
from tenfold.topology.load import load

ROWS, QUICK_ROWS = 1_000_000, 100_000
DATABASE = "bench"
QUIET_S, SERVING_S, SLICE_S = 3.0, 3.0, 1.0
PAUSE_MS = 100.0
SHARDS = ("shard_0", "shard_1")
# As a server that has rows to hold: those of tests are as small as they can be.
ROOM = (
    "--innodb-buffer-pool-size=384M", "--innodb-log-file-size=256M", "--innodb-log-buffer-size=16M",
    "--innodb-doublewrite=1", "--innodb-flush-log-at-trx-commit=1", "--max-connections=200",
)  # fmt: skip
KEYS = {"users": "id", "deposits": "user_id"}
TABLES = {
    "users": "id BIGINT NOT NULL, name VARCHAR(60) NOT NULL, balance DECIMAL(12,2) NOT NULL, since DATETIME NOT NULL, "
    "PRIMARY KEY (id)",
    "deposits": "id BIGINT NOT NULL AUTO_INCREMENT, user_id BIGINT NOT NULL, note VARCHAR(60) NOT NULL, "
    "amount DECIMAL(12,2) NOT NULL, created_at DATETIME NOT NULL, PRIMARY KEY (id), KEY (user_id), KEY (created_at)",
}
COPY, ALL = ("copying",), ("copying", "following", "cutting")
WINDOWS = ("quiet", "dump", *ALL, "serving", "cleaning")


def made(rows: int) -> dict[str, str]:
    """What the tables hold, as SELECTs that the server answers by itself: a fifth are users."""
    users = rows // 5
    return {
        "users": "SELECT seq, CONCAT('user number ', seq), (seq * 7919) MOD 1000003 / 100, "
        f"'2020-01-01' + INTERVAL seq MINUTE FROM seq_1_to_{users}",
        "deposits": f"SELECT seq, 1 + (seq - 1) MOD {users}, CONCAT('paid in at counter ', seq MOD 977), "
        f"(seq * 31) MOD 100003 / 100, '2021-01-01' + INTERVAL (seq * 7919) MOD 50000000 SECOND "
        f"FROM seq_1_to_{rows - users}",
    }


class Bench:
    """Two servers, and what was measured on them: dumps and runs of each round, by whether writers ran beside."""

    def __init__(self, root: Path, shards: Sequence[Server], rows: int) -> None:
        self.root, self.shards, self.rows = root, shards, rows
        self.on = dict(zip(SHARDS, shards, strict=True))
        self.dumps: dict[bool, list[float]] = {False: [], True: []}
        self.runs: dict[bool, list[Run]] = {False: [], True: []}
        self.samples: list[list[Sample]] = []
        self.windows: list[dict[str, tuple[float, float]]] = []
        self.alone: dict[str, dict[str, list[float]]] = {}
        self.verdicts: list[str] = []

    def fresh(self) -> Path:
        """A new platform: the first server has all rows and buckets, the second has joined; → its file."""
        for server in self.shards:
            server.drop(DATABASE)
        rest = {
            name: f'url = "{server.create(DATABASE)}", password = "file:password"' for name, server in self.on.items()
        }
        (self.root / "password").write_text(self.shards[0].password)
        (self.root / "password").chmod(0o600)
        settings = 'engine = "mysql"\npool_size = 32'
        first = self.shards[0]
        for table, columns in TABLES.items():
            first.sql(f"USE {DATABASE}", f"CREATE TABLE {table} ({columns})")
        platforms.platform(self.root, KEYS, {SHARDS[0]: rest[SHARDS[0]]}, settings)
        file = platforms.write(self.root, KEYS, rest, settings)
        joining = Joining(load(file), Silence())
        joining.join(SHARDS[1])
        joining.close()
        for table, select in made(self.rows).items():
            first.sql(f"USE {DATABASE}", f"INSERT INTO {table} {select}", f"ANALYZE TABLE {table}")
        return file

    def without_writers(self, *, compared: bool) -> None:
        """One round. compared: also what one thread can do before the move and while it serves."""
        file = self.fresh()
        if compared:
            self.alone["before"] = one_thread(file, self.rows)
        began_s, ended_s = dumped(self.shards, DATABASE, tuple(TABLES))
        self.dumps[False].append(ended_s - began_s)
        self.runs[False].append(moved(file, self.on))
        if compared:
            self.alone["serving"] = one_thread(file, self.rows)

    def beside_writers(self, *, to_the_end: bool) -> None:
        """One round. to_the_end: what is left behind is deleted, too."""
        file = self.fresh()
        with beside(file, self.rows) as load:
            time.sleep(1)
            windows = {"quiet": (time.monotonic(), time.monotonic() + QUIET_S)}
            time.sleep(QUIET_S)
            windows["dump"] = dumped(self.shards, DATABASE, tuple(TABLES))
            run = moved(file, self.on)
            served_s = time.monotonic()
            time.sleep(SERVING_S)
            windows |= run.phases | {"serving": (served_s, time.monotonic())}
            if to_the_end:
                end = finished(file, self.on)
                windows["cleaning"] = end.phases["cleaning"]
            self.samples.append(load.end())
        self.dumps[True].append(windows["dump"][1] - windows["dump"][0])
        self.runs[True].append(run)
        self.windows.append(windows)

    def judge(self, told: str, reached: bool) -> None:
        self.verdicts.append(f"{told}: {'OK' if reached else 'MISSED'}")

    # --- what is printed ---

    def show_rates(self, *, load: bool, target: float) -> None:
        beside = f"beside {WRITES_S:,.0f} writes/s" if load else "without writers"
        runs, dumps = self.runs[load], self.dumps[load]
        sides = {
            "mariadb-dump | mariadb": dumps,
            "Tenfold, copied": [run.seconds(*COPY) for run in runs],
            "Tenfold, and compared, and served": [run.seconds(*ALL) for run in runs],
        }
        for name, seconds in sides.items():
            ratio = statistics.median(theirs / ours for ours, theirs in zip(seconds, dumps, strict=True))
            rates = [self.rows / each for each in seconds]
            print(f"{beside:22s} {name:36s} {spread(rates, 'rows/s', 0):36s} × {ratio:.2f}")
        self.judge(f"{beside}: a move is × {ratio:.2f} of the dump's rate, to reach ≥ {target}", ratio >= target)
        for phase in ALL:
            seconds_of = [run.seconds(phase) for run in runs]
            cpu = {who: statistics.median(run.cpu[phase][who] / max(run.seconds(phase), 1e-3) for run in runs)
                   for who in runs[0].cpu[phase]}  # fmt: skip
            cores = ", ".join(f"{who} {spent:.2f}" for who, spent in cpu.items())
            print(f"  {phase:12s} {spread(seconds_of, 's'):24s} cores busy: {cores}")
        print()

    def show_pauses(self) -> None:
        """The movers' own, and the writers' who met one."""
        pauses = [pause for run in self.runs[True] for pause in run.pauses]
        failed = sum(not pause.given for pause in pauses)
        sizes = [len(pause.buckets) for pause in pauses]
        print(f"{len(pauses)} sets of {statistics.median(sizes):.0f} buckets ({min(sizes)}–{max(sizes)}); "
              f"{failed} fences were lifted to try again")  # fmt: skip
        told = quantiles([pause.lasted_ms for pause in pauses], "from fence to open")
        for part in STEPS:
            quantiles([pause.parts[part] * 1000 for pause in pauses], f"  of it {part}")
        met: list[float] = []
        others: list[float] = []
        for samples, run in zip(self.samples, self.runs[True], strict=True):
            writes = within(samples, "write", run.phases["cutting"])
            for sample in writes:
                (met if any(meets(sample, pause) for pause in run.pauses) else others).append(latency_ms(sample))
        usual = statistics.median(others)
        quantiles(others, "a write while others' buckets are cut over")
        waited = quantiles(met, "a write that met its bucket's fence") if met else 0.0
        self.judge(f"pause per set, P99 {told:.0f} ms, to reach ≤ {PAUSE_MS:.0f} ms", told <= PAUSE_MS)
        self.judge(
            f"pause as {len(met)} writers saw it, P99 {waited - usual:.0f} ms, to reach ≤ {PAUSE_MS:.0f} ms",
            waited - usual <= PAUSE_MS,
        )
        print()

    def show_cost(self) -> None:
        """What others took, by what the move was at."""
        print(f"{'':12s} {'writes/s':>9s}" + "".join(f"{kind + ' P50':>18s} {'P99':>8s} ms"
              for kind in ("write", "point read", "scatter")))  # fmt: skip
        for name in WINDOWS:
            pairs = [(samples, windows[name])
                     for samples, windows in zip(self.samples, self.windows, strict=True)
                     if name in windows]  # fmt: skip
            if not pairs:
                continue
            line, rates = "", [len(within(samples, "write", at)) / (at[1] - at[0]) for samples, at in pairs]
            for kind in ("write", "point read", "scatter"):
                taken = [latency_ms(sample) for samples, window in pairs for sample in within(samples, kind, window)]
                line += f"{percentile(taken, 0.5):18.2f} {percentile(taken, 0.99):8.2f}   " if taken else f"{'–':>30s}"
            print(f"{name:12s} {statistics.median(rates):9.0f}{line}")
        print()
        for kind, before in self.alone["before"].items():
            serving = self.alone["serving"][kind]
            ratio = statistics.median(serving) / statistics.median(before)
            print(f"one thread alone: {kind:12s} before {spread(before, '/s', 0):26s} "
                  f"while a move serves {spread(serving, '/s', 0):26s} × {ratio:.2f}")  # fmt: skip
        print("what leases cost where nothing moves: see bench_sql, beside the bare drivers\n")

    def show_fewest(self) -> None:
        """Buckets moved against the fewest that could be."""
        exact = True
        for case, moved_, least in fewest():
            exact &= moved_ == least
            print(f"{case:44s} {moved_:5d} buckets move, the fewest are {least:5d}")
        self.judge("exactly the fewest buckets", exact)
        print()


def one_thread(file: Path, rows: int) -> dict[str, list[float]]:
    """Point reads, writes and scatters a second, one after the other, in a few slices each."""
    with tenfold.connect(file) as db:
        acts: dict[str, Callable[[int], object]] = {
            "point read": lambda n: db.execute(POINT, (1 + n * 7919 % (rows // 5),)),
            "write": lambda n: db.execute(UPDATE, (1 + n * 7919 % (rows // 5),)),
            "scatter": lambda n: db.execute(SCATTER),
        }
        found: dict[str, list[float]] = {name: [] for name in acts}
        for _ in range(3):
            for name, act in acts.items():
                done, began_s = 0, time.monotonic()
                while time.monotonic() < began_s + SLICE_S / 3:
                    act(done)
                    done += 1
                found[name].append(done / (time.monotonic() - began_s))
        return found


def within(samples: Iterable[Sample], kind: str, window: tuple[float, float]) -> list[Sample]:
    return [sample for sample in samples if sample.kind == kind and window[0] <= sample.begun_s < window[1]]


def meets(sample: Sample, pause: Pause) -> bool:
    overlaps = sample.begun_s < pause.ended_s and pause.began_s < sample.ended_s
    return overlaps and bucket_of(sample.user, KeyType.INTEGER) in pause.buckets


def latency_ms(sample: Sample) -> float:
    return (sample.ended_s - sample.begun_s) * 1000


def quantiles(values_ms: Sequence[float], what: str) -> float:
    """Print P50, P99 and max; → P99."""
    middle, high = percentile(values_ms, 0.5), percentile(values_ms, 0.99)
    print(f"{what:46s} P50 {middle:7.1f}  P99 {high:7.1f}  max {max(values_ms):7.1f} ms  ({len(values_ms)})")
    return high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS:,} rows, one round, less to be trusted")
    parser.add_argument("--rows", type=int, help=f"other than {ROWS:,}")
    parser.add_argument("--rounds", type=int, help="other than 3")
    asked = parser.parse_args()
    rows = asked.rows or (QUICK_ROWS if asked.quick else ROWS)
    rounds = asked.rounds or (1 if asked.quick else 3)
    heading(f"What does it take to move {rows:,} rows to another MariaDB server?")
    if why := missing():
        print(why)
        return
    with servers(2, ROOM) as (root, shards), suppress(KeyboardInterrupt):
        bench = Bench(root, shards, rows)
        for nth in range(rounds):
            bench.without_writers(compared=nth == 0)
        bench.show_rates(load=False, target=0.7)
        for nth in range(rounds):
            bench.beside_writers(to_the_end=nth == rounds - 1 and not asked.quick)
        bench.show_rates(load=True, target=0.5)
        bench.show_pauses()
        bench.show_cost()
        bench.show_fewest()
        print("\n".join(bench.verdicts))


if __name__ == "__main__":
    main()
