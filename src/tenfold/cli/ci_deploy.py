"""The jobs deploy and health: a release goes out, must answer, and goes back if it does not. Edge."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from tenfold.cli.ci_job import Job
from tenfold.errors import ConfigError, GateError, PlatformError

if TYPE_CHECKING:
    from tenfold.topology.model import Topology

DEPLOY_S, ROLLBACK_S = 3000.0, 1800.0
# After a reload nginx may need a moment; what is not well after so many looks is not well.
LOOKS, APART_S, ANSWER_S, IN_A_ROW = 12, 2.5, 10.0, 3
KEY, KNOWN_HOSTS = "TENFOLD_SSH_KEY", "TENFOLD_KNOWN_HOSTS"


def deploy(job: Job) -> None:
    """Deploy the commit that is checked out; look whether it is well; go back to the release before if not."""
    environment = job.run.environment
    if not environment:
        raise click.UsageError("deploy needs --env NAME")
    topology = job.run.topology()
    address = asked(job, topology)  # refused now, not once the release is out
    with ssh_files(job, topology):
        commit = os.environ.get("GITHUB_SHA") or "HEAD"
        arguments = ["deploy", commit, "--yes"]
        code = _tenfold(job, [*arguments, "--dry-run"] if job.options["dry_run"] else arguments, DEPLOY_S)
        if code:
            job.findings.append(f"deploy to {environment} ended with {code}; what runs is the release before")
            return
        if job.options["dry_run"]:
            job.told.append(f"the plan of a deploy to {environment}; nothing was changed")
            return
        job.told.append(f"{environment} runs {commit[:12]}")
        try:
            watch(job, address)
        except GateError as error:
            job.findings.append(f"{environment} is not well after the deploy: {error}")
            code = _tenfold(job, ["rollback", "--yes"], ROLLBACK_S)
            job.findings.append("it was rolled back" if code == 0 else f"the roll-back ended with {code}: look at once")


def health(job: Job) -> None:
    """Ask the platform through its balancer."""
    job.attempt("health", lambda: watch(job, asked(job, job.run.topology())))


def asked(job: Job, topology: Topology) -> str:
    """The address that must answer 200: of TENFOLD_HEALTH_URL, else by the file. Raises ConfigError."""
    address = str(job.options.get("url") or health_address(topology))
    if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).hostname:
        raise ConfigError(f"{address} is no address of HTTP", hint="set TENFOLD_HEALTH_URL to one")
    return address


def watch(job: Job, address: str) -> None:
    """Ask until it has answered 200 some times in a row. Raises GateError with what it answered last."""
    job.run.say(f"asking {address}")
    row, last = 0, "nothing"
    for look in range(LOOKS):
        if look:
            time.sleep(APART_S if row == 0 else 0.2)
        last = _answer(address)
        row = row + 1 if last == "200" else 0
        if row == IN_A_ROW:
            job.told.append(f"{address} answers 200")
            return
    raise GateError(f"{address} answers {last}", hint="tenfold status, tenfold logs")


def health_address(topology: Topology) -> str:
    """Where the balancer answers for this environment: by its domain, else by its host, else on this machine."""
    listen, health_path = topology.balancer.listen, topology.app.health
    port = listen.rpartition(":")[2]
    balancers = [host.address for host in topology.hosts.values() if "balancer" in host.roles]
    if topology.platform.domains and not listen.startswith("127."):
        name = topology.platform.domains[0]
    else:
        name = balancers[0] if balancers else (listen.rpartition(":")[0] or "127.0.0.1")
    name = "127.0.0.1" if name in ("0.0.0.0", "[::]", "*") else name  # noqa: S104  compared, not bound
    return f"http://{name}{'' if port == '80' else ':' + port}{health_path}"


def _answer(address: str) -> str:
    request = urllib.request.Request(address, headers={"User-Agent": "tenfold-ci"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:  # noqa: S310
            there = urlsplit(answer.url).path
            # From HTTP to HTTPS it is still the same page; a page to log in is another.
            same = (there or "/") == (urlsplit(address).path or "/")
            return str(answer.status) if same else f"a redirect to {there}"
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        return str(error.code)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"nothing ({error})"


def _tenfold(job: Job, arguments: list[str], timeout_s: float) -> int:
    """Run another command of Tenfold for the same platform; its output goes through."""
    command = [sys.executable, "-m", "tenfold.cli.main", *arguments, "--file", str(job.run.file), "--env",
               str(job.run.environment)]  # fmt: skip
    job.run.say(f"$ tenfold {' '.join(command[3:])}")
    sys.stdout.flush()
    # The key is in its file by now; the program does not need it a second time.
    environment = {name: value for name, value in os.environ.items() if name not in (KEY, KNOWN_HOSTS)}
    aside = sys.stderr if job.run.json or job.run.quiet else None
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=aside) as process:
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.terminate()  # a deploy takes itself back then; killed, it would leave that to others
            process.wait()
    raise PlatformError(
        f"tenfold {arguments[0]} took more than {timeout_s:.0f} s and was stopped", hint="tenfold status"
    )


@contextmanager
def ssh_files(job: Job, topology: Topology) -> Iterator[None]:
    """Put the key and the host keys of the environment's secrets where `tenfold deploy` looks; take them away after.

    Nothing is written over: on a machine that has a key of its own, that one is used.
    """
    home = Path.home() / ".ssh"
    places = {
        KEY: (_place(topology, topology.deploy.ssh_key) or home / "id_ed25519", 0o600),
        KNOWN_HOSTS: (_place(topology, topology.deploy.known_hosts) or home / "known_hosts", 0o644),
    }
    written: list[Path] = []
    try:
        for name, (path, mode) in places.items():
            content = os.environ.get(name, "")
            if not content.strip():
                if topology.hosts and os.environ.get("GITHUB_ACTIONS") == "true" and not path.exists():
                    raise ConfigError(
                        f"the secret {name} is not set for the environment {topology.environment}",
                        hint="Settings, Environments: add it there; ssh-keyscan of a trusted network gives host keys",
                    )
                continue
            if path.exists():
                job.run.warn(f"{path} is there already and is used; {name} is not")
                continue
            _put(path, content.replace("\r\n", "\n").rstrip("\n") + "\n", mode)
            written.append(path)
            job.run.say(f"wrote {path} from {name}, until the deploy has ended")
        yield
    finally:
        for path in written:
            path.unlink(missing_ok=True)


def _place(topology: Topology, path: str | None) -> Path | None:
    return Path(topology.root) / Path(path).expanduser() if path else None


def _put(path: Path, content: str, mode: int) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
            file.write(content)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}", hint=f"ls -ld {path.parent}") from None
