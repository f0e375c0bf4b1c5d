"""Asks both sides one statement and says what is wrong with the answer of the shards. Edge."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from tenfold.errors import TenfoldError
from tests.sharding.oracle.asks import Ask
from tests.sharding.oracle.judge import Answer, complaint, same_rows
from tests.sharding.oracle.sides import Broken, Failed, Pair, Refused, Said, answered, asked_by, classed
from tests.sharding.oracle.tally import Tally

_TARGET = re.compile(
    r"^(?:(?:INSERT|REPLACE)(?: IGNORE| OR \w+)?(?: INTO)?|UPDATE(?: IGNORE)?|DELETE FROM)\s+(\w+)", re.IGNORECASE
)


def check(pair: Pair, ask: Ask, tally: Tally | None = None) -> str:
    """Ask both; → what is wrong, empty if nothing. Leaves both sides alike, if nothing is."""
    tally = tally or Tally()
    if ask.script:
        return _transaction(pair, ask, tally)
    if ask.draws:
        return _drawing(pair, ask, tally)
    said = pair.ask_many(ask)
    if isinstance(said, Broken):
        return f"Tenfold raised {said.error!r}"
    if ask.reads:
        return _read(pair, ask, said, tally)
    target = _target(ask)
    if isinstance(said, Answer):
        expected = pair.one.ask(ask)
    else:
        with pair.one.undone():
            expected = pair.one.ask(ask)
    rows = expected.rows if isinstance(expected, Answer) else []
    wrong = _verdict(ask, said, expected, rows, pair, tally)
    if not wrong and not pair.alike(target):
        wrong = f"{target} differs after it ({_short(said)})"
    return wrong


def judged(pair: Pair, ask: Ask, said: Said) -> str:
    """What is wrong with the answer to a SELECT."""
    return _read(pair, ask, said, Tally())


def _read(pair: Pair, ask: Ask, said: Said, tally: Tally) -> str:
    expected = pair.one.ask(ask)
    whole = expected
    if ask.whole and isinstance(expected, Answer):
        whole = pair.one.ask(ask, ask.whole)
        assert isinstance(whole, Answer), f"the oracle's own mistake: {ask.text(pair.engine)}: {whole}"
        own = complaint(ask, expected, whole.rows, expected, pair.one.fold)
        assert not own, f"the oracle's own mistake: {ask.text(pair.engine)}: {own}"
    return _verdict(ask, said, expected, whole.rows if isinstance(whole, Answer) else [], pair, tally)


def _verdict(
    ask: Ask, said: Said, expected: Answer | Failed, whole: Sequence[tuple[object, ...]], pair: Pair, tally: Tally
) -> str:
    if isinstance(said, Refused):
        (tally.refused if isinstance(expected, Answer) else tally.failed)[ask.shape] += 1
        if isinstance(expected, Answer):
            tally.why[ask.shape, str(said)] += 1
        return ""
    if isinstance(said, Broken):
        return f"Tenfold raised {said.error!r}"
    if isinstance(expected, Failed):
        tally.failed[ask.shape] += 1
        if isinstance(said, Failed) and said.kind is expected.kind:
            return ""
        return f"one database says {expected.kind.__name__}: {expected.message}; Tenfold: {_short(said)}"
    if isinstance(said, Failed):
        return f"Tenfold says {said.kind.__name__}: {said.message}; one database: {_short(expected)}"
    wrong = complaint(ask, expected, whole, said, pair.one.fold)
    return f"{wrong}\n  one database: {_short(expected)}\n  Tenfold:      {_short(said)}" if wrong else ""


def _drawing(pair: Pair, ask: Ask, tally: Tally) -> str:
    """An INSERT whose ids Tenfold draws: the plain database gives its own, and is then given Tenfold's."""
    table = ask.draws
    highest = pair.one.run(f"SELECT COALESCE(MAX(id), 0) FROM {table}")[0][0]
    before = {row[0] for row in pair.contents(table)}
    try:
        result = pair.executed(ask)
    except TenfoldError as error:
        with pair.one.undone():
            expected = pair.one.ask(ask)
        wrong = _verdict(ask, classed(error), expected, [], pair, tally)
        return wrong or ("" if pair.alike(table) else f"{table} differs after it was refused")
    expected = pair.one.ask(ask)
    if isinstance(expected, Failed):
        return f"one database says {expected.kind.__name__}: {expected.message}; Tenfold took it"
    new = [row for row in pair.contents(table) if row[0] not in before]
    given = [row for row in pair.one.contents(table) if row[0] > highest]
    pair.one.run(f"DELETE FROM {table} WHERE id > {highest}")
    pair.one.load(table, new)
    if result.rowcount != expected.rowcount:
        return f"rowcount {result.rowcount} instead of {expected.rowcount}"
    if not same_rows([row[1:] for row in given], [row[1:] for row in new]):
        return f"rows {new} instead of {given}, ids aside"
    last = [row[0] for row in new if table == "users" or row[2] == max(row[2] for row in new)]  # they count up
    if len({row[0] for row in new}) != len(new) or result.lastrowid not in last:
        return f"ids {[row[0] for row in new]}, lastrowid {result.lastrowid}"
    found = [tuple(row) for row in pair.many.execute(f"SELECT * FROM {table} WHERE id = ?", (result.lastrowid,))]
    return "" if found == [row for row in new if row[0] == result.lastrowid] else f"not found by its id: {found}"


