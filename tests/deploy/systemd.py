"""A fleet that systemd keeps: one real manager of the account's own, with the units of `tenfold units`. Edge.

No system manager runs where tests run; this one is what `systemctl --user` talks to. Units of all hosts have names of
their own, so one manager holds those of all.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

from tests.deploy.fleet import ENVIRONMENT, Fleet
from tests.hosts.sshd import Keyring, Sshd
from tests.mariadb import die_with_the_tests
from tests.support import program, wait_for

BOOTED = Path("/run/systemd/system")
"""What systemctl takes as the sign that systemd runs."""
MANAGER, JOURNALD = Path("/lib/systemd/systemd"), Path("/lib/systemd/systemd-journald")
JOURNAL = (Path("/run/systemd/journal"), Path("/run/log/journal"))
"""Where journald listens, and what it writes before /var is there."""
# The platforms lie below /tmp or /dev/shm, their shards beside them; and a container may not mount over /proc.
DROP_IN = """[Service]
PrivateTmp=no
PrivateDevices=no
ProtectKernelLogs=no
ProtectKernelTunables=no
ReadWritePaths={root}
"""


class Manager:
    """systemd --user, with a runtime directory and units of its own."""

    def __init__(self, root: Path) -> None:
        """root: where its units and its log lie."""
        self.runtime = Path(tempfile.mkdtemp(prefix="sd"))  # short: sockets lie in it
        self.runtime.chmod(0o700)
        self.units = root / "units"
        self.units.mkdir()
        prefix = self.units / "tenfold-.service.d"
        prefix.mkdir()
        (prefix / "tests.conf").write_text(DROP_IN.format(root=root))
        self.environment = ENVIRONMENT | {
            "XDG_RUNTIME_DIR": str(self.runtime), "SYSTEMD_UNIT_PATH": f"{self.units}:/usr/lib/systemd/user",
            "SYSTEMD_LOG_TARGET": "console", "HOME": str(root),
        }  # fmt: skip
        self.log = root / "manager.out"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(MANAGER), "--user", "--unit=basic.target"], env=self.environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, preexec_fn=die_with_the_tests, cwd=root,
            )  # fmt: skip
        wait_for(lambda: self.say("is-system-running").stdout.strip() == "running", "the manager runs", 30)

    def say(self, *words: str) -> subprocess.CompletedProcess[str]:
        """systemctl --user."""
        return subprocess.run(
            [program("systemctl"), "--user", *words], env=self.environment, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip

    def take(self, directory: Path) -> list[str]:
        """Take over the services that were written there, and start them; → their names."""
        found = [path for path in sorted(directory.glob("*.service"))]
        for path in found:
            shutil.copy(path, self.units)
        assert self.say("daemon-reload").returncode == 0
        names = [path.name for path in found]
        done = self.say("start", *names)
        assert done.returncode == 0, done.stderr + self.log.read_text()
        return names

    def stop(self) -> None:
        """End it and what it has started."""
        children = psutil.Process(self._process.pid).children(recursive=True)
        self.say("stop", "tenfold-*")
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        shutil.rmtree(self.runtime, ignore_errors=True)


class Kept(Fleet):
    """A fleet whose programs are units."""

    manager: Manager

    def start(self) -> None:
        """Write the units of each host as its operator would, and start them."""
        for number, _ in enumerate(self.machines, 1):
            out = self.root / f"units_{number}"
            done = self.tenfold("units", "--host", f"web_{number}", "--out", str(out), "--python", sys.executable)
            assert done.returncode == 0, done.stderr
            self.manager.take(out)
        wait_for(self._serves, "every backend answers", 60)

    def _serves(self) -> bool:
        try:
            return self.running() == ["none"] * len(self.machines) and set(self.wanted()) == {"ready"}
        except (OSError, subprocess.CalledProcessError):
            return False

    def unit(self, position: int, *properties: str) -> str:
        """What systemd says of a backend."""
        words = ["show", "--value", *(f"--property={name}" for name in properties)]
        return self.manager.say(*words, f"tenfold-shop-backend_{position}.service").stdout.strip()


@contextmanager
def journal() -> Iterator[None]:
    """The machine's journal, in memory, where none runs; gone afterwards."""
    if any(path.exists() for path in JOURNAL):
        yield
        return
    process = subprocess.Popen(
        [str(JOURNALD)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=die_with_the_tests,
    )  # fmt: skip
    try:
        wait_for((JOURNAL[0] / "stdout").exists, "journald listens", 30)
        yield
    finally:
        process.terminate()
        process.wait(30)
        for path in JOURNAL:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def kept(root: Path, count: int) -> Iterator[Kept]:
    """A fleet of `count` hosts that systemd keeps; it has no release yet."""
    with ExitStack() as stack:
        if not BOOTED.exists():
            BOOTED.mkdir(parents=True)
            stack.callback(BOOTED.rmdir)
        sandbox = BOOTED.with_name("unit-root")
        if not sandbox.exists():
            stack.callback(shutil.rmtree, sandbox, ignore_errors=True)
        stack.enter_context(journal())
        manager = Manager(root)
        stack.callback(manager.stop)
        keyring, machines = Keyring(root / "deployer"), []
        for number in range(1, count + 1):
            home = root / f"host_{number}" / "home"
            variables = f"SetEnv HOME={home} XDG_RUNTIME_DIR={manager.runtime}"
            machine = Sshd(root / f"host_{number}", keyring.public, options=(variables,))
            stack.callback(machine.stop)
            machines.append(machine.start())
            keyring.trust(machine)
        made = Kept(root, keyring, machines, 'keeper = "systemd"')
        made.manager = manager
        stack.callback(made.stop)
        made.start()
        yield made
