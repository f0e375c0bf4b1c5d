"""Parts of a backup on disk: compressed, encrypted to a public key, streamed with bounded memory. Edge."""

from __future__ import annotations

import hashlib
import io
import os
import queue
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyrage

from tenfold.deploy.backup.frames import Damaged
from tenfold.deploy.backup.manifest import Part
from tenfold.errors import BackupError

LEVEL = 1
"""Of zlib. On the dump of the ledger level 3 takes twice as long for 1 % less, level 6 almost four times for 7 %."""
_GZIP = 31
_PIECE = 1 << 18
_AHEAD = 16
Identities = list[pyrage.x25519.Identity]
WRONG_KEY = "give the identity that belongs to the recipient: `tenfold backup list` names it"


class _Gone(Exception):
    """Whoever reads has stopped."""


class Pipe(io.RawIOBase):
    """Bytes from one thread to another, a few pieces at a time; an error of the writer is raised to the reader."""

    def __init__(self) -> None:
        self._pieces: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self._rest = memoryview(b"")
        self._left = threading.Event()
        self.error: BaseException | None = None
        self._ended = False

    def put(self, piece: bytes) -> None:
        """Wait for room. Raises _Gone once nobody reads."""
        self._put(piece)

    def _put(self, piece: bytes | None) -> None:
        while not self._left.is_set():
            try:
                self._pieces.put(piece, timeout=0.2)
                return
            except queue.Full:
                continue
        raise _Gone

    def end(self, error: BaseException | None = None) -> None:
        """No more will come."""
        self.error = error
        try:
            self._put(None)
        except _Gone:
            return

    def leave(self) -> None:
        """Read no further."""
        self._left.set()

    def readable(self) -> bool:
        """For BufferedReader."""
        return True

    def readinto(self, buffer: Any) -> int:
        """As many bytes as there are; 0 at the end."""
        while not self._rest and not self._ended:
            piece = self._pieces.get()
            if piece is None:
                self._ended = True
            else:
                self._rest = memoryview(piece)
        if not self._rest and self.error is not None:
            raise self.error
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


class _Target:
    """A file that counts and hashes what is written; keeps the error, of which pyrage keeps the words alone."""

    def __init__(self, file: io.RawIOBase | io.BufferedWriter) -> None:
        self._file, self.sha, self.size = file, hashlib.sha256(), 0
        self.error: OSError | None = None

    def write(self, piece: bytes) -> int:
        try:
            self._file.write(piece)
        except OSError as error:
            self.error = error
            raise
        self.sha.update(piece)
        self.size += len(piece)
        return len(piece)

    def flush(self) -> None:
        """The caller does."""


def seal(path: Path, recipient: str, produce: Callable[[Callable[[bytes], None]], None]) -> Part:
    """Write what `produce` writes, compressed and encrypted, to a new file; → once it is on the disk.

    Raises  what `produce` raises; BackupError for a full disk and the like. Then the file is not whole.
    """
    pipe = Pipe()
    writer = threading.Thread(target=_compress, args=(pipe, produce), name=f"tenfold-{path.name}", daemon=True)
    key = recipient_of(recipient)
    try:
        with path.open("xb") as file:
            path.chmod(0o600)
            target = _Target(file)
            writer.start()
            try:
                pyrage.encrypt_io(io.BufferedReader(pipe, _PIECE), target, [key])
            except pyrage.EncryptError as error:
                raise (target.error or pipe.error or error) from None
            finally:
                pipe.leave()
                writer.join()
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise no_room(path, error) from error
    return Part(target.size, target.sha.hexdigest())


def _compress(pipe: Pipe, produce: Callable[[Callable[[bytes], None]], None]) -> None:
    squeeze = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP)

    def write(piece: bytes) -> None:
        made = squeeze.compress(piece)
        if made:
            pipe.put(made)

    try:
        produce(write)
        pipe.put(squeeze.flush())
    except _Gone:
        return
    except BaseException as error:  # it is the reader's to raise
        pipe.end(error)
    else:
        pipe.end()


@contextmanager
def opened(path: Path, identity: Identities) -> Iterator[io.BufferedReader]:
    """What was sealed, to be read to its end. Raises BackupError, as late as the damage lies."""
    pipe = Pipe()
    reader = threading.Thread(target=_decrypt, args=(path, identity, pipe), name=f"tenfold-{path.name}", daemon=True)
    reader.start()
    try:
        yield io.BufferedReader(pipe, _PIECE)
    finally:
        pipe.leave()
        reader.join()


