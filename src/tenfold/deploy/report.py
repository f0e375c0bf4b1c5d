"""How a deploy ended: a file, the audit trail, a notice. Edge."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tenfold.audit.trail import Trail
from tenfold.deploy.journal import Entry, Journal
from tenfold.deploy.order import Deployed, Kind, State
from tenfold.deploy.run import Left, Tell
from tenfold.errors import TenfoldError
from tenfold.notify.notice import Notice
from tenfold.notify.outbox import NAME, Outbox
from tenfold.notify.sender import deliver
from tenfold.topology.model import Topology
from tenfold.topology.operations import Severity

KEPT = 200
DELIVER_S = 10.0


class Reporter:
    """Reports on deploys of one platform; what it cannot write is told, and stops nothing."""

    def __init__(self, topology: Topology, tell: Tell, deliver_s: float = DELIVER_S) -> None:
        """deliver_s: how long a receiver of notices may keep the deployer; what is left then stays in the outbox."""
        self._topology, self._tell, self._deliver_s = topology, tell, deliver_s
        self._var = Path(topology.root) / "var"

    async def tell(self, journal: Journal, number: int, left: Left | None = None) -> Path | None:
        """Write the report of a deploy that has ended, enter it into the trail, put the notice → the report's path."""
        return await asyncio.to_thread(self._report, journal, number, left or Left())

    def _report(self, journal: Journal, number: int, left: Left) -> Path | None:
        try:
            deployed = next(one for one in journal.history().deploys if one.id == number)
            report = as_json(deployed, journal.steps(number), left)
            path = self._written(number, report)
        except (TenfoldError, OSError, StopIteration) as error:
            self._tell({"event": "warning", "said": f"the report of deploy {number} was not written: {error}"})
            return None
        for what, act in (("the audit trail", self._audit), ("the outbox", self._notice)):
            try:
                act(deployed, report)
            except (TenfoldError, OSError) as error:
                self._tell({"event": "warning", "said": f"{what} was not written: {error}"})
        return path

    def _written(self, number: int, report: Mapping[str, Any]) -> Path:
        folder = self._var / "deploys"
        folder.mkdir(parents=True, exist_ok=True)
        path, new = folder / f"{number}.json", folder / f".{number}.json.{os.getpid()}"
        new.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        new.replace(path)
        for old in sorted((p for p in folder.glob("*.json") if p.stem.isdigit()), key=lambda p: int(p.stem))[:-KEPT]:
            old.unlink(missing_ok=True)
        return path

    def _audit(self, deployed: Deployed, report: Mapping[str, Any]) -> None:
        Trail(self._var / "audit.jsonl").write(
            deployed.order.kind.value, deploy=deployed.id, release=deployed.order.release,
            commit=deployed.order.commit, state=deployed.state.value, ok=deployed.state is State.GOOD,
            why=deployed.said, left=list(report["left"]),
        )  # fmt: skip

    def _notice(self, deployed: Deployed, report: Mapping[str, Any]) -> None:
        (self._var / "agent").mkdir(mode=0o700, parents=True, exist_ok=True)
        outbox = Outbox(self._var / "agent" / NAME)
        outbox.put(notice(self._topology, deployed))
        deliver(outbox, self._topology, self._deliver_s)


def as_json(deployed: Deployed, steps: Mapping[str, Entry], left: Left) -> dict[str, Any]:
    """The report. Times: seconds since 1970."""
    order = deployed.order
    return {
        "deploy": deployed.id,
        "kind": order.kind.value,
        "state": deployed.state.value,
        "release": order.release,
        "commit": order.commit,
        "ref": order.ref,
        "before": dict(order.before),
        "who": deployed.who,
        "began_s": deployed.began_s,
        "ended_s": deployed.ended_s,
        "seconds": round((deployed.ended_s or time.time()) - deployed.began_s, 1),
        "why": deployed.said,
        "left": dict(left.steps),
        "steps": [
            {
                "step": entry.name,
                "state": entry.mark.value,
                "began_s": entry.began_s,
                "seconds": None if entry.ended_s is None else round(entry.ended_s - entry.began_s, 3),
                "said": entry.told,
            }
            for entry in steps.values()
        ],
    }


def notice(topology: Topology, deployed: Deployed) -> Notice:
    """What people are told of a deploy."""
    order, name = deployed.order, topology.platform.name
    verb = "deploy of" if order.kind is Kind.DEPLOY else "roll-back to"
    how, severity = {
        State.GOOD: ("done", Severity.INFO),
        State.REFUSED: ("refused, nothing was changed", Severity.WARNING),
        State.UNDONE: ("taken back", Severity.WARNING),
    }.get(deployed.state, ("NOT taken back whole", Severity.CRITICAL))
    facts = {"release": order.release, "commit": order.commit[:12], "by": deployed.who}
    if topology.environment:
        facts["environment"] = topology.environment
    return Notice(
        key=f"deploy:{name}:{topology.environment or ''}:{deployed.id}:{deployed.state.value}:{deployed.began_s:.0f}",
        severity=severity,
        title=f"{name}: {verb} {order.release} {how}",
        text=deployed.said or "every backend runs it",
        at_s=deployed.ended_s or deployed.began_s,
        source="deploy",
        facts=facts,
    )
