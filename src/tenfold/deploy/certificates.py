"""When the certificates of [monitor] end, asked before a deploy. Edge."""

from __future__ import annotations

import asyncio
import ssl

from cryptography import x509

from tenfold.errors import HostError
from tenfold.hosts.port import Host
from tenfold.topology.monitoring import server_of

ASK_S = 10.0
DAY_S = 86_400.0


async def days_left(host: Host, root: str, name: str, now_s: float) -> tuple[float | None, str]:
    """(days until it ends, "") of a file on `host` (relative ones below `root`) or a server; (None, why not)."""
    server = server_of(name)
    try:
        if server is not None:
            ends = await asyncio.wait_for(_shown(*server), ASK_S)
        else:
            content = await host.read(name if name.startswith("/") else f"{root}/{name}")
            if content is None:
                return None, "is not there"
            ends = [one.not_valid_after_utc.timestamp() for one in x509.load_pem_x509_certificates(content)]
        return (min(ends) - now_s) / DAY_S, ""
    except TimeoutError:
        return None, f"no answer within {ASK_S:g} s"
    except ssl.SSLError as error:
        return None, f"no TLS: {error.reason or error}"
    except HostError as error:
        return None, str(error)
    except ConnectionRefusedError:
        return None, "refuses connections"
    except OSError as error:
        return None, (error.strerror or str(error)).lower()
    except ValueError:
        return None, "holds no certificate (PEM)"


async def _shown(host: str, port: int) -> list[float]:
    # Only its date is read and nothing is sent: one that nobody vouches for has a date as well.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    try:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.transport.abort()
    return [x509.load_der_x509_certificate(shown).not_valid_after_utc.timestamp()]
