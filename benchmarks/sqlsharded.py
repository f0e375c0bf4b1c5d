"""The operations of `bench_sql` by SQLAlchemy's sharded session. Edge."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Engine, Select, create_engine, func, select, update
from sqlalchemy.ext.horizontal_shard import ShardedSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from benchmarks.mariadb import Fleet
from benchmarks.platforms import SHARDS
from benchmarks.sqlpeers import Call, Operation, connected, owner


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    country: Mapped[str]
    balance: Mapped[int]


class Deposit(Base):
    __tablename__ = "deposits"
    user_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    amount: Mapped[int]
    created_at: Mapped[int]


class Sharded:
    """`sqlalchemy.ext.horizontal_shard` over the three shards, with Tenfold's hash.

    As fast as an application can have it: it says the shard itself (nothing parses the WHERE), asks for columns
    and not for objects, and connections are not reset between sessions. What the extension does not merge
    (order, groups, counts), the application merges here.
    """

    def __init__(self, fleet: Fleet) -> None:
        engines = {
            name: create_engine(
                "mysql+pymysql://",
                creator=lambda server=server: connected(server),
                isolation_level="AUTOCOMMIT",
                pool_reset_on_return=None,
            )
            for name, server in zip(SHARDS, fleet.shards, strict=True)
        }
        self.engines: dict[str, Engine] = engines
        self._session = sessionmaker(
            class_=ShardedSession,
            shards=engines,
            shard_chooser=lambda mapper, instance, clause=None: owner(instance.user_id),
            identity_chooser=lambda *of, **more: SHARDS,
            execute_chooser=lambda context: context.execution_options.get("on", SHARDS),
        )

    def close(self) -> None:
        for engine in self.engines.values():
            engine.dispose()

    def _rows(self, asked: Select[*tuple[Any, ...]], on: Iterable[str] = SHARDS) -> list[Any]:
        with self._session() as session:
            return list(session.execute(asked, execution_options={"on": list(on)}).all())

    def call(self, operation: Operation) -> Call:
        """The operation in this library's words."""
        done: Callable[..., object] = getattr(self, operation.name.replace(" ", "_"))
        return lambda number: done(*operation.params(number))

    def point_read(self, key: int) -> object:
        return self._rows(select(User.id, User.name, User.balance).where(User.id == key), [owner(key)])

    def update(self, key: int) -> object:
        with self._session() as session:
            changed = update(User).where(User.id == key).values(balance=User.balance + 1)
            session.execute(changed, execution_options={"on": [owner(key)], "synchronize_session": False})
            session.commit()
        return None

    def insert(self, user_id: int, row_id: int, amount: int, created_at: int) -> object:
        with self._session() as session:
            session.add(Deposit(user_id=user_id, id=row_id, amount=amount, created_at=created_at))
            session.commit()
        return None

    def in_of_10(self, *keys: int) -> object:
        asked = select(User.id, User.name, User.balance).where(User.id.in_(keys))
        return self._rows(asked, {owner(key) for key in keys})

    def ordered_limit_10(self, amount: int) -> object:
        asked = select(Deposit.id, Deposit.user_id, Deposit.amount, Deposit.created_at).where(Deposit.amount >= amount)
        rows = self._rows(asked.order_by(Deposit.created_at.desc()).limit(10))
        return heapq.nlargest(10, rows, key=lambda row: row[3])

    def group_by_country(self) -> object:
        counts: Counter[str] = Counter()
        sums: Counter[str] = Counter()
        for country, count, total in self._rows(
            select(User.country, func.count(), func.sum(User.balance)).group_by(User.country)
        ):
            counts[country] += count
            sums[country] += int(total)
        return [(country, counts[country], sums[country]) for country in counts]

    def count(self) -> object:
        return [(sum(row[0] for row in self._rows(select(func.count()).select_from(User))),)]

    def join_grouped_by_key(self, country: str) -> object:
        asked = select(User.id, User.name, func.count(), func.sum(Deposit.amount))
        asked = asked.join(Deposit, Deposit.user_id == User.id).where(User.country == country)
        return self._rows(asked.group_by(User.id, User.name))
