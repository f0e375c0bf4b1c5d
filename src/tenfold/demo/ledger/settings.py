"""What the environment tells the ledger. Edge."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

SWEEP_S = 5.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How this process of the ledger runs.

    cache_url      of Redis, given by `tenfold up` when the platform has [cache]; "": none.
                   Not printed: it may hold a password.
    cache_prefix   of every key, so that two environments may share one Redis
    backend        the name of this backend, for /healthz and the foot of the pages
    sweep_after_s  age at which a transfer that has not arrived is finished by a sweeper
    sweep_every_s  how often this process looks for such transfers
    """

    cache_url: str = field(default="", repr=False)
    cache_prefix: str = "ledger:local:"
    backend: str = ""
    sweep_after_s: float = SWEEP_S
    sweep_every_s: float = SWEEP_S


def from_environment(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; what is absent keeps its default."""
    return Settings(
        cache_url=environ.get("TENFOLD_CACHE_URL", ""),
        cache_prefix=f"ledger:{environ.get('TENFOLD_ENV') or 'local'}:",
        backend=environ.get("TENFOLD_BACKEND", ""),
        sweep_after_s=float(environ.get("LEDGER_SWEEP_AFTER_S", SWEEP_S)),
        sweep_every_s=float(environ.get("LEDGER_SWEEP_EVERY_S", SWEEP_S)),
    )


def now_ms() -> int:
    """Milliseconds since 1970, UTC: the clock of everything that the ledger stores."""
    return time.time_ns() // 1_000_000
