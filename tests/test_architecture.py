"""What may import what, who may touch the world, and how long a file may be. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "tenfold"
FILES = sorted(SOURCE.rglob("*.py"))
MAX_LINES = 400

# docs/design/001-packages.md says why. `errors` may be imported by all.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "topology": set(),
    "hosts": set(),
    "audit": set(),
    "notify": {"topology", "audit"},
    "sharding": {"topology", "audit"},
    "balancer": {"topology", "hosts", "audit"},
    "monitor": {"topology", "hosts", "audit", "notify"},
    "deploy": {"topology", "hosts", "audit", "notify", "balancer", "sharding"},
    "pipeline": {"topology"},
    "dashboard": {"topology", "monitor", "audit"},
}
EVERYTHING = {*MAY_IMPORT, "runtime", "demo", "cli", "testing", "dbapi", "middleware", ""}
MAY_IMPORT["runtime"] = EVERYTHING - {"cli", "testing"}
MAY_IMPORT["testing"] = EVERYTHING - {"cli", "runtime"}
MAY_IMPORT["cli"] = EVERYTHING - {"testing"}
MAY_IMPORT["demo"] = {"", "dbapi", "middleware"}  # the public API only
MAY_IMPORT[""] = {"topology", "sharding", "monitor"}  # tenfold/__init__.py
MAY_IMPORT["dbapi"] = {"sharding", "monitor"}  # as tenfold/__init__.py: timings are told to the recorder
MAY_IMPORT["middleware"] = {"monitor"}

# A Pure file decides; it neither reads nor writes, nor asks the clock or chance.
IMPURE_MODULES = {
    "aiohttp", "argon2", "asyncio", "asyncssh", "click", "concurrent", "contextlib.chdir", "ctypes",
    "fcntl", "getpass", "glob",
    "http", "httpx", "importlib", "io", "jinja2", "logging", "multiprocessing", "os", "pathlib",
    "psutil", "pwd", "pyrage", "smtplib", "tarfile",
    "random", "redis", "resource", "rich", "secrets", "select", "selectors", "shutil", "signal", "socket", "sqlite3",
    "ssl", "starlette", "subprocess", "sys", "tempfile", "threading", "time", "urllib.request", "uvicorn", "uuid",
    "datetime",
}  # fmt: skip
# Types and arithmetic of modules that else touch the world.
PURE_NAMES = {
    "pathlib": {"PurePath", "PurePosixPath"},
    "uuid": {"UUID"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone", "UTC"},
}
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "breakpoint"}
IMPURE_METHODS = {"now", "today", "utcnow"}


def purpose(path: Path) -> str:
    """The first line of the file's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]


def is_pure(path: Path) -> bool:
    return purpose(path).endswith("Pure.")


def module_of(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def package_of(module: str) -> str:
    """The package below tenfold that a module belongs to; "" for tenfold itself."""
    return [*module.split("."), ""][1]


def imports(path: Path) -> Iterator[tuple[str, str | None, int]]:
    """(module, name or None, line) of each import in the file, relative ones made absolute."""
    here = module_of(path).split(".")
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                start = here if path.name == "__init__.py" else here[:-1]
                base = ".".join([*start[: len(start) - node.level + 1], *([base] if base else [])])
            for alias in node.names:
                yield base, alias.name, node.lineno


def internal(path: Path) -> Iterator[tuple[str, int]]:
    """Modules of tenfold that the file imports, as module names that exist."""
    for module, name, line in imports(path):
        if module.split(".")[0] == "tenfold":
            full = f"{module}.{name}" if name else module
            yield (full if full in MODULES else module), line


def test_there_is_something_to_check() -> None:
    assert len(FILES) > 3


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_every_file_says_what_it_is_for(path: Path) -> None:
    assert purpose(path).endswith((" Pure.", " Edge.")), f"{path}: first line must end in Pure. or Edge."


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_a_file_fits_one_sitting(path: Path) -> None:
    assert path.read_text().count("\n") <= MAX_LINES


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_packages_import_only_what_they_may(path: Path) -> None:
    own = package_of(module_of(path))
    for module, line in internal(path):
        other = package_of(module)
        assert other in {own, "errors"} | MAY_IMPORT[own], f"{path}:{line}: {own or 'tenfold'} may not import {module}"


@pytest.mark.parametrize("path", [p for p in FILES if is_pure(p)], ids=module_of)
def test_a_pure_file_touches_nothing(path: Path) -> None:
    for module, name, line in imports(path):
        if module.split(".")[0] == "tenfold":
            target = MODULES.get(f"{module}.{name}") or MODULES.get(module)
            assert target is None or is_pure(target), f"{path}:{line}: Pure imports Edge {module}"
        elif module in PURE_NAMES and name:
            assert name in PURE_NAMES[module], f"{path}:{line}: {module}.{name} is not pure"
        else:
            top = module.split(".")[0]
            assert top not in IMPURE_MODULES and module not in IMPURE_MODULES, f"{path}:{line}: {module} is not pure"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                assert node.func.id not in IMPURE_CALLS, f"{path}:{node.lineno}: {node.func.id}() is not pure"
            if isinstance(node.func, ast.Attribute):
                assert node.func.attr not in IMPURE_METHODS, f"{path}:{node.lineno}: asks the clock"


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {m: {t for t, _ in internal(p) if t in MODULES and t != m} for m, p in MODULES.items()}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, "imports in a circle: " + " → ".join([*trail[trail.index(module) :], module])
        if module not in done:
            for target in sorted(graph[module]):
                visit(target, (*trail, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())
