"""Where a platform keeps what it writes: var/ beside its file, and the lock that admits one `up`. Edge."""

from __future__ import annotations

import fcntl
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tenfold.balancer.render import ACCESS_LOG, ERROR_LOG, PID_FILE
from tenfold.errors import PlatformError


@dataclass(frozen=True, slots=True)
class Place:
    """The directories and files below var/."""

    root: Path

    @classmethod
    def of(cls, file: Path) -> Place:
        """The place of the platform that `file` describes."""
        return cls(Path(os.path.abspath(file)).parent)  # noqa: PTH100  links stay: the file's directory as it was named

    @property
    def var(self) -> Path:
        return self.root / "var"

    @property
    def log(self) -> Path:
        return self.var / "log"

    @property
    def run(self) -> Path:
        return self.var / "run"

    @property
    def nginx(self) -> Path:
        return self.var / "nginx"

    @property
    def lock(self) -> Path:
        return self.run / "up.lock"

    @property
    def up_socket(self) -> Path:
        """Where the supervisor is asked for restarts."""
        return self.run / "up.sock"

    @property
    def state(self) -> Path:
        return self.run / "state.json"

    @property
    def agent(self) -> Path:
        """What the agent keeps over restarts."""
        return self.var / "agent"

    @property
    def agent_socket(self) -> Path:
        return self.run / "agent.sock"

    @property
    def agent_state(self) -> Path:
        """Where the agent's page is, and a link to it."""
        return self.run / "agent.json"

    @property
    def balancer_record(self) -> Path:
        """What is wanted of each backend; there only while some are not ready."""
        return self.agent / "balancer.json"

    def logs(self) -> dict[str, Path]:
        """Every log there is, by name, without the older ones that rotation keeps."""
        found = sorted([*self.log.glob("*.log"), *self.log.glob("*.tsv")])
        return {path.stem: path for path in found}

    def nginx_logs(self) -> list[Path]:
        """The logs that nginx writes itself, there or not yet."""
        return [self.var / ACCESS_LOG, self.var / ERROR_LOG]

    def forget(self) -> None:
        """Remove what says that something runs: the records, and what a killed nginx or agent leaves."""
        for path in (self.state, self.up_socket, self.agent_state, self.agent_socket, self.var / PID_FILE):
            path.unlink(missing_ok=True)

    def make(self) -> None:
        """Create what is missing, closed to others: shards and logs hold personal data.

        Raises PlatformError when a directory cannot be made or written.
        """
        # Started as root, nginx's workers are another account: they pass through, and cannot list.
        passed = 0o711 if os.geteuid() == 0 else 0o750
        closed = ((self.log, 0o750), (self.run, 0o750), (self.agent, 0o700))
        for directory, mode in ((self.var, passed), *closed, (self.nginx, passed)):
            try:
                if not directory.is_dir():
                    directory.mkdir()
                    directory.chmod(mode)
                with tempfile.TemporaryFile(dir=directory):
                    pass
            except OSError as error:
                raise PlatformError(
                    f"{directory} cannot be written: {error.strerror} (running as user {os.geteuid()})",
                    hint=_remedy(directory),
                ) from None


def _remedy(directory: Path) -> str:
    nearest = next(path for path in (directory, *directory.parents) if path.exists())
    if not nearest.is_dir():
        return f"move {nearest} out of the way: a directory is needed there"
    owner = nearest.stat().st_uid
    if owner != os.geteuid():
        return f"chown -R {os.geteuid()} {nearest}, or run it as user {owner}, who owns {nearest}"
    return f"chmod u+rwx {nearest}; see that its disk is neither full nor read-only"


class Lock:
    """A file that one process at a time holds; the kernel lets go of it when that process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def take(self) -> bool:
        """Take it; False when another process holds it. Raises OSError."""
        while True:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return False
            # Who held it before removes the file while it still holds it: what we locked may have no name any more.
            if self.path.exists() and self.path.stat().st_ino == os.fstat(fd).st_ino:
                self._fd = fd
                return True
            os.close(fd)

    def release(self) -> None:
        """Remove the file and let go."""
        if self._fd is not None:
            self.path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = None

    def is_held(self) -> bool:
        """Tell whether some process holds it. Raises OSError when the file cannot be read."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False
