"""What a scenario is made of: orders, faults, what else than completion a job may end as, and the bar it is held to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.chaos import bars
from tests.chaos.acts import Life
from tests.chaos.bars import Measured
from tests.chaos.books import Terms
from tests.chaos.evidence import Evidence
from tests.chaos.orders import Mix
from tests.chaos.script import Fault

POSTGRESQL, SQLITE = "postgresql", "sqlite"
SHORT_CLAIMS = {
    "NIGHTDESK_TALK_POLL_S": "3",
    "NIGHTDESK_CLAIM_POLL_S": "5",
    "NIGHTDESK_TALK_START_S": "5",
    "NIGHTDESK_CLAIM_START_S": "8",
    "NIGHTDESK_TALK_CANCEL_S": "3",
    "NIGHTDESK_CLAIM_CANCEL_S": "5",
    "NIGHTDESK_TALK_DELIVER_S": "3",
    "NIGHTDESK_CLAIM_DELIVER_S": "6",
}
"""So that what a dead worker held comes back in seconds; scenarios that measure recovery leave them out."""

USUAL = Mix()
COMPLETED_ONLY = Terms()
UNCONFIRMED = Terms(errors=frozenset({"create_unconfirmed"}))
"""An answer may be lost, and where nothing else was asked for the job then fails rather than pay twice."""

CANNOT_START = frozenset({1})
"""A process whose start needs the database ends while that is away, and its supervisor starts it again."""

RECOVERY = {"model_s": 8.0, "agent_s": 8.0}
"""What the bars are measured with, on the default claims."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One run. Durations are seconds; `simulator` and `env` go over what all runs have."""

    about: str
    faults: tuple[Fault, ...]
    terms: Terms = COMPLETED_ONLY
    databases: tuple[str, ...] = (POSTGRESQL,)
    workers: int = 2
    env: Mapping[str, str] = field(default_factory=lambda: SHORT_CLAIMS)
    simulator: Mapping[str, object] = field(default_factory=lambda: {"model_s": 4.0, "agent_s": 6.0})
    mix: Mix = USUAL
    jobs: int = 180
    """Of all projects together."""
    projects: int = 1
    life: Life = field(default_factory=Life)
    """What the operators of their endpoints do; nothing, by default."""
    over_s: float = 12.0
    faults_s: float = 180.0
    """Until when every fault must have ended, and every client been served."""
    settle_s: float = 75.0
    bar: Callable[[Evidence], Measured] = bars.none
    deaths: frozenset[int] = frozenset()
    """Statuses with which a process may end by itself."""