class _Inflated:
    """Takes what is decrypted and hands it on, decompressed, in pieces of bounded size."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe, self.inflate = pipe, zlib.decompressobj(_GZIP)

    def write(self, piece: bytes) -> int:
        rest = piece
        while rest and not self.inflate.eof:
            made = self.inflate.decompress(rest, _PIECE)
            rest = self.inflate.unconsumed_tail
            if made:
                self._pipe.put(made)
        if self.inflate.eof and (rest or self.inflate.unused_data):
            raise zlib.error("bytes after the end")
        return len(piece)

    def flush(self) -> None:
        """Nothing waits."""


def _decrypt(path: Path, identity: Identities, pipe: Pipe) -> None:
    inflated = _Inflated(pipe)
    try:
        with path.open("rb") as file:
            pyrage.decrypt_io(file, inflated, identity)
        if not inflated.inflate.eof:
            raise zlib.error("the end is missing")
    except _Gone:
        return
    except pyrage.DecryptError as error:
        if "matching keys" in str(error):
            pipe.end(BackupError(f"the key does not fit {path.name}", hint=WRONG_KEY))
        else:
            pipe.end(damaged(path))
    except (OSError, zlib.error):
        # age reports what was changed as an OSError too.
        pipe.end(damaged(path))
    except BaseException as error:  # it is the reader's to raise
        pipe.end(error)
    else:
        pipe.end()


def check(path: Path, part: Part) -> None:
    """Compare a file with what the manifest says of it, byte for byte. Raises Damaged."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            same = size == part.size and hashlib.file_digest(file, "sha256").hexdigest() == part.sha256
    except OSError as error:
        raise Damaged(f"{path} cannot be read: {error.strerror}", hint=_OTHER) from None
    if not same:
        said = f"it has {size:,} bytes, not {part.size:,}" if size != part.size else "its bytes have changed"
        raise Damaged(f"{path} is damaged: {said}", hint=_OTHER)


_OTHER = "restore from another backup: `tenfold backup list`"


def damaged(path: Path) -> Damaged:
    """The error for a part that cannot be read to its end."""
    return Damaged(f"{path} is damaged: it cannot be decrypted to its end", hint=_OTHER)


def no_room(path: Path, error: OSError) -> BackupError:
    """The error for a file that could not be written."""
    return BackupError(
        f"{path} cannot be written: {error.strerror or error}",
        hint="make room there, or name another directory in backup.directory; nothing was kept of this backup",
    )


def recipient_of(text: str) -> pyrage.x25519.Recipient:
    """A public key. Raises BackupError."""
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError:
        raise BackupError(
            "backup.recipient is no public key of age", hint="`tenfold backup keygen` makes one and prints the line"
        ) from None


def write_identity(path: Path, note: str) -> str:
    """Make a key pair; the private key goes into a new file that nobody else may read. → the public key."""
    identity = pyrage.x25519.Identity.generate()
    public = str(identity.to_public())
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise BackupError(
            f"{path} is there already", hint="keep it: what is encrypted to it can be read with it alone; or --out PATH"
        ) from None
    with os.fdopen(fd, "w") as file:
        file.write(f"# {note}\n# public key: {public}\n{identity}\n")
        file.flush()
        os.fsync(file.fileno())
    return public


def read_identity(path: Path) -> Identities:
    """The private keys in a file as `age-keygen` and `write_identity` make it; of several each is tried, as age does.

    Raises BackupError.
    """
    try:
        with path.open("rb") as file:
            mode, text = os.fstat(file.fileno()).st_mode, file.read(_PIECE).decode("utf-8", "replace")
    except OSError as error:
        raise BackupError(
            f"{path} cannot be read: {error.strerror}", hint="name the file of the key: --identity FILE"
        ) from None
    if mode & 0o077:
        raise BackupError(f"others may read {path}, which holds the private key", hint=f"chmod 600 {path}")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    try:
        return [pyrage.x25519.Identity.from_str(line) for line in lines] or _none(path)
    except pyrage.IdentityError:
        return _none(path)


def _none(path: Path) -> Identities:
    raise BackupError(
        f"{path} holds no private key of age that can be read as it is",
        hint="one that is protected by a passphrase: `age -d` it first; `tenfold backup keygen` makes one",
    )
