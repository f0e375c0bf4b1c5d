"""What a directory says of the app in it: how it is started, where it says that it is well. Edge."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tenfold.topology import files

MOST_FILES, LARGEST_BYTES = 400, 256 * 1024
PASSED_OVER = {"node_modules", "site-packages", "tests", "test", "venv", "env", "var", "build", "dist", "migrations"}

DJANGO = re.compile(r"""["']DJANGO_SETTINGS_MODULE["']\s*,\s*["']([A-Za-z_]\w*)[\w.]*["']""")
ASGI = re.compile(r"^(\w+)\s*(?::[^=\n]+)?=\s*(?:\w+\.)?(?:FastAPI|Starlette|Litestar|Quart)\(", re.MULTILINE)
WSGI = re.compile(r"^(\w+)\s*(?::[^=\n]+)?=\s*(?:\w+\.)?Flask\(", re.MULTILINE)
WSGI_FILE = re.compile(r"^(application|app)\s*=|^def (application|app)\(", re.MULTILINE)
HEALTH = re.compile(r"""["'](/(?:healthz|health|livez|ping|up)/?)["']""")


@dataclass(frozen=True, slots=True)
class Detected:
    """What was found; None where nothing was."""

    framework: str | None = None
    command: str | None = None
    health: str | None = None


def detect(root: Path) -> Detected:
    """Look at the Python files of a directory and of its packages, two levels deep, without running any."""
    sources = list(_sources(root))
    health = next((hit[1] for _, source in sources if (hit := HEALTH.search(source))), None)
    framework, command = _started_by(sources)
    return Detected(framework, command, health)


def _started_by(sources: list[tuple[Path, str]]) -> tuple[str | None, str | None]:
    for path, source in sources:
        if path == Path("manage.py") and (hit := DJANGO.search(source)):
            return "Django", _gunicorn(f"{hit[1]}.wsgi", "application")
    for path, source in sources:
        if hit := ASGI.search(source):
            module, directory = _module(path)
            return "ASGI", f"uvicorn{f' --app-dir {directory}' if directory else ''} --port {{port}} {module}:{hit[1]}"
    for path, source in sources:
        if hit := WSGI.search(source):
            return "Flask", _gunicorn(_module(path)[0], hit[1], _module(path)[1])
    for path, source in sources:
        if path.name == "wsgi.py" and (hit := WSGI_FILE.search(source)):
            return "WSGI", _gunicorn(_module(path)[0], hit[1] or hit[2], _module(path)[1])
    return None, None


def _gunicorn(module: str, name: str, directory: str = "") -> str:
    return f"gunicorn{f' --chdir {directory}' if directory else ''} --bind 127.0.0.1:{{port}} {module}:{name}"


def _module(path: Path) -> tuple[str, str]:
    """(module, directory it is imported from, or "") of a file."""
    parts = path.with_suffix("").parts
    directory = "src" if parts[0] == "src" and len(parts) > 1 else ""
    parts = parts[1:] if directory else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts), directory


def _sources(root: Path) -> Iterator[tuple[Path, str]]:
    """(path below root, text) of Python files, the nearest first: an app is rarely deep down."""
    found = [path for pattern in ("*.py", "*/*.py", "*/*/*.py") for path in sorted(root.glob(pattern))]
    relative = [path.relative_to(root) for path in found]
    kept = [path for path in relative if all(part.isidentifier() for part in path.with_suffix("").parts)]
    for path in [path for path in kept if not PASSED_OVER.intersection(path.parts)][:MOST_FILES]:
        try:
            yield path, files.read(root / path, LARGEST_BYTES)[0].decode()
        except (OSError, ValueError):
            continue  # a broken link, a socket, a file of somebody else: nothing to learn from