def _transaction(pair: Pair, ask: Ask, tally: Tally) -> str:
    """Several statements in a transaction, which is kept or taken back."""
    if ask.anywhere:
        return _pending(pair, ask)
    wrong = ""
    pair.one.run("BEGIN")
    try:
        with pair.many.transaction() as tx:
            for step in ask.script:
                sql, params = step.placed(pair.engine, step.style)
                try:
                    said: Said = answered(tx.execute(sql, params))
                except TenfoldError as error:
                    said = classed(error)
                if isinstance(said, Refused):
                    continue  # such as a value that this transaction has freed: it is claimed in another
                expected = pair.one.ask(step)
                rows = expected.rows if isinstance(expected, Answer) else []
                wrong = wrong or _verdict(replace(step, shape=ask.shape), said, expected, rows, pair, Tally())
            if not ask.kept:
                raise InterruptedError
    except InterruptedError:
        pass
    ended = _ended(pair, ask)
    return wrong or ended


def _pending(pair: Pair, ask: Ask) -> str:
    """Reads of all shards in a transaction of PEP 249: they see what it has written and not yet committed."""
    wrong = ""
    connection = pair.pending
    pair.one.run("BEGIN")
    for step in ask.script:
        step = replace(step, shape=ask.shape)
        try:
            said: Said = asked_by(connection, *step.placed(pair.engine, step.style))
        except TenfoldError as error:
            said = classed(error)
        if step.reads:
            wrong = wrong or _read(pair, step, said, Tally())
            continue
        expected = Failed(TenfoldError, "") if isinstance(said, Refused) else pair.one.ask(step)
        wrong = wrong or _verdict(step, said, expected, [], pair, Tally())
    if ask.kept:
        connection.commit()
    else:
        connection.rollback()
    ended = _ended(pair, ask)
    return wrong or ended


def _ended(pair: Pair, ask: Ask) -> str:
    """End the plain database's transaction as Tenfold's has ended; → what differs then."""
    pair.one.run("COMMIT" if ask.kept else "ROLLBACK")
    differ = [table for table in ("users", "notes", "user_meta", "deposits") if not pair.alike(table)]
    return f"{', '.join(differ)} differs after the transaction" if differ else ""


def _target(ask: Ask) -> str:
    found = _TARGET.search(ask.sql)
    assert found, ask.sql
    return found[1]


def _short(said: object) -> str:
    text = str(said) if isinstance(said, Refused) else repr(said)
    return text if len(text) < 1500 else text[:1500] + " …"
