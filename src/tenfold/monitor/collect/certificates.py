"""When certificates end: those in files, and those that servers show. Edge."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tenfold.monitor.collect.machine import Certificate
from tenfold.topology.monitoring import server_of

TIMEOUT_S = 10.0
LARGEST_BYTES = 1 << 20


class Certificates:
    """Looks at certificates.

    names  files (PEM), relative ones below `root`, or "host:port"
    """

    def __init__(self, names: Sequence[str], root: Path) -> None:
        self._names, self._root = tuple(names), root

    async def collect(self, now_s: float) -> Mapping[str, Certificate]:
        """Each by its name; one that cannot be read holds up no other."""
        every = await asyncio.gather(*(self._one(name) for name in self._names))
        return dict(zip(self._names, every, strict=True))

    async def _one(self, name: str) -> Certificate:
        server = server_of(name)
        try:
            if server is None:
                return Certificate(_first_end(_read(self._root / name)))
            return Certificate(await asyncio.wait_for(_shown(*server), TIMEOUT_S))
        except TimeoutError:
            return Certificate(None, f"no answer within {TIMEOUT_S:g} s")
        except ssl.SSLError as error:
            return Certificate(None, f"no TLS: {error.reason or error}")
        except ConnectionRefusedError:
            return Certificate(None, "refuses connections")
        except OSError as error:
            return Certificate(None, (error.strerror or str(error) or type(error).__name__).lower())
        except ValueError:
            return Certificate(None, "holds no certificate (PEM)")


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(LARGEST_BYTES)


def _first_end(pem: bytes) -> float:
    """Of a chain, the one that ends first: without it the others are worth nothing. Raises ValueError."""
    from cryptography import x509

    return min(one.not_valid_after_utc.timestamp() for one in x509.load_pem_x509_certificates(pem))


async def _shown(host: str, port: int) -> float:
    """When the certificate ends that a server shows. Raises OSError, ValueError."""
    from cryptography import x509

    # Only its date is read, and nothing is sent: one that has ended, or that nobody vouches for, has a date as well.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    try:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()
    if not shown:
        raise ValueError("no certificate")
    return x509.load_der_x509_certificate(shown).not_valid_after_utc.timestamp()
