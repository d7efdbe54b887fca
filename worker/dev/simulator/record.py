"""One interaction as the simulator keeps it, and its status as a function of the clock. No task runs for it."""

from dataclasses import dataclass, field
from typing import Any

from worker.dev.simulator.catalog import RESEARCH
from worker.dev.simulator.faults import Rule
from worker.dev.simulator.prompt import Step
from worker.dev.simulator.script import Script

ENDED = frozenset(
    {"completed", "failed", "cancelled", "incomplete", "budget_exceeded", "requires_action", "requires_continuation"}
)
"""Statuses after which nothing happens to an interaction; an unknown status is not one of them."""


@dataclass(slots=True)
class Record:
    """What was asked, when, and what was done to it since; everything that it answers is computed from this."""

    id: str
    created_s: float
    request: dict[str, Any]
    steps: list[Step]
    """The input of this interaction."""
    past: list[Step]
    """The steps of the conversation before it, media left out."""
    script: Script
    prompt_hash: str = ""
    cancelled_s: float | None = None
    is_deleted: bool = False
    replaced: dict[str, Any] | None = None
    """A body set by the control call, answered as it is."""
    rules: list[Rule] = field(default_factory=list)

    @property
    def target(self) -> str:
        """The model or agent."""
        return str(self.request.get("agent") or self.request["model"])

    @property
    def is_agent(self) -> bool:
        """Whether an agent runs it."""
        return "agent" in self.request

    @property
    def is_research(self) -> bool:
        """Whether Deep Research runs it."""
        return self.request.get("agent") in RESEARCH

    @property
    def is_background(self) -> bool:
        """Whether the create was answered at once."""
        return self.request.get("background") is True

    @property
    def planned_end_s(self) -> float:
        """When it ends unless it is cancelled."""
        return self.created_s + self.script.queued_s + self.script.duration_s

    @property
    def end_s(self) -> float:
        """When it ends, or ended."""
        return self.planned_end_s if self.cancelled_s is None else min(self.cancelled_s, self.planned_end_s)

    def status(self, now: float) -> str:
        """Return the status at this moment."""
        if self.cancelled_s is not None and self.cancelled_s <= min(now, self.planned_end_s):
            return "cancelled"
        if now >= self.planned_end_s:
            return self.script.status
        return "queued" if now < self.created_s + self.script.queued_s else self.script.running

    def progress(self, now: float) -> float:
        """Return how much of the run is done, from 0 to 1."""
        moment = min(now, self.end_s)
        if moment >= self.planned_end_s:
            return 1.0
        return max(0.0, (moment - self.created_s - self.script.queued_s) / self.script.duration_s)
