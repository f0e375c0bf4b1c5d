"""Asks which packages have known holes: the OSV service, or a file of its records. Edge."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from tenfold.cli import ci_place
from tenfold.cli.ci_project import wanted
from tenfold.cli.ci_tools import Workshop
from tenfold.errors import ConfigError, NodeDown, PlatformError
from tenfold.pipeline.advisories import Advisory, advisory, matching
from tenfold.pipeline.packages import Package, normal
from tenfold.pipeline.repository import Repository

OSV = "https://api.osv.dev"
AT_ONCE, MOST_PAGES, ANSWER_S, TRIES = 500, 50, 30.0, 3
LARGEST_ANSWER, LARGEST_FILE = 64 * 1024 * 1024, 256 * 1024 * 1024
RESOLVE_S = 600
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Service:
    """A service that speaks OSV's HTTP API. Silence is an error, never "no holes"."""

    def __init__(self, address: str | None) -> None:
        self.address = (address or OSV).rstrip("/")
        parts = urlsplit(self.address)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
            raise ConfigError(
                f"--advisories {self.address}: plain addresses are for loopback only", hint="write https://"
            )

    def ask(self, packages: Sequence[Package]) -> list[Advisory]:
        """The advisories that hit the packages. Raises NodeDown where one question stays without an answer."""
        hits: list[tuple[Package, str]] = []
        for start in range(0, len(packages), AT_ONCE):
            hits += self._batch(list(packages[start : start + AT_ONCE]))
        records = {found: self._get(f"/v1/vulns/{quote(found, safe='')}") for found in sorted({id for _, id in hits})}
        # A withdrawn advisory is one that turned out to be none.
        return [advisory(records[id], package) for package, id in hits if not records[id].get("withdrawn")]

    def _batch(self, packages: list[Package]) -> list[tuple[Package, str]]:
        hits: list[tuple[Package, str]] = []
        asked = [(package, "") for package in packages]
        for _ in range(MOST_PAGES):
            queries = [
                {"package": {"name": package.name, "ecosystem": package.ecosystem}, "version": package.version}
                | ({"page_token": token} if token else {})
                for package, token in asked
            ]
            results = self._get("/v1/querybatch", {"queries": queries}).get("results")
            if not isinstance(results, list) or len(results) != len(queries):
                raise NodeDown(f"{self.address} gave {self._count(results)} answers to {len(queries)} questions")
            again = []
            for (package, _token), result in zip(asked, results, strict=True):
                hits += [(package, str(vuln["id"])) for vuln in result.get("vulns", ())]
                if result.get("next_page_token"):
                    again.append((package, str(result["next_page_token"])))
            if not again:
                return hits
            asked = again
        raise NodeDown(f"{self.address} goes on with pages for ever")

    @staticmethod
    def _count(results: object) -> str:
        return str(len(results)) if isinstance(results, list) else "no"

    def _get(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310  https, or loopback: see __init__
            self.address + path, data, {"Content-Type": "application/json", "User-Agent": "tenfold"}
        )
        for attempt in range(1, TRIES + 1):
            try:
                with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:  # noqa: S310
                    found = json.loads(answer.read(LARGEST_ANSWER))
                    if isinstance(found, dict):
                        return found
                    raise ValueError("not an object")
            except (OSError, ValueError, http.client.HTTPException) as error:
                if isinstance(error, urllib.error.HTTPError):
                    error.close()  # it holds the connection
                permanent = isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code != 429
                if permanent or attempt == TRIES:
                    raise NodeDown(
                        f"the packages could not be looked up: {self.address}: {error}",
                        hint="try again; or --offline-advisories FILE with OSV records that you have",
                    ) from None
                time.sleep(attempt)
        raise AssertionError("the loop returns or raises")


def offline(file: Path, packages: Sequence[Package]) -> list[Advisory]:
    """The advisories of a file of OSV records, a JSON list or one record a line, that hit the packages."""
    text = ci_place.text_of(file, LARGEST_FILE)
    if text is None:
        raise ConfigError(f"{file} cannot be read as text", hint=f"ls -l {file}")
    try:
        records = json.loads(text) if text.lstrip().startswith("[") else [json.loads(x) for x in text.splitlines() if x]
        if not records or not all(isinstance(record, dict) and record.get("id") for record in records):
            raise ValueError("it holds no record with an id")
        return list(matching(records, packages))
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise ConfigError(f"{file} holds no OSV records: {error}", hint="a JSON list of records, see osv.dev") from None


def resolved(workshop: Workshop, repository: Repository, files: Iterable[str]) -> Iterator[Package]:
    """What pip would install today for what the project asks for, with all that this asks for in turn.

    files: where something is asked for without a release. Raises PlatformError where pip cannot tell.
    """
    asked = list(wanted(repository))
    # A requirements file that the tests do without need not agree with the others.
    apart = [["-r", name] for name in files if name.endswith((".txt", ".lock")) and name not in asked]
    for some in [*([asked] if asked else []), *apart]:
        yield from _resolved(workshop, some)
    if not asked and not apart:
        raise PlatformError(
            "what is not pinned could not be resolved: there is nothing that pip could install",
            hint="name it in a requirements.txt, or commit a lock file",
        )


def _resolved(workshop: Workshop, asked: Sequence[str]) -> Iterator[Package]:
    place = workshop.own / "python"
    workshop.make_environment(place)
    python = str(place / "bin" / "python")
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--dry-run", "--ignore-installed",
               "--no-input", "--disable-pip-version-check", "--report", "-", *asked]  # fmt: skip
    workshop.run.say(f"$ {' '.join(command)}")
    try:
        done = subprocess.run(
            command, cwd=workshop.base, capture_output=True, text=True, timeout=RESOLVE_S, stdin=subprocess.DEVNULL
        )
        found = json.loads(done.stdout)["install"] if done.returncode == 0 else None
        why = "\n".join(done.stderr.strip().splitlines()[-5:])
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError) as error:
        found, why = None, str(error)
    if found is None:
        raise PlatformError(
            f"what is not pinned could not be resolved, so it cannot be looked up: {why}",
            hint="pin it: commit a lock file, or run it where pip reaches its index",
        )
    for entry in found:
        if "download_info" in entry and not entry["download_info"].get("dir_info"):
            yield Package("PyPI", normal(entry["metadata"]["name"]), entry["metadata"]["version"])
