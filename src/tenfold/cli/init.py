"""tenfold init: asks a few questions and writes a tenfold.toml that is right. Edge."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import click

from tenfold.cli.options import Invocation, common
from tenfold.errors import ConfigError

PLACEHOLDER = "your-app --port {port}"


@click.command()
@click.option("--name", help="Name of the platform.")
@click.option("--command", help="What starts one backend; {port} is its port.")
@click.option("--health", help="Path that answers 200 when a backend is well.")
@click.option("--backends", type=click.IntRange(1, 64), help="How many instances of the app.")
@click.option("--shards", type=click.IntRange(1, 64), help="How many shards.")
@click.option("--layout", type=click.Choice(["hash", "pinned"]), help="Rows spread by a key, or whole tables.")
@click.option("--key", help="The shard key, with --layout hash.")
@click.option("--tables", help='With --layout hash: "users=id, orders"; with pinned: "shard_0=users, shard_1=posts".')
@common
def init(run: Invocation, /, **given: Any) -> None:
    """Write a tenfold.toml for the app in the directory of --file.

    Asks for what no option says; --yes takes what it finds in the directory instead. Never overwrites a file.
    """
    from tenfold.topology.detect import detect
    from tenfold.topology.parse import everywhere
    from tenfold.topology.starter import render

    file = run.file.absolute()
    _refuse_existing(file)
    detected = detect(file.parent)
    if detected.framework:
        run.say(f"found an app ({detected.framework}): {detected.command}")
    text = render(_answers(run, {k: v for k, v in given.items() if v is not None}, detected.command, detected.health))
    mistakes = everywhere(tomllib.loads(text), file=file)
    if mistakes:
        lines = "\n".join(mistake.line(file.name) for mistake in mistakes)
        raise ConfigError(lines, hint="tenfold init, with other answers; nothing was written")
    _write(file, text)
    run.result({"file": str(file), "detected": detected.framework})
    run.say(f"wrote {file}")
    if PLACEHOLDER in text:
        run.say(f"no app was found here: put what starts it where {PLACEHOLDER!r} stands")
    run.say("Keep var/ out of version control. Next: tenfold check, then tenfold up")


def _answers(run: Invocation, given: dict[str, Any], command: str | None, health: str | None) -> Any:
    from tenfold.topology.starter import Starter, name_from, names_from, shard_names, tables_from

    def ask(key: str, question: str, default: Any, **options: Any) -> Any:
        if key in given or run.yes:
            return given.get(key, default)
        return click.prompt(question, default=default, err=True, **options)

    answers = {
        "name": ask("name", "Name of the platform", name_from(run.file.absolute().parent.name)),
        "command": ask("command", "Command that starts one backend ({port} is its port)", command or PLACEHOLDER),
        "health": ask("health", "Path that answers 200 when a backend is well", health or "/"),
        "backends": ask("backends", "Backends", 2, type=click.IntRange(1, 64)),
        "shards": ask("shards", "Shards", 1, type=click.IntRange(1, 64)),
    }
    layout = ask("layout", "Spread rows by a key, or pin whole tables?", "hash", type=click.Choice(["hash", "pinned"]))
    if layout == "hash":
        key = ask("key", "Shard key", "user_id")
        tables = ask("tables", 'Tables with their column, such as "users=id, orders=user_id" (empty: later)', "")
        return Starter(**answers, key=key, tables=tables_from(tables, key))
    pinned: dict[str, list[str]] = {}
    if "tables" in given or run.yes:
        for pair in names_from(given.get("tables", "")):
            shard, _, table = pair.partition("=")
            pinned.setdefault(shard, []).append(table)
        return Starter(**answers, pinned=pinned)
    for shard in shard_names(answers["shards"]):
        pinned[shard] = names_from(ask("", f"Tables on {shard}, with commas (empty: none)", ""))
    return Starter(**answers, pinned={shard: tables for shard, tables in pinned.items() if tables})


def _refuse_existing(file: Path) -> None:
    if file.exists() or file.is_symlink():
        raise ConfigError(f"{file} exists already and was left as it is", hint="tenfold check, or init --file OTHER")


def _write(file: Path, text: str) -> None:
    try:
        content = text.encode()
        with file.open("xb") as new:
            new.write(content)
    except FileExistsError:
        _refuse_existing(file)
    except UnicodeEncodeError:
        raise ConfigError("an answer holds bytes that are no text", hint="tenfold init, with other answers") from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}", hint=f"ls -ld {file.parent}") from None
