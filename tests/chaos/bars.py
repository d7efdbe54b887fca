"""How soon after a fault every job must have ended: D, the longest run, and what the promise adds to it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.chaos.books import Violation
from tests.chaos.evidence import Evidence
from tests.chaos.faults import EVERY_WORKER_KILLED, FLUSHED
from tests.chaos.messages import DEAF
from worker.models import Job
from worker.states import TERMINAL, Status
from worker.ticker import DEAF_EXIT

LATE = "late"
LONGEST_S = 9.6
"""D of these scenarios: 8 s, a fifth more at most."""

RECOVERY_S = 20.0
CREATING_S = 40.0
"""What is added where a create was under way: its claim must run out first."""

MOVES_S = 5.0
"""How soon after FLUSHALL what was queued is started, though its wake-up is gone."""

CREATING = frozenset({Status.STARTING, Status.UNCONFIRMED})


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures, in words, and the jobs over the bar."""

    text: str = ""
    violations: Sequence[Violation] = ()


def none(_evidence: Evidence) -> Measured:
    """No bar."""
    return Measured()


def after_kill(evidence: Evidence) -> Measured:
    """D + 20 s, and 40 s more where a create was under way, from the last kill of every worker on."""
    return _after(evidence, EVERY_WORKER_KILLED)


def after_flush(evidence: Evidence) -> Measured:
    """The same from the last FLUSHALL on."""
    return _after(evidence, FLUSHED)


def replaced(evidence: Evidence) -> Measured:
    """A worker that takes no messages is noticed and ends; the diary tells when it was started again."""
    deaf_at = min(deed.at for deed in evidence.diary if deed.what == DEAF)
    again = [deed.at - deaf_at for deed in evidence.diary if deed.what.endswith(f"after status {DEAF_EXIT}")]
    if not again:
        return Measured("", [Violation(LATE, "workers that took no messages were never replaced")])
    return Measured(f"deaf workers replaced after {', '.join(f'{took_s:.0f}' for took_s in again)} s")


def _after(evidence: Evidence, what: str) -> Measured:
    deed = max((deed for deed in evidence.diary if deed.what == what), key=lambda deed: deed.at)
    struck_at = datetime.fromtimestamp(deed.at, UTC)
    by_status = defaultdict[str, list[Job]](list)
    for job_id, status in deed.statuses.items():
        if status not in TERMINAL | {Status.SCHEDULED}:
            by_status[status].append(evidence.jobs[job_id])
    found = list[Violation]()
    for status, jobs in by_status.items():
        found += _late(jobs, struck_at, RECOVERY_S + (CREATING_S if status in CREATING else 0))
    told = ", ".join(f"{status} {_worst(jobs, struck_at)}" for status, jobs in sorted(by_status.items()))
    moves_s = [_moves_s(evidence, job, struck_at) for job in by_status[Status.QUEUED]]
    if moves_s and max(moves_s) > (MOVES_S if what == FLUSHED else RECOVERY_S):
        found.append(Violation(LATE, f"a queued job moved {max(moves_s):.1f} s after {what}"))
    return Measured(f"since {what}: {told}; queued moved by {max(moves_s, default=0):.1f} s", found)


def _moves_s(evidence: Evidence, job: Job, since: datetime) -> float:
    sent = [row.sent_at for row in evidence.interactions.get(job.id, []) if row.sent_at and row.sent_at > since]
    return (min([*sent, job.finished_at or datetime.now(UTC)]) - since).total_seconds()


def _over_s(job: Job, since: datetime) -> float:
    return ((job.finished_at or datetime.now(UTC)) - since).total_seconds() - LONGEST_S


def _late(jobs: list[Job], since: datetime, more_s: float) -> list[Violation]:
    return [
        Violation(LATE, f"{job.id} ended D + {_over_s(job, since):.1f} s after the fault, the bar is D + {more_s:g} s")
        for job in jobs
        if _over_s(job, since) > more_s
    ]


def _worst(jobs: list[Job], since: datetime) -> str:
    return f"{len(jobs)} by D + {max(_over_s(job, since) for job in jobs):.1f} s"
