"""How a command travels to a machine: one fixed line for its shell, everything else by standard input. Pure.

A login shell may be any shell, and quotes as it likes; arguments and environment of its command line can be seen by
every account. So the shell is only told to start a POSIX shell that reads one line, and that line says what to run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

# Followed by the number of the process group that the command and all that it starts is in.
MARK = re.compile(rb"tenfold-ready ([0-9]{1,10})\n")
_LONGEST_MARK = 32
# No letter in it means anything but itself between single quotes of sh, csh or fish. _tf_n becomes a line break:
# `read` ends at the first one, so the line that it reads may hold none. What the account's own start-up files print
# (a greeting in ~/.bashrc) comes before the mark.
BOOT = (
    '_tf_n=$(printf "\\nx"); _tf_n=${_tf_n%x}; printf "tenfold-%s %s\\n" ready $$; IFS= read -r _tf_l && eval "$_tf_l"'
)
LOGIN_SHELL = f"exec /bin/sh -c '{BOOT}'"
HERE = ("/bin/sh", "-c", BOOT)

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What still runs after it was told to end gets so many seconds.
GRACE_S = 3
# Reads from the line as long as it is open: its end means that nobody waits for the command any more. It then ends
# the whole process group, the command and all that it started; it is alone in not heeding its own TERM. By number, not
# as 0: were the shell not the first of its group, there would be none of that number, and nobody else is ended.
_WATCH = (
    "(trap '' HUP INT TERM; IFS= read -r _tf_l <&3; kill -TERM -$$; "
    f"sleep {GRACE_S}; kill -KILL -$$) </dev/null >/dev/null 2>&1 & _tf_w=$!; "
)


def opening(argv: Sequence[str], cwd: str | None, environment: Mapping[str, str], feeds: bool) -> bytes:
    """The line that BOOT reads.

    feeds   whether the command's standard input follows; else the line stays open until nobody waits any more
    Raises  ValueError for what cannot be run anywhere: no program, a NUL, a relative directory, no variable's name
    """
    run = f"{_surroundings(cwd, environment)}exec {_words(argv)}"
    if feeds:
        return _bytes(run) + b"\n"
    line = f"exec 3<&0 </dev/null; {_WATCH}(exec 3<&-; {run}); _tf_c=$?; kill -KILL $_tf_w; exit $_tf_c"
    return _bytes(line) + b"\n"


def _words(argv: Sequence[str]) -> str:
    if isinstance(argv, str) or not argv or not argv[0] or argv[0].startswith("-"):
        raise ValueError("a command needs a program")
    return " ".join(map(quote, argv))


def _surroundings(cwd: str | None, environment: Mapping[str, str]) -> str:
    if cwd is not None and not cwd.startswith("/"):
        raise ValueError(f"the directory {cwd!r} is not absolute")
    for name in environment:
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a variable")
    go = f"cd {quote(cwd)} || exit 126; " if cwd is not None else ""
    return go + "".join(f"export {name}={quote(value)}; " for name, value in environment.items())


def quote(text: str) -> str:
    """`text` as one word of a POSIX shell's line, without a line break in it. Raises ValueError for NUL."""
    if "\0" in text:
        # The text is not shown: it may be a secret on its way into the environment.
        raise ValueError("an argument or a variable holds a NUL character")
    return "'" + text.replace("'", "'\\''").replace("\n", "'\"$_tf_n\"'") + "'"


def _bytes(line: str) -> bytes:
    return line.encode("utf-8", "surrogateescape")


def ending(group: int) -> bytes:
    """The line that ends a process group: at once where it heeds TERM, within GRACE_S where it does not."""
    return f"kill -TERM -{group} && sleep {GRACE_S} && kill -KILL -{group}; exit 0\n".encode()


def shown(argv: Sequence[str], longest: int = 120) -> str:
    """A command as it is named in a message."""
    text = " ".join(argv).encode("utf-8", "backslashreplace").decode()
    text = re.sub(r"\s+", " ", text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


class Output:
    """What a command writes, of each stream the last `limit` bytes; without what came before it began."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._out, self._err = bytearray(), bytearray()
        self.group: int | None = None
        """The process group of the command; None: the shell has not answered yet, and nothing of it ran."""

    def out(self, data: bytes) -> None:
        """More of its standard output."""
        self._out += data
        if self.group is None:
            mark = MARK.search(self._out)
            if not mark:
                del self._out[: -_LONGEST_MARK - self._limit]
                return
            self.group, self._out = int(mark[1]), self._out[mark.end() :]
        _cut(self._out, 2 * self._limit, self._limit)

    def err(self, data: bytes) -> None:
        """More of its errors."""
        self._err += data
        _cut(self._err, 2 * self._limit, self._limit)

    def both(self) -> tuple[bytes, bytes]:
        """(out, err) so far."""
        return bytes(self._out[-self._limit :]), bytes(self._err[-self._limit :])


def _cut(kept: bytearray, beyond: int, to: int) -> None:
    # In halves: cutting a little at each piece would copy all of it each time.
    if len(kept) > beyond:
        del kept[:-to]
