"""The background task of each backend that finishes interrupted transfers. Edge."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import NoReturn

from tenfold.demo.ledger.store.ledger import Ledger
from tenfold.errors import TenfoldError

_log = logging.getLogger("uvicorn.error")


async def sweep_for_ever(ledger: Ledger) -> NoReturn:
    """Sweep at once, then every sweep_every_s (a tenth more or less, so that backends do not march in step)."""
    settings = ledger.settings
    while True:
        try:
            arrived = await ledger.transfers.sweep(ledger.clock() - int(settings.sweep_after_s * 1000))
            if arrived:
                _log.warning("transfers: %d that had been interrupted have arrived", arrived)
        except TenfoldError as error:
            _log.warning("transfers: not swept this time: %s", error)
        await asyncio.sleep(settings.sweep_every_s * random.uniform(0.9, 1.1))  # noqa: S311  # not a secret
