"""Files of a machine, by the shell that each has. Edge."""

from __future__ import annotations

from tenfold.errors import HostError
from tenfold.hosts.port import MOST_OUTPUT, Host, Ran

# So that messages can be told apart, whatever the account's language.
PLAIN = {"LC_ALL": "C"}
# Who reads the file finds the old one or the new one. The size is checked, because the end of the input may be the end
# of a line that was cut, not of the content; and `mv` onto a directory would put the file into it.
WRITE = """
set -eu
path=$1 mode=$2 size=$3 beside=$1.$$.partial
if [ -d "$path" ]; then echo "Is a directory" >&2; exit 1; fi
mkdir -p -- "${path%/*}/"
umask 077
rm -f -- "$beside"
trap 'rm -f -- "$beside"' EXIT
trap 'exit 1' HUP INT TERM PIPE
set -C
cat >"$beside"
if [ "$(wc -c <"$beside")" -ne "$size" ]; then echo "the line was cut" >&2; exit 1; fi
chmod "$mode" "$beside"
sync "$beside" 2>/dev/null || :
mv -f -- "$beside" "$path"
"""
# Opening a pipe would wait for its writer.
READ = 'if [ -p "$2" ]; then echo "it is a pipe" >&2; exit 1; fi; head -c "$1" <"$2"'
_ABSENT = (b"No such file", b"Not a directory")
BYTES_A_SECOND = 256 * 1024
"""Slower than that, a large file counts as stuck."""


async def write(host: Host, path: str, content: bytes | memoryview, mode: int = 0o640) -> None:
    """Host.write, by Host.run."""
    where = _absolute(host, path)
    size = memoryview(content).nbytes
    ran = await host.run(
        ["sh", "-c", WRITE, "write", where, f"{mode:o}", str(size)],
        environment=PLAIN,
        input=content or memoryview(b""),
        timeout_s=60.0 + size / BYTES_A_SECOND,
    )
    if ran.code:
        raise HostError(
            f"{host.name}: {path} could not be written: {_why(ran)}", hint=_remedy(host, ran), retryable=False
        )


async def read(host: Host, path: str, limit_bytes: int) -> bytes | None:
    """Host.read, by Host.run."""
    if not 0 <= limit_bytes < MOST_OUTPUT:
        raise ValueError(f"limit_bytes must be below {MOST_OUTPUT}")
    argv = ["sh", "-c", READ, "read", str(limit_bytes + 1), _absolute(host, path)]
    ran = await host.run(argv, environment=PLAIN)
    if ran.code:
        if any(word in ran.err for word in _ABSENT):
            return None
        raise HostError(f"{host.name}: {path} cannot be read: {_why(ran)}", hint=_remedy(host, ran), retryable=False)
    if len(ran.out) > limit_bytes:
        raise HostError(
            f"{host.name}: {path} is larger than {limit_bytes} bytes", hint="look what it is", retryable=False
        )
    return ran.out


def _absolute(host: Host, path: str) -> str:
    if not path.startswith("/") or "\0" in path or path.endswith("/"):
        raise HostError(f"{host.name}: {path!r} is no absolute path of a file", hint="write it whole", retryable=False)
    return path


def _why(ran: Ran) -> str:
    line = ran.last_lines(1)
    return line.rpartition(": ")[2] or f"exit code {ran.code}"


def _remedy(host: Host, ran: Ran) -> str:
    for words, remedy in (
        (b"No space left", f"free some space on {host.name} (df -h, df -i), then try again"),
        (b"Disk quota", f"raise the quota of the account on {host.name}"),
        (b"Permission denied", f"let the account on {host.name} have that directory (chown)"),
        (b"Read-only", f"mount that file system of {host.name} for writing"),
    ):
        if words in ran.err:
            return remedy
    return f"look at that path on {host.name}"
