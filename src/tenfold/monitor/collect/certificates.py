"""When the certificates of [monitor] end. Edge."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from tenfold.monitor.collect.machine import Certificate
from tenfold.topology.monitoring import server_of

LARGEST_BYTES = 1 << 20
ROUND_S = 20.0
"""What one round may take: each certificate is waited for only half as long."""


class Certificates:
    """Looks at certificates.

    names  files (PEM), relative ones below `root`, or "host:port"
    """

    def __init__(self, names: Sequence[str], root: Path) -> None:
        self._names, self._root = tuple(names), root

    async def collect(self, now_s: float) -> Mapping[str, Certificate]:
        """Each by its name; one that cannot be read holds up no other."""
        # Here, not above: what reads certificates is large, and most platforms name none.
        from tenfold.hosts.certificates import end_of

        every = await asyncio.gather(*(end_of(server_of(name), partial(self._read, name)) for name in self._names))
        return {name: Certificate(end, why) for name, (end, why) in zip(self._names, every, strict=True)}

    async def _read(self, name: str) -> bytes:
        with (self._root / name).open("rb") as opened:
            return opened.read(LARGEST_BYTES)
