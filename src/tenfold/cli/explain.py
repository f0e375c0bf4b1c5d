"""`tenfold shard explain`: how a statement would be carried out, and on which shards. Edge."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from tenfold.cli.options import Invocation, common
from tenfold.errors import StatementError

if TYPE_CHECKING:
    from tenfold.sharding.execute import Executor
    from tenfold.sharding.explain import Step
    from tenfold.sharding.ports import Params, Steps
    from tenfold.sharding.statement import Statement
    from tenfold.sharding.touches import Touched
    from tenfold.topology.model import Topology


@dataclass(frozen=True, slots=True)
class Explained:
    """plan: as a tree; touched: the shards; shards: all of the platform's; pulls: rows that it may bring together,
    0 for a plan that brings none together."""

    plan: Step
    touched: Touched
    shards: tuple[str, ...]
    pulls: int


@click.command()
@click.argument("sql")
@click.option(
    "--param", "-p", "given", multiple=True, metavar="VALUE",
    help="A parameter, in the order of the `?`; name=VALUE for :name. 42 is a number, NULL is NULL, '42' a text.",
)  # fmt: skip
@common
def explain(run: Invocation, sql: str, given: tuple[str, ...]) -> None:
    """Show how SQL would be carried out, and on which shards. Runs nothing of it.

    What stands deeper happens first. With parameters the keys are looked up in the bucket map; without, it says whose
    shard it would be. A statement that cannot be carried out is refused here as it would be there, with the rewrite
    that works, and exit code 1.
    """
    found = _explained(run.topology(), sql, given)
    touched = found.touched
    run.result(
        {
            "plan": found.plan.as_json(),
            "shards": touched.shards,
            "certain": touched.certain,
            "keys": [{"key": key.key, "bucket": key.bucket, "shard": key.shard} for key in touched.keys],
            "pull_rows": found.pulls or None,
        }
    )
    for line in sentences(found):
        run.say(line)


def sentences(found: Explained) -> Iterator[str]:
    """The plan, an empty line, and where it goes, for people."""
    from tenfold.sharding import touches

    yield from found.plan.lines()
    yield ""
    if found.pulls:
        yield f"brings together at most {found.pulls:,} rows (database.pull_rows); beyond it, it is refused"
    yield from touches.sentences(found.touched, found.shards)


def _explained(topology: Topology, sql: str, given: Sequence[str]) -> Explained:
    from tenfold.sharding.catalog import load
    from tenfold.sharding.engine.router import new_executor, one_off_runner

    with one_off_runner(topology, mode="ro") as runner:
        executor = new_executor(runner.run(load(topology)), topology)
        return runner.run(explaining(executor, topology.database.pull_rows, sql, given))


def explaining(executor: Executor, pull_rows: int, sql: str, given: Sequence[str] = ()) -> Steps[Explained]:
    """Plan a statement and find its shards. Raises RoutingError for one that is refused, NodeError without a shard."""
    from tenfold.sharding.explain import steps_of
    from tenfold.sharding.statement import parse
    from tenfold.sharding.touches import touched

    layout = executor.layout
    plan = yield from executor.plan(sql)
    params = parameters(parse(sql, layout.dialect), given) if given else None
    where = yield from touched(plan, params, executor.placing)
    pulls = pull_rows if plan.staged and not where.whole else 0
    return Explained(steps_of(plan, layout.dialect), where, layout.shards, pulls)


def parameters(statement: Statement, given: Sequence[str]) -> Params:
    """The parameters as the statement takes them: by place, or by name. Raises StatementError where they do not fit."""
    from sqlglot import exp

    from tenfold.sharding.statement import Param, source

    if statement.positional:
        if len(given) != statement.positional:
            raise StatementError(
                f"the statement takes {statement.positional} values, {len(given)} were given",
                hint="write one --param for each ?",
            )
        return [typed(text) for text in given]
    sources = [source(node) for node in statement.tree.find_all(exp.Placeholder)]
    names = list(dict.fromkeys(str(found.slot) for found in sources if isinstance(found, Param)))
    named = dict(text.partition("=")[::2] for text in given)
    if set(named) != set(names):
        wanted = " ".join(f"--param {name}=…" for name in names) or "no --param"
        raise StatementError("the parameters are not those of the statement", hint=f"write {wanted}")
    return {name: typed(text) for name, text in named.items()}


def typed(text: str) -> Any:
    """What somebody means who types a value: 42, 4.2, NULL, 'text' in quotes, or text as it is."""
    if text.upper() == "NULL":
        return None
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    if re.fullmatch(r"[+-]?(\d+\.\d*|\.\d+|\d+)([eE][+-]?\d+)?", text):
        return float(text)
    quoted = re.fullmatch(r"'((?:[^']|'')*)'", text)
    return quoted[1].replace("''", "'") if quoted else text
