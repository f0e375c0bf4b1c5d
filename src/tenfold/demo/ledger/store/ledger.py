"""The ledger put together: one database, one cache, and what works on them. Edge."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import tenfold
from tenfold.demo.ledger.settings import Settings, now_ms
from tenfold.demo.ledger.store.accounts import Accounts
from tenfold.demo.ledger.store.cache import Cache
from tenfold.demo.ledger.store.comments import Comments
from tenfold.demo.ledger.store.content import Content
from tenfold.demo.ledger.store.currencies import Currencies
from tenfold.demo.ledger.store.money import Money
from tenfold.demo.ledger.store.options import Options
from tenfold.demo.ledger.store.passwords import Passwords
from tenfold.demo.ledger.store.request_keys import RequestKeys
from tenfold.demo.ledger.store.sessions import Sessions
from tenfold.demo.ledger.store.transfers import Transfers


@dataclass(frozen=True, slots=True)
class Ledger:
    """All that a request may ask for."""

    settings: Settings
    accounts: Accounts
    sessions: Sessions
    money: Money
    transfers: Transfers
    request_keys: RequestKeys
    content: Content
    comments: Comments
    options: Options
    currencies: Currencies
    clock: Callable[[], int]


@asynccontextmanager
async def open_ledger(settings: Settings, clock: Callable[[], int] = now_ms) -> AsyncIterator[Ledger]:
    """Connect by Tenfold's environment (TENFOLD_FILE, TENFOLD_ENV) and close at the end."""
    db = await tenfold.connect_async()
    cache = Cache(settings.cache_url, settings.cache_prefix)
    passwords = Passwords()
    try:
        await passwords.prepare()
        options = Options(db, cache)
        keys = RequestKeys(db, clock)
        yield Ledger(
            settings=settings,
            accounts=Accounts(db, cache, passwords, options, clock),
            sessions=Sessions(db, cache, clock),
            money=Money(db, keys, clock),
            transfers=Transfers(db, keys, clock),
            request_keys=keys,
            content=Content(db, cache, clock),
            comments=Comments(db, cache, options, clock),
            options=options,
            currencies=Currencies(db),
            clock=clock,
        )
    finally:
        passwords.close()
        await cache.close()
        await db.close()
