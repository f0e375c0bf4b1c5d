"""The console script: finds the command, runs it, and turns every ending into a message and an exit code. Edge."""

from __future__ import annotations

import difflib
import importlib
import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click

from tenfold.errors import TenfoldError

DONE, FAILED, WRONG_USAGE, TRY_LATER, INTERRUPTED = 0, 1, 2, 75, 130


@dataclass(frozen=True, slots=True)
class Entry:
    """A command that is imported only when it is called."""

    target: str  # "module:attribute"
    summary: str


COMMANDS: Mapping[str, Entry] = {
    "init": Entry("tenfold.cli.init:init", "Write a tenfold.toml for this directory."),
    "check": Entry("tenfold.cli.check:check", "Say everything that is wrong with the file."),
    "up": Entry("tenfold.cli.up:up", "Run the platform on this machine."),
    "status": Entry("tenfold.cli.status:status", "Say what runs and how it is."),
    "top": Entry("tenfold.cli.top:top", "Show live figures in the terminal."),
    "alerts": Entry("tenfold.cli.alerts:alerts", "Say what alerts; take it on, silence it, ask why."),
    "balancer": Entry("tenfold.cli.balancer:balancer", "Take backends out of the traffic and back."),
    "notify": Entry("tenfold.cli.notify:notify", "Try and watch who is told of alerts and deploys."),
    "audit": Entry("tenfold.cli.audit:audit", "Say who did what here, and whether the trail is whole."),
    "logs": Entry("tenfold.cli.logs:logs", "Show what the balancer and the backends wrote."),
    "down": Entry("tenfold.cli.down:down", "Stop the platform."),
    "deploy": Entry("tenfold.cli.deploy:deploy", "Bring a commit onto the fleet, gate by gate."),
    "rollback": Entry("tenfold.cli.rollback:rollback", "Bring the fleet back to a good release."),
    "units": Entry("tenfold.cli.units:units", "Write systemd's units for one host."),
    "demo": Entry("tenfold.cli.demo:demo", "Run the example platform, seeded with users."),
    "shard": Entry("tenfold.cli.shard:shard", "Set up and look after the shards."),
    "backup": Entry("tenfold.cli.backup:backup", "Back up, and prove that it can be brought back."),
    "ci": Entry("tenfold.cli.ci:ci", "Write, check and run the pipeline of the repository."),
    "schema": Entry("tenfold.cli.schema:schema", "Print the JSON Schema of the file, for editors."),
}


class Lazy(click.Group):
    """A group that imports a command only when it is called: help and completion must be instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name].target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101  our own registry
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            raise click.UsageError(f'there is no command "{name}"' + (f'; did you mean "{near[0]}"?' if near else ""))
        return super().resolve_command(ctx, args)


@click.group(
    cls=Lazy, context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100}, no_args_is_help=False
)
@click.version_option(package_name="tenfold", message="%(prog)s %(version)s")
def tenfold() -> None:
    """From one server to many: balancer, sharded database and app, from one file, tenfold.toml."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 2 wrong usage, 75 try again later, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in arguments
    try:
        code = _run(arguments, as_json)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Who read our output has gone (`tenfold logs | head`). The interpreter flushes once more when it ends:
        # without a place to write to it would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _run(arguments: list[str], as_json: bool) -> int:
    try:
        # `standalone_mode=False`: the endings are ours. Then click returns what the command returned.
        code = tenfold.main(arguments or ["--help"], prog_name="tenfold", standalone_mode=False)
        return code if isinstance(code, int) else DONE
    except TenfoldError as error:
        _report(str(error), error.hint, error.retryable, as_json)
        return TRY_LATER if error.retryable else FAILED
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "tenfold"
        _report(error.format_message(), f"{path} --help", False, as_json)
        return WRONG_USAGE
    except click.ClickException as error:
        _report(error.format_message(), "", False, as_json)
        return error.exit_code
    except click.Abort as error:
        if isinstance(error.__cause__ or error.__context__, EOFError):
            _report("a question was not answered", "add --yes to take the defaults", False, as_json)
            return FAILED
        return INTERRUPTED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get("TENFOLD_DEBUG") == "1":
            traceback.print_exc()
        what = str(error).partition("\n")[0]
        _report(
            f"{type(error).__name__}: {what}" if what else type(error).__name__,
            "the same command with TENFOLD_DEBUG=1 shows where; please report it",
            False,
            as_json,
        )
        return FAILED


def _report(message: str, hint: str, retryable: bool, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"error": message, "hint": hint, "retryable": retryable}, ensure_ascii=False))
        return
    # Several mistakes are several lines; they stand below each other.
    click.echo("error: " + message.replace("\n", "\n       "), err=True)
    if hint:
        click.echo(f"Try: {hint}", err=True)


if __name__ == "__main__":
    sys.exit(main())
