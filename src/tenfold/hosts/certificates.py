"""When a certificate ends: one in a file on some host, or one that a server shows. Edge."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress

from cryptography import x509

TIMEOUT_S = 10.0


async def end_of(
    server: tuple[str, int] | None, read: Callable[[], Awaitable[bytes | None]]
) -> tuple[float | None, str]:
    """(when it ends, in seconds since 1970, ""); (None, why that is not known).

    server  host and port of what shows it; None: it is in a file
    read    gives the file's content (PEM); None: it is not there
    """
    try:
        if server is not None:
            return await asyncio.wait_for(_shown(*server), TIMEOUT_S), ""
        pem = await read()
        if pem is None:
            return None, "is not there"
        # Of a chain, the one that ends first: without it the others are worth nothing.
        return min(one.not_valid_after_utc.timestamp() for one in x509.load_pem_x509_certificates(pem)), ""
    except TimeoutError:
        return None, f"no answer within {TIMEOUT_S:g} s"
    except ssl.SSLError as error:
        return None, f"no TLS: {error.reason or error}"
    except ConnectionRefusedError:
        return None, "refuses connections"
    except OSError as error:
        return None, (error.strerror or str(error) or type(error).__name__).lower()
    except ValueError:
        return None, "holds no certificate (PEM)"


async def _shown(host: str, port: int) -> float:
    """When the certificate ends that a server shows. Raises OSError, ValueError."""
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
