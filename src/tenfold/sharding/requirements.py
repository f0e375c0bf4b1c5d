"""What Tenfold needs of a database server, feature by feature, and what to change where it is not so. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tenfold.sharding.dialects import MYSQL

OLDEST = {"MariaDB": (10, 6), "MySQL": (8, 0)}
OLDEST_SQLITE = (3, 35)  # RETURNING
# What one connection is at most out of step before ids and leases of two machines look odd to people.
CLOCK_S = 1.0
SMALL_PACKET_BYTES = 16 * 2**20
SPARE_CONNECTIONS = 10  # for agent, mover, backup and a person who looks
LOW_DISK_BYTES = 2**30
# File systems on which SQLite's locks, or the shared memory of its WAL, do not hold between machines.
NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs"}


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"  # a feature that is not there, or something to know
    MISTAKE = "mistake"  # statements fail or rows are at risk


@dataclass(frozen=True, slots=True)
class Finding:
    """said: how it is; remedy: the parameter or statement that changes it, empty where all is well."""

    feature: str
    level: Level
    said: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Rights:
    """What an account may do, from SHOW GRANTS: upper-case privileges on everything, and on one database."""

    everywhere: frozenset[str]
    here: frozenset[str]

    def may(self, privilege: str) -> bool:
        """On the database."""
        return bool({privilege, "ALL PRIVILEGES"} & (self.everywhere | self.here))

    def may_everywhere(self, privilege: str) -> bool:
        """On the server; what cannot be granted on one database alone."""
        return bool({privilege, "ALL PRIVILEGES"} & self.everywhere)


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What was seen of a MariaDB or MySQL server.

    version     as VERSION() says it
    variables   lower-case name → value, global
    session     the same, of a connection of Tenfold's
    tls         protocol of the connection, "" without; loopback: whether the address never leaves the machine
    skew_s      the server's clock less ours, beyond what the way there explains
    refused     what was tried and refused: "temporary table", "xa"
    account     as CURRENT_USER() says it, for the statements to run
    connections most that this file's processes may hold open to it
    """

    version: str
    variables: Mapping[str, str]
    session: Mapping[str, str]
    tls: str
    loopback: bool
    skew_s: float
    rights: Rights
    refused: frozenset[str]
    account: str
    database: str
    connections: int

    def is_on(self, name: str) -> bool:
        """Whether a variable is ON, however the server spells it."""
        return self.variables.get(name, "").upper() in ("ON", "1", "YES", "TRUE")


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What was seen of a SQLite file: of the library, the file and where it lies."""

    version: str
    journal: str
    file_system: str
    free_bytes: int
    unwritable: tuple[str, ...] = ()
    open_to_all: bool = False


_GRANT = re.compile(r"(?i)^GRANT (?P<what>.+?) ON (?:TABLE )?(?P<where>\S+?) TO ")


def rights_of(grants: Sequence[str], database: str) -> Rights:
    """The rights that SHOW GRANTS tells of. Grants on single tables are left out: Tenfold makes tables."""
    everywhere: set[str] = set()
    here: set[str] = set()
    for grant in grants:
        found = _GRANT.match(grant)
        if not found:
            continue  # a role by its name; what it may do has lines of its own
        privileges = {part.strip().upper() for part in re.sub(r"\([^)]*\)", "", found["what"]).split(",")}
        where = found["where"].replace("`", "")
        if where == "*.*":
            everywhere |= privileges
        elif where.endswith(".*") and _matches(where.removesuffix(".*"), database):
            here |= privileges
    return Rights(frozenset(everywhere), frozenset(here))


def _matches(pattern: str, database: str) -> bool:
    """Whether the pattern of a grant (`_` and `%` stand for others, unless after a backslash) means a database."""
    parts = re.findall(r"\\?.", pattern)
    regular = "".join({"%": ".*", "_": "."}.get(part, re.escape(part[-1:])) for part in parts)
    return re.fullmatch(regular, database) is not None


def judge_server(facts: ServerFacts) -> list[Finding]:
    """Every feature, in the order in which a person asks for them."""
    return [*_essential(facts), *_capacity(facts), *_features(facts), *_durability(facts)]


def product(version: str) -> tuple[str, tuple[int, int]]:
    """("MariaDB", (10, 11)) of what VERSION() says."""
    name = "MariaDB" if "mariadb" in version.lower() else "MySQL"
    numbers = re.match(r"(\d+)\.(\d+)", version)
    return name, (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)


def _finding(feature: str, well: bool, said: str, remedy: str, level: Level = Level.NOTE) -> Finding:
    return Finding(feature, Level.OK, said) if well else Finding(feature, level, said, remedy)


def _essential(facts: ServerFacts) -> Iterator[Finding]:
    """Without these Tenfold does not work, or not safely."""
    name, number = product(facts.version)
    oldest = OLDEST[name]
    yield _finding(
        "version", number >= oldest, f"{name} {facts.version.partition('-')[0]}",
        f"upgrade: the oldest that Tenfold works with is {name} {oldest[0]}.{oldest[1]}", Level.MISTAKE,
    )  # fmt: skip
    writable = not facts.is_on("read_only") and not facts.is_on("super_read_only")
    yield _finding(
        "writable", writable, "yes" if writable else "read_only is ON",
        "name the primary in the url of this shard, or SET GLOBAL read_only = OFF", Level.MISTAKE,
    )  # fmt: skip
    yield _finding(
        "TLS", bool(facts.tls) or facts.loopback, facts.tls or f"off{', on loopback' if facts.loopback else ''}",
        'give the server ssl_cert and ssl_key, and write tls = "require" in [database]', Level.MISTAKE,
    )  # fmt: skip
    spoken = facts.session.get("character_set_client", "")
    stored = facts.session.get("character_set_database", "")
    yield _finding("text", spoken == "utf8mb4", f"connections speak {spoken}", _PINS, Level.MISTAKE)
    if stored != "utf8mb4":
        yield Finding(
            "new tables", Level.NOTE, f"hold {stored}, not every letter",
            f"ALTER DATABASE {MYSQL.quoted(facts.database)} CHARACTER SET utf8mb4",
        )  # fmt: skip
    engine = facts.variables.get("default_storage_engine", "")
    yield _finding(
        "transactions", engine.lower() == "innodb", f"new tables are {engine}",
        "default_storage_engine = InnoDB in the server's configuration", Level.MISTAKE,
    )  # fmt: skip
    zone, modes = facts.session.get("time_zone", ""), facts.session.get("sql_mode", "")
    pinned = zone == "+00:00" and "STRICT_TRANS_TABLES" in modes and "NO_BACKSLASH_ESCAPES" not in modes
    said = "UTC, strict" if pinned else f"time_zone {zone}, sql_mode {modes or 'empty'}"
    yield _finding("session", pinned, said, _PINS, Level.MISTAKE)
    near = abs(facts.skew_s) <= CLOCK_S
    ahead = "ahead of" if facts.skew_s > 0 else "behind"
    yield _finding(
        "clock", near, f"within {CLOCK_S:g} s of ours" if near else f"{abs(facts.skew_s):.0f} s {ahead} ours",
        "let chrony or systemd-timesyncd keep the time on both machines",
    )  # fmt: skip


_PINS = "something between (a proxy, init_connect) changes what Tenfold sets; connect to the server itself"


def _number(facts: ServerFacts, name: str) -> int:
    text = facts.variables.get(name, "")
    return int(text) if text.isdigit() else 0


def _capacity(facts: ServerFacts) -> Iterator[Finding]:
    needed = facts.connections + SPARE_CONNECTIONS
    limits = {name: _number(facts, name) for name in ("max_connections", "max_user_connections")}
    name, allowed = min(((n, v) for n, v in limits.items() if v), key=lambda item: item[1], default=("", needed))
    yield _finding(
        "connections", needed <= allowed,
        f"{allowed} allowed, the file's processes may take {facts.connections}",
        f"{name} = {needed} on the server, or a smaller database.pool_size", Level.MISTAKE,
    )  # fmt: skip
    packet = _number(facts, "max_allowed_packet")
    yield _finding(
        "large values", packet >= SMALL_PACKET_BYTES, f"{packet / 2**20:.0f} MB in one statement",
        f"SET GLOBAL max_allowed_packet = {SMALL_PACKET_BYTES * 4} (and in the server's configuration)",
    )  # fmt: skip


def _features(facts: ServerFacts) -> Iterator[Finding]:
    """What some feature needs; without it that feature alone is missing."""
    whom, database = facts.account, MYSQL.quoted(facts.database)
    joins = "temporary table" not in facts.refused
    yield _finding(
        "joins over shards", joins, "CREATE TEMPORARY TABLES " + ("granted" if joins else "denied"),
        f"GRANT CREATE TEMPORARY TABLES ON {database}.* TO {whom}",
    )  # fmt: skip
    logged = facts.is_on("log_bin")
    trusted = not logged or facts.is_on("log_bin_trust_function_creators") or facts.rights.may_everywhere("SUPER")
    missing = [right for right in ("TRIGGER", "CREATE", "DROP") if not facts.rights.may(right)]
    remedies = [f"GRANT {', '.join(missing)} ON {database}.* TO {whom}"] * bool(missing)
    remedies += [] if trusted else ["SET GLOBAL log_bin_trust_function_creators = ON"]
    refused = "triggers" if "TRIGGER" in missing or not trusted else "tables"
    yield _finding("moves", not remedies, "triggers may be made" if not remedies else f"no {refused} may be made",
                   "; ".join(remedies))  # fmt: skip
    xa = "xa" not in facts.refused
    yield _finding(
        "two-phase commit", xa, "XA RECOVER " + ("allowed" if xa else "denied"),
        f"GRANT XA_RECOVER_ADMIN ON *.* TO {whom}",
    )  # fmt: skip
    barrier = facts.rights.may_everywhere("RELOAD")
    yield _finding(
        "backup barrier", barrier, "RELOAD " + ("granted" if barrier else "not granted: shards at different moments"),
        f"GRANT RELOAD ON *.* TO {whom}",
    )  # fmt: skip
    form = facts.variables.get("binlog_format", "ROW").upper()
    said = f"binary log {form}" if logged else "no binary log: no restore to a point in time"
    yield _finding(
        "point in time", logged and form == "ROW", said,
        "binlog_format = ROW" if logged else "log_bin = binlog in the server's configuration, and a restart",
    )  # fmt: skip
    schema = facts.is_on("performance_schema")
    yield _finding(
        "statement figures", schema, f"performance_schema {'ON' if schema else 'OFF'}",
        "performance_schema = ON in the server's configuration, and a restart",
    )  # fmt: skip


def _durability(facts: ServerFacts) -> Iterator[Finding]:
    wanted = {"innodb_flush_log_at_trx_commit": "1"} | ({"sync_binlog": "1"} if facts.is_on("log_bin") else {})
    loose = [name for name, value in wanted.items() if facts.variables.get(name, "1") != value]
    said = ", ".join(f"{name} = {facts.variables[name]}" for name in loose)
    yield _finding(
        "power cut", not loose, f"{said}: the last writes may be lost" if loose else "no acknowledged write is lost",
        "; ".join(f"SET GLOBAL {name} = {wanted[name]}" for name in loose),
    )  # fmt: skip
    if facts.is_on("wsrep_on"):
        yield Finding("Galera", Level.NOTE, "this node replicates to others of its cluster",
                      "let the url name one node, or an address that fails over")  # fmt: skip


GALERA = "SHOW GLOBAL STATUS LIKE 'wsrep_cluster_state_uuid'"
"""Asks a server which Galera cluster it is in: (name, id); an empty id where it replicates to nobody, and no row where
it could not."""


def judge_together(clusters: Mapping[str, str]) -> list[str]:
    """Mistakes of several shards. clusters: shard → the Galera cluster that its server is in, "" for none."""
    homes: dict[str, list[str]] = {}
    for shard, cluster in clusters.items():
        if cluster:
            homes.setdefault(cluster, []).append(shard)
    return [
        f"tenfold.toml: database.shards: {', '.join(shards)} are nodes of one Galera cluster, which hold "
        "the same rows; write one url for the cluster"
        for shards in homes.values()
        if len(shards) > 1
    ]


def judge_file(facts: FileFacts) -> list[Finding]:
    """What Tenfold needs of a SQLite file and of where it lies."""
    number = tuple(int(part) for part in facts.version.split(".")[:2])
    oldest = ".".join(str(part) for part in OLDEST_SQLITE)
    found = [
        _finding("version", number >= OLDEST_SQLITE, f"SQLite {facts.version}",
                 f"upgrade Python or its SQLite: the oldest that Tenfold works with is {oldest}", Level.MISTAKE),
        _finding("writable", not facts.unwritable,
                 "yes" if not facts.unwritable else f"not for this user: {', '.join(facts.unwritable)}",
                 "give it to the account that runs the app, its directory too: the WAL is made there", Level.MISTAKE),
        _finding("journal", facts.journal == "wal", facts.journal.upper(),
                 "PRAGMA journal_mode = WAL, once, by sqlite3: readers and a writer then work side by side"),
        _finding("file system", facts.file_system not in NETWORK, facts.file_system or "not known",
                 "put the file on a local disk: locks do not hold over a network file system"),
        _finding("disk", facts.free_bytes >= LOW_DISK_BYTES, f"{facts.free_bytes / 2**30:.1f} GB free",
                 "make room: a full disk refuses every write"),
    ]  # fmt: skip
    if facts.open_to_all:
        found.append(Finding("permissions", Level.NOTE, "every account of the machine may write to it",
                             "chmod o-w, on the file"))  # fmt: skip
    return found
