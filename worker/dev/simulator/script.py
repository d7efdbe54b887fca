"""The script of one run: how long it takes, how it ends, what it says. Values only; resolved once, at the create."""

from dataclasses import dataclass

STUCK_S = 1e12
"""The duration of a run that never ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Times are seconds of the simulator's clock, already divided by the speed."""

    duration_s: float
    queued_s: float = 0.0
    status: str = "completed"
    """What the run ends as: any string, also one the API does not know."""
    running: str = "in_progress"
    """What GET shows while it runs."""
    silent: bool = False
    """A zombie: no steps while it runs."""
    code: str | None = None
    message: str | None = None
    size_b: int = 0
    """The least size of the text, in bytes."""
    calls: int = 0
    """How many function calls the run makes; 0 leaves it to the prompt."""
    images: int | None = None
    text: str | None = None
    """The answer, word for word."""
    event_ids: str = "all"
    """Which events of its stream have an id: `all`, `some` or `none`."""
    strange: bool = False
    """Whether its stream has events between that nobody knows."""
    usage_late_s: float = 0.0
    """How long after the end the usage is still missing."""
    cancel_lag_s: float = 0.3
