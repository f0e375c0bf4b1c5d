"""Make .venv from the lock file and, for tests, install the servers they start. Edge.

Run by `make`; needs only a Python 3.11 or newer. `setup.py run|dev [--servers]`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
# What a test starts, by program, and the Debian package that brings it.
SERVERS = {
    "mariadbd": "mariadb-server",
    "mariadb-backup": "mariadb-backup",
    "redis-server": "redis-server",
    "chromium": "chromium",
    "chromedriver": "chromium-driver",
    "nginx": "nginx",
    "sshd": "openssh-server",
    "age": "age",
    # For the PHP sample of the pipeline: about 22 MB and 20 s.
    "php": "php-cli",
    "phpunit": "phpunit",
}
# Likewise, what is no program: where its file lies, and the package.
MODULES = {
    "mariadb-plugin-spider": ("/usr/lib/mysql/plugin/ha_spider.so", "/usr/lib/*/mysql/plugin/ha_spider.so"),
    "php-pcov": ("/usr/lib/php/*/pcov.so",),
}
SEARCH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin"


def main(argv: list[str]) -> int:
    if sys.version_info < (3, 11):  # noqa: UP036  # this file is what an older Python meets first
        return fail(f"Python {sys.version.split()[0]} is too old", "install Python 3.11 or newer")
    if not argv or argv[0] not in ("run", "dev"):
        return fail("which packages?", "python3 tools/setup.py run|dev [--servers]")
    code = make_venv(argv[0])
    if code == 0 and "--servers" in argv:
        code = install_servers()
    return code


def make_venv(kind: str) -> int:
    """Bring .venv to what requirements/<kind>.lock says; nothing to do costs 20 ms."""
    stamp = VENV / ".locked"
    inputs = [ROOT / "requirements/run.lock", ROOT / "requirements/dev.lock", ROOT / "pyproject.toml"]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()
    done = stamp.read_text() if stamp.exists() else ""
    if done in (f"dev {digest}", f"{kind} {digest}"):  # dev holds all of run
        return 0
    uv = shutil.which("uv")
    python = VENV / "bin" / "python"
    print(f"setting up .venv from requirements/{kind}.lock with {'uv' if uv else 'venv and pip'} …", flush=True)
    if not python.exists() and create(uv):
        return 1
    pip = [uv, "pip", "install", "--python", str(python)] if uv else [str(python), "-m", "pip", "install"]
    quiet = ["--quiet"] if uv else ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]
    packages = ["--require-hashes", "-r", f"requirements/{kind}.lock"]
    ourselves = ["--no-deps", "--no-build-isolation", "-e", "."]
    for what in (packages, ourselves):
        if subprocess.run([*pip, *quiet, *what], cwd=ROOT).returncode:
            return fail("the packages could not be installed", "see the lines above; then run this again")
    stamp.write_text(f"{kind} {digest}")
    return 0


def create(uv: str | None) -> int:
    if uv:
        return subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(VENV)]).returncode
    try:
        import ensurepip  # noqa: F401  # Debian splits it off into python3-venv
    except ImportError:
        name = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        if not apt_allowed() or apt(["install", "-y", "--no-install-recommends", name]):
            return fail("this Python cannot make virtual environments", f"sudo apt-get install {name}")
    return subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)]).returncode


def install_servers() -> int:
    """Install what tests start, where apt may; else say in one line what is missing."""
    missing = [package for program, package in SERVERS.items() if not shutil.which(program, path=SEARCH)]
    for package, patterns in MODULES.items():
        if not any(list(Path("/").glob(pattern.lstrip("/"))) for pattern in patterns):
            missing.append(package)
    if not missing:
        return 0
    by_hand = f"sudo apt-get install {' '.join(missing)}"
    if not apt_allowed():
        print(f"tests that need {', '.join(missing)} cannot run here; to run them: {by_hand}", flush=True)
        return 0
    print(f"installing {', '.join(missing)} …", flush=True)
    if apt(["update", "-qq"]) or without_services(lambda: apt(["install", "-y", "-qq", *missing])):
        return fail("apt could not install the servers that tests start", by_hand)
    return 0


def sudo() -> list[str]:
    return [] if os.geteuid() == 0 else ["sudo", "-n"]


def apt_allowed() -> bool:
    if not shutil.which("apt-get"):
        return False
    if os.geteuid() == 0:
        return True
    return bool(shutil.which("sudo")) and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0


def apt(arguments: list[str]) -> int:
    command = [*sudo(), "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.stderr.write(done.stdout[-2000:] + done.stderr[-2000:])
    return done.returncode


def without_services(action: Callable[[], int]) -> int:
    """Run `action` while Debian's policy hook forbids packages to start their services."""
    policy = "/usr/sbin/policy-rc.d"
    if Path(policy).exists():
        return action()
    subprocess.run(
        [*sudo(), "sh", "-c", f"printf '#!/bin/sh\\nexit 101\\n' > {policy} && chmod 755 {policy}"], check=True
    )
    try:
        return action()
    finally:
        subprocess.run([*sudo(), "rm", "-f", policy], check=True)


def fail(what: str, remedy: str) -> int:
    print(f"{what}\nTry: {remedy}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
