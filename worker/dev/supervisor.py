"""Starts the parts of the stack, starts those that die again, and stops all in order."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from worker.dev.interrupts import Interrupts
from worker.dev.logs import Log

CALM_S = 60.0
"""A part that lived this long is no longer held to have failed before."""
BACKOFF_S = (0.5, 1, 2, 5, 10, 30)
TRIES = 3
BAD_SETTINGS = 2
"""The exit status of a part that cannot start as it is set up: trying again would not help."""
SHOWN_LINES = 15


class PartFailed(Exception):
    """A part did not become ready; the message says which, and what it said last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One process of the stack. Parts of a higher `rank` are stopped only when all of the lower ones have ended."""

    name: str
    launch: Callable[[], subprocess.Popen[bytes]]
    is_ready: Callable[[int], bool]
    """Asked with the process id."""
    log: Log
    rank: int = 0
    stop_s: float = 10.0


@dataclass(slots=True)
class _Member:
    part: Part
    process: subprocess.Popen[bytes]
    started_at: float = field(default_factory=monotonic)
    failures: int = 0
    due_at: float | None = None
    is_ready: bool = False


class Supervisor:
    """The parts that run; `say` gets one line for whatever a user should see."""

    def __init__(self, interrupts: Interrupts, say: Callable[[str], None]) -> None:
        self._interrupts = interrupts
        self._say = say
        self._members: list[_Member] = []
        self._is_settled = False

    def add(self, part: Part, process: subprocess.Popen[bytes] | None = None) -> None:
        """Start a part, or take over its process."""
        self._members.append(_Member(part, process or part.launch()))

    def await_ready(self, within_s: float) -> bool:
        """Wait until every part is ready; False if the end was asked for before, PartFailed if one cannot."""
        deadline = monotonic() + within_s
        while not self._interrupts.asked:
            self._mend()
            missing = [member for member in self._members if not self._has_become_ready(member)]
            if not missing:
                self._is_settled = True
                return True
            for member in missing:
                self._refuse_hopeless(member)
            if monotonic() > deadline:
                raise PartFailed(f"{missing[0].part.name} is not ready after {within_s:g} s{_tail(missing[0].part)}")
            self._interrupts.wait(0.05)
        return False

    def run(self) -> None:
        """Keep every part alive until the end is asked for."""
        while not self._interrupts.asked:
            self._mend()
            for member in self._members:
                member.part.log.rotate()
            self._interrupts.wait(1.0)

    def stop(self) -> None:
        """End all parts, rank by rank: SIGTERM, a bounded wait, SIGKILL. A second request ends the waiting."""
        for rank in sorted({member.part.rank for member in self._members}):
            group = [member for member in self._members if member.part.rank == rank]
            for member in group:
                if member.process.poll() is None:
                    member.process.terminate()
            self._await_end(group)
        self._members.clear()

    def _await_end(self, group: list[_Member]) -> None:
        began, is_told = monotonic(), False
        while living := [member for member in group if member.process.poll() is None]:
            waited_s = monotonic() - began
            for member in living:
                if waited_s > member.part.stop_s or self._interrupts.asked > 1:
                    member.process.kill()
            if waited_s > 2 and not is_told:
                names = ", ".join(member.part.name for member in living)
                self._say(f"waiting for {names} to finish what is under way (Ctrl-C again: stop at once)")
                is_told = True
            self._interrupts.wait(0.1)

    def _has_become_ready(self, member: _Member) -> bool:
        if not member.is_ready and member.due_at is None:
            member.is_ready = member.part.is_ready(member.process.pid)
        return member.is_ready

    def _refuse_hopeless(self, member: _Member) -> None:
        if member.due_at is not None and (member.failures >= TRIES or member.process.returncode == BAD_SETTINGS):
            raise PartFailed(f"{member.part.name} does not start{_tail(member.part)}")

    def _mend(self) -> None:
        now = monotonic()
        for member in self._members:
            if member.due_at is None:
                if member.process.poll() is not None:
                    self._note_end(member, now)
            elif now >= member.due_at:
                member.process, member.started_at, member.due_at = member.part.launch(), now, None

    def _note_end(self, member: _Member, now: float) -> None:
        member.failures = 0 if now - member.started_at > CALM_S else member.failures
        wait_s = BACKOFF_S[min(member.failures, len(BACKOFF_S) - 1)]
        member.failures += 1
        member.due_at = now + wait_s
        member.is_ready = False
        if self._is_settled:
            self._say(f"{member.part.name} {_ended(member.process)}; starting it again{_tail(member.part)}")


def _ended(process: subprocess.Popen[bytes]) -> str:
    status = process.returncode
    return f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"


def _tail(part: Part) -> str:
    lines = part.log.tail(SHOWN_LINES)
    shown = "".join(f"\n    {line}" for line in lines)
    return f" ({part.log.path}):{shown}" if lines else f"; it wrote nothing to {part.log.path}"
