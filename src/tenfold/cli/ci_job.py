"""One run of a job of the pipeline: what it was asked for, what it found, what it has to tell. Edge."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenfold.cli.ci_tools import Workshop
from tenfold.cli.options import Invocation
from tenfold.errors import TenfoldError


@dataclass(slots=True)
class Job:
    """One run of a job.

    findings  what fails it, one line each
    told      lines of its summary
    facts     figures for --json
    began_s   when it began
    """

    name: str
    run: Invocation
    base: Path
    options: dict[str, Any]
    findings: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    began_s: float = field(default_factory=time.time)

    @property
    def workshop(self) -> Workshop:
        return Workshop(self.base, self.run)

    def attempt(self, what: str, action: Callable[[], None]) -> None:
        """Do a part of the job; its failure is a finding, and the other parts are done as well."""
        try:
            action()
        except TenfoldError as error:
            self.findings.append(f"{what}: {error}" + (f" (try: {error.hint})" if error.hint else ""))
