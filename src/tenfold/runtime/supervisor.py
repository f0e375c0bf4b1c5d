"""Keeps programs alive: starts them, sees them get well, brings them back, and ends them in order. Edge."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tenfold.errors import PlatformError
from tenfold.runtime import processes, record
from tenfold.runtime.life import Life, State, after, is_overdue
from tenfold.runtime.output import Output, Pipe
from tenfold.runtime.place import Place
from tenfold.runtime.probe import answer_of
from tenfold.runtime.processes import Identity, spawn
from tenfold.runtime.programs import CUT_GRACE_S, KILLED_GRACE_S, Kind, Program, stop_order
from tenfold.runtime.voice import Voice
from tenfold.runtime.wording import delay, duration, ending, quoted

# How often a program that starts is asked whether it is well: soon at first, for those that are quick.
FIRST_ASK_S, LAST_ASK_S = 0.03, 0.25


@dataclass(slots=True)
class Child:
    """A program and the process that runs it now, if one does.

    asked     set: it is to be ended and started anew
    answer    what the one who asked waits for: None once it is well, else why it is not
    turn      held by the one who asks: one restart at a time
    refused   why it could not even be tried, the last time
    """

    program: Program
    life: Life = field(default_factory=Life)
    process: subprocess.Popen[bytes] | None = None
    identity: Identity | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    well: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    answer: asyncio.Future[str | None] | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    refused: PlatformError | None = None

    def tell(self, trouble: str | None) -> None:
        """Answer whoever asked for a restart, if somebody did."""
        if self.answer is not None and not self.answer.done() and not self.asked.is_set():
            self.answer.set_result(trouble)


class Supervisor:
    """All processes of one platform. Everything happens in the event loop of the main thread.

    secrets  values that are blotted out of the lines of programs that become part of a message
    again    gives a program as it is to be started now; raises PlatformError where it cannot be
    """

    def __init__(
        self,
        place: Place,
        about: record.Record,
        output: Output,
        voice: Voice,
        secrets: Sequence[str] = (),
        again: Callable[[Program], Program] = lambda program: program,
    ) -> None:
        self._place, self._about, self._output, self._voice, self._secrets = place, about, output, voice, secrets
        self._again = again
        self._children: dict[str, Child] = {}
        self._keepers: list[asyncio.Task[None]] = []
        # What a shell that became us had started is not ours to end.
        self._not_ours = {who.pid for who in processes.descendants()}
        processes.adopt_orphans()
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._notice_endings)
        self._write()

    async def start(self, programs: Sequence[Program], on_well: Callable[[Program, float], None]) -> None:
        """Start programs side by side and return when all are well; from then on they are kept alive.

        on_well  called with each program and the seconds it took
        Raises PlatformError, with its last lines, as soon as one ends or has not got well in its time.
        """
        begun_s = time.monotonic()
        waits: list[asyncio.Task[None]] = []
        keepers: list[asyncio.Task[None]] = []
        for program in programs:
            child = self._children[program.name] = Child(program)
            keepers.append(asyncio.create_task(self._keep(child)))
            waits.append(asyncio.create_task(self._announce(child, begun_s, on_well)))
        self._keepers += keepers
        everyone_well = asyncio.gather(*waits)
        watched: set[asyncio.Future[Any]] = {everyone_well, *keepers}
        try:
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            for keeper in keepers:
                if keeper.done():
                    keeper.result()
            await everyone_well
        finally:
            everyone_well.cancel()
            await asyncio.gather(everyone_well, return_exceptions=True)

    def begin(self, program: Program) -> None:
        """Start a program that is not essential, without waiting for it; it is kept alive from now on."""
        child = self._children[program.name] = Child(program)
        self._keepers.append(asyncio.create_task(self._keep(child)))

    def has_failed(self, name: str) -> bool:
        """Tell whether a program has ended and waits to be started again."""
        return self._children[name].life.state is State.BACKING_OFF

    def pid(self, name: str) -> int | None:
        """Of the process that runs a program now; None while none does."""
        child = self._children.get(name)
        running = child is not None and child.process is not None and not child.ended.is_set()
        return child.process.pid if running and child and child.process else None

    def entries(self) -> list[record.Entry]:
        """What the record says of each program now."""
        away = time.time() - time.monotonic()
        # What serves comes first.
        children = sorted(self._children.values(), key=lambda child: child.program.kind is Kind.AGENT)
        return [self._entry(child, child.life.since_s + away) for child in children]

    async def restart(self, name: str, timeout_s: float) -> record.Entry:
        """End a program gracefully and start it as it is to be now; returns once it is well.

        timeout_s  for all of it, the turns of those who asked before among it
        Raises PlatformError, with its last lines, when it ends or is not well in time. It is kept alive in any case:
        started again later and later, or at once by the next restart.
        """
        child = self._children.get(name)
        if child is None or child.program.kind not in (Kind.BACKEND, Kind.AGENT):
            names = [n for n, c in self._children.items() if c.program.kind in (Kind.BACKEND, Kind.AGENT)]
            raise PlatformError(f"{name!r} cannot be restarted by itself", hint="one of: " + " ".join(names))
        if not child.life.been_up:
            raise PlatformError(
                f"{name} is being started for the first time", hint="try again in a moment", retryable=True
            )
        late_s = time.monotonic() + timeout_s
        try:
            await asyncio.wait_for(child.turn.acquire(), timeout_s)
        except TimeoutError:
            raise PlatformError(f"another restart of {name} goes on", hint="try again later", retryable=True) from None
        try:
            child.answer = asyncio.get_running_loop().create_future()
            child.asked.set()
            await asyncio.wait({child.answer}, timeout=max(0.0, late_s - time.monotonic()))
            trouble = child.answer.result() if child.answer.done() else f"was not well within {delay(timeout_s)}"
        finally:
            child.answer = None
            child.turn.release()
        if trouble is None:
            return next(entry for entry in self.entries() if entry.name == name)
        if child.refused is not None:
            raise PlatformError(f"{name} cannot be started: {child.refused}", hint=child.refused.hint)
        await self._output.settle()
        raise PlatformError(self._obituary(child, trouble), hint=self._remedy(child))

    async def _announce(self, child: Child, begun_s: float, on_well: Callable[[Program, float], None]) -> None:
        await child.well.wait()
        on_well(child.program, time.monotonic() - begun_s)

    async def run_once(self, program: Program, on_line: Callable[[str], None], on_error: Callable[[str], None]) -> int:
        """Run a program to its end; its lines on stdout and stderr go to the two callables. Returns its exit code.

        Where the voice lets programs draw, stderr is the terminal itself.
        """
        child = self._children[program.name] = Child(program)
        stdout = Pipe(on_line)
        stderr = None if self._voice.may_draw else Pipe(on_error)
        self._spawn(child, stdout.write_end, stderr.write_end if stderr else None)
        await child.ended.wait()
        assert child.process is not None  # noqa: S101
        code = processes.ended_with(child.process) or 0
        # What it left in its session would hold the pipe open, and has no business after it.
        await self._end(child)
        for pipe in filter(None, (stdout, stderr)):
            await pipe.drained(1.0)
        del self._children[program.name]
        self._write()
        return code

    async def broken(self) -> None:
        """Return never; raise what ended the keeping of a program, which is a bug of ours."""
        await asyncio.gather(*self._keepers)

    def _spawn(self, child: Child, stdout: int, stderr: int | None) -> None:
        program = child.program
        try:
            directory = Path(program.release.directory) if program.release else self._place.root
            child.process = spawn(program.argv, program.environment, directory, stdout=stdout, stderr=stderr)
        finally:
            for descriptor in {stdout, stdout if stderr is None else stderr}:
                os.close(descriptor)
        child.identity = Identity.of(child.process.pid)
        child.ended.clear()
        self._change(child, "spawned")
        self._notice_endings()  # it may be over already, and its signal with it

    async def _keep(self, child: Child) -> None:
        """The whole life of a program, until cancelled."""
        while True:
            living = asyncio.create_task(self._live(child))
            asked = asyncio.create_task(child.asked.wait())
            try:
                await asyncio.wait({living, asked}, return_when=asyncio.FIRST_COMPLETED)
                if living.done():
                    living.result()
            finally:
                await _ended({living, asked})
            self._voice.event(f"{child.program.name} is restarted, as it was asked for", bad=False)
            self._change(child, "restart")
            await self._end(child)
            self._notice_endings()
            child.process, child.identity = None, None
            child.asked.clear()

    async def _live(self, child: Child) -> None:
        """A program is started, and started again whenever it has ended, until cancelled."""
        name = child.program.name
        while True:
            reason = await self._run(child)
            child.tell(reason)
            since_s, was_up = child.life.since_s, child.life.state is State.UP
            self._change(child, "ended")
            if child.life.state is State.FAILED:
                await self._output.settle()
                raise PlatformError(self._obituary(child, reason), hint=self._remedy(child))
            lasted = f" after {duration(time.monotonic() - since_s)}" if was_up else " while starting"
            self._voice.event(f"{name} {reason}{lasted}; back in {delay(child.life.delay_s)}", bad=True)
            if child.process:
                processes.signal_group(child.process.pid, signal.SIGTERM)  # what it left behind
            await asyncio.sleep(max(0.0, child.life.back_at_s - time.monotonic()))
            if child.process:
                await processes.end(child.process, [(signal.SIGKILL, KILLED_GRACE_S)])
                child.process = None

    async def _run(self, child: Child) -> str:
        """Start the program and watch it to its end; returns how it ended, as part of a sentence."""
        child.refused = None
        try:
            child.program = self._again(child.program)
            output = self._output.open(child.program.name)
            self._spawn(child, output, output)
        except OSError as error:
            self._change(child, "spawned")
            return f"cannot be started ({error.strerror})"
        except PlatformError as error:
            child.refused = error
            self._change(child, "spawned")
            return f"cannot be started ({error})"
        assert child.process is not None  # noqa: S101
        last_answer = await self._got_well(child)
        if last_answer not in child.program.well:
            code = processes.ended_with(child.process)
            if code is not None:
                return ending(code)
            said = "no answer" if last_answer is None else f"the last answer: {last_answer}"
            return f"was not well at {child.program.health} within {delay(child.program.start_s)} ({said})"
        self._change(child, "well")
        back = child.well.is_set() or child.life.restarts > 0
        child.well.set()
        child.tell(None)
        if back:
            self._voice.event(f"{child.program.name} is back (pid {child.process.pid})", bad=False)
        await child.ended.wait()
        return ending(processes.ended_with(child.process) or 0)

    async def _got_well(self, child: Child) -> int | None:
        """Ask until it is well, has ended or its time is over; returns the last status, None for no answer."""
        program, pause_s, last = child.program, FIRST_ASK_S, None
        while not child.ended.is_set() and not is_overdue(child.life, time.monotonic(), program.start_s):
            last = await answer_of(program)
            # A process that has ended did not answer: then somebody else has its port.
            if last in program.well and child.process and processes.ended_with(child.process) is None:
                return last
            ended = asyncio.ensure_future(child.ended.wait())
            try:
                await asyncio.wait({ended}, timeout=pause_s)
            finally:
                ended.cancel()
            pause_s = min(LAST_ASK_S, pause_s * 1.5)
        return None if last in program.well else last

    def _obituary(self, child: Child, reason: str) -> str:
        lines = quoted(self._output.recent(child.program.name), self._secrets)
        return f"{child.program.name} {reason}; its last lines:\n{lines}"

    def _remedy(self, child: Child) -> str:
        program = child.program
        if program.kind is Kind.BALANCER:
            return f"tenfold check; nginx's own words are in {self._place.log}/nginx-error.log"
        by_hand = f"PORT={program.address.port} {shlex.join(program.argv)}"
        return (
            f"run it by hand in {program.release.directory if program.release else self._place.root}: {by_hand}\n"
            f"     (it must answer {program.health} with 200 on 127.0.0.1:{program.address.port})"
        )

    async def stop(self, hurry: asyncio.Event) -> None:
        """End everything: the balancer after its open requests, then the backends, then what they left. Below 10 s.

        hurry  set: SIGKILL at once
        """
        for child in self._children.values():
            child.asked.clear()
            child.tell("is being stopped with the platform")
        await _ended(set(self._keepers))
        self._keepers.clear()
        for stage in stop_order([child.program for child in self._children.values()]):
            children = [self._children[program.name] for program in stage]
            for child in children:
                self._change(child, "stop")
            await asyncio.gather(*(self._end(child, hurry) for child in children))
        # Those that left their group have come to us when their parent ended.
        strays = [who for who in processes.descendants() if who.pid not in self._not_ours]
        processes.end_now(strays, 0.0 if hurry.is_set() else 0.3)
        processes.collect_orphans(set())
        await self._output.settle()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)
        self._place.forget()

    async def _end(self, child: Child, hurry: asyncio.Event | None = None) -> None:
        program = child.program
        if child.process:
            ask = [(signal.SIGTERM, program.grace_s)]
            if program.kind is Kind.BALANCER:
                ask = [(signal.SIGQUIT, program.grace_s), (signal.SIGTERM, CUT_GRACE_S)]
            if not await processes.end(child.process, [*ask, (signal.SIGKILL, KILLED_GRACE_S)], hurry):
                self._voice.warn(f"{program.name} (pid {child.process.pid}) could not be ended, even by SIGKILL")

    def _notice_endings(self) -> None:
        for child in self._children.values():
            if child.process and not child.ended.is_set() and processes.ended_with(child.process) is not None:
                child.ended.set()

    def names(self) -> list[str]:
        """Of the programs that are kept alive."""
        return list(self._children)

    def collect_orphans(self) -> None:
        """Collect what was adopted and has ended; to be called now and then once all is started."""
        processes.collect_orphans({child.process.pid for child in self._children.values() if child.process})

    def _change(self, child: Child, event: str) -> None:
        child.life = after(child.life, event, time.monotonic(), essential=child.program.essential)
        self._write()

    def _write(self) -> None:
        try:
            record.write(replace(self._about, processes=tuple(self.entries())), self._place.state)
        except OSError as error:  # a full disk: the platform goes on, `tenfold status` sees an old state
            self._voice.warn(f"{self._place.state} cannot be written: {error.strerror}")

    @staticmethod
    def _entry(child: Child, since: float) -> record.Entry:
        program, alive = child.program, child.process is not None and child.process.returncode is None
        identity = child.identity if alive else None
        return record.Entry(
            name=program.name,
            kind=program.kind.value,
            state=child.life.state.value,
            since=since,
            restarts=child.life.restarts,
            host=program.address.host,
            port=program.address.port,
            health=program.health,
            host_header=program.host,
            well=list(program.well),
            pid=identity.pid if identity else None,
            started=identity.started if identity else None,
            socket=program.socket,
            release=program.release.id if program.release else None,
        )


async def _ended(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended: once is not enough, as wait_for of Python 3.11 swallows a cancellation that
    comes when what it waits for has just come."""
    while waiting := {task for task in tasks if not task.done()}:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=0.2)
    await asyncio.gather(*tasks, return_exceptions=True)
