"""What a given nginx can do, read from the text of `nginx -V`. Pure."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

Version = tuple[int, int, int]

# Older ones lack $limit_req_status (1.17.6), by which our own 429 is told from the app's.
OLDEST: Version = (1, 18, 0)
# The first that has cookie stickiness of its own; a newer one on PATH is preferred to the packaged one.
PREFERRED: Version = (1, 29, 6)


@dataclass(frozen=True, slots=True)
class Features:
    """An nginx's version and modules.

    modules  compiled in, as configure names them without `--with-`: "http_realip_module"; for
             `--add-module` the last part of its directory: "njs-0.9.9". Dynamic modules are not among
             them: they are there only where a `load_module` says so, and we write none.
    without  standard modules left out, as configure names them without `--without-`.
    """

    version: Version
    openssl: Version | None
    modules: frozenset[str]
    without: frozenset[str]

    @property
    def sticky(self) -> bool:
        """`sticky cookie` in an upstream."""
        return self.version >= PREFERRED and "http_upstream_sticky_module" not in self.without

    @property
    def drain(self) -> bool:
        """`server … drain`: no new sessions, the old ones end in peace."""
        return self.sticky

    @property
    def http2_directive(self) -> bool:
        """`http2 on;` instead of `listen … http2`."""
        return self.version >= (1, 25, 1) and "http_v2_module" in self.modules

    @property
    def keepalive_min_timeout(self) -> bool:
        """A reload lets idle clients go only after a while, so that none sees a reset."""
        return self.version >= (1, 27, 4)

    @property
    def keepalive_by_default(self) -> bool:
        """Connections to backends stay open unless `keepalive 0` says otherwise."""
        return self.version >= (1, 29, 7)

    @property
    def early_error_log(self) -> bool:
        """`-e FILE`: where errors go before the configuration is read."""
        return self.version >= (1, 19, 5)

    @property
    def realip(self) -> bool:
        """Takes the client's address from a trusted proxy's X-Forwarded-For."""
        return "http_realip_module" in self.modules

    @property
    def stub_status(self) -> bool:
        """Counts of connections and requests on a page."""
        return "http_stub_status_module" in self.modules

    @property
    def tls(self) -> bool:
        """Speaks HTTPS."""
        return "http_ssl_module" in self.modules

    def has(self, standard_module: str) -> bool:
        """Tell whether a module that is there by default was not left out: has("http_fastcgi_module")."""
        return standard_module not in self.without


def parse(text: str) -> Features:
    """Read the output of `nginx -V`, which nginx prints to standard error.

    Raises ValueError for a text that is not nginx's.
    """
    found = re.search(r"^nginx version: \S+?/([0-9]+)\.([0-9]+)\.([0-9]+)", text, re.MULTILINE)
    if not found:
        raise ValueError("this is not the output of `nginx -V`")
    # "running with" is the library in use; it may be newer than the one nginx was built with.
    ssl = re.search(r"running with OpenSSL ([0-9]+)\.([0-9]+)\.([0-9]+)", text) or re.search(
        r"built with OpenSSL ([0-9]+)\.([0-9]+)\.([0-9]+)", text
    )
    line = re.search(r"^configure arguments:(.*)$", text, re.MULTILINE)
    modules, without = _modules(line[1] if line else "")
    return Features(_version(found), _version(ssl) if ssl else None, modules, without)


def _modules(arguments: str) -> tuple[frozenset[str], frozenset[str]]:
    try:
        words = shlex.split(arguments)
    except ValueError:  # a build whose quotes do not pair; the names of modules have none
        words = arguments.split()
    modules, without = set(), set()
    for word in words:
        name, _, value = word.partition("=")
        if name == "--add-module":
            modules.add(value.rstrip("/").rpartition("/")[2] if not value.endswith("/nginx") else value.split("/")[-2])
        elif name.startswith("--without-"):
            without.add(name.removeprefix("--without-"))
        elif name.startswith("--with-") and value != "dynamic":
            modules.add(name.removeprefix("--with-"))
    return frozenset(modules), frozenset(without)


def _version(found: re.Match[str]) -> Version:
    return int(found[1]), int(found[2]), int(found[3])
