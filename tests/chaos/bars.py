"""How soon after a fault every job must move, and have ended: D, the longest run, and what the promise adds to it."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.chaos import endpoint_books
from tests.chaos.books import Violation
from tests.chaos.evidence import Evidence
from tests.chaos.messages import DEAF
from tests.chaos.recovery import Recovery
from tests.chaos.weather import KEY_BACK
from worker.flow.health import GONE, OWNER
from worker.models import Job
from worker.states import Status
from worker.ticker import DEAF_EXIT

LATE = "late"
LONGEST_S = 9.6
"""D of these scenarios: 8 s, a fifth more at most."""

RECOVERY_S = 20.0
CREATING_S = 40.0
"""What is added where a create was under way: its claim must run out first."""

KILLED, FLUSHED = "SIGKILL of every worker", "FLUSHALL"
MOVES_S = {KILLED: 60.0, FLUSHED: 5.0}
"""How soon after it every job moves again."""

REPLACED_S = 60.0
RESUMED_S = 35.0
"""How soon after the key works again creates go on: the free probe asks every 30 s."""

CREATING = frozenset({Status.STARTING, Status.UNCONFIRMED})


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures, in words, and what missed the bar."""

    text: str = ""
    violations: Sequence[Violation] = ()


def none(_evidence: Evidence) -> Measured:
    """No bar."""
    return Measured()


def recovered(evidence: Evidence) -> Measured:
    """After each fault that was looked at, every job moved in time, and ended in time."""
    if not evidence.recoveries:
        return Measured("", [Violation(LATE, "no fault was looked at")])
    texts, found = [], list[Violation]()
    for recovery in evidence.recoveries:
        by_status = defaultdict[str, list[str]](list)
        for job_id, stood in recovery.stood.items():
            by_status[stood.status].append(job_id)
        told = [_told(evidence, recovery, status, by_status[status]) for status in sorted(by_status)]
        texts.append(f"{recovery.what}: {', '.join(told) or 'nothing was under way'}")
        found += _stuck(recovery)
        found += _late(evidence, recovery)
    return Measured("; ".join(texts), found)


def replaced(evidence: Evidence) -> Measured:
    """A worker that takes no messages is noticed and ends; the diary tells when it was started again."""
    deaf_at = min(deed.at for deed in evidence.diary if deed.what == DEAF)
    again = [deed.at - deaf_at for deed in evidence.diary if deed.what.endswith(f"after status {DEAF_EXIT}")]
    if not again:
        return Measured("", [Violation(LATE, "workers that took no messages were never replaced")])
    late = [Violation(LATE, f"a deaf worker was replaced after {took_s:.0f} s") for took_s in again]
    told = f"deaf workers replaced after {', '.join(f'{took_s:.0f}' for took_s in again)} s"
    return Measured(told, late if min(again) > REPLACED_S else [])


def resumed(evidence: Evidence) -> Measured:
    """After the key works again, creates go on by themselves."""
    back_at = next(deed.at for deed in evidence.diary if deed.what == KEY_BACK)
    sent = [row.sent_at.timestamp() for rows in evidence.interactions.values() for row in rows if row.sent_at]
    took_s = min((at - back_at for at in sent if at > back_at), default=float("inf"))
    late = [Violation(LATE, f"the first create came {took_s:.0f} s after the key worked again")]
    return Measured(f"creates went on {took_s:.0f} s after the key worked again", late if took_s > RESUMED_S else [])


def witnessed(evidence: Evidence) -> Measured:
    """No bar, but how much of what endpoints were owed nobody can doubt, and what their operators did."""
    wants = [wanted for _, _, wanted in endpoint_books.owed(evidence) if wanted != {False}]
    surely = sum(wanted == {True} for wanted in wants)
    acts, disabled = evidence.registered.acts, Counter(one.reason for one in evidence.registered.sights)
    texts = [f"{surely:,} deliveries owed to endpoints, {len(wants) - surely} perhaps"]
    texts.append(f"{len(acts)} acts, {sum(act.is_open for act in acts)} of them unanswered")
    texts.append(f"disabled {disabled[GONE]} times by 410, {disabled[OWNER]} by operators")
    missed = [Violation(LATE, "nothing was certainly owed to any endpoint")]
    return Measured("; ".join(texts), [] if surely else missed)


def _told(evidence: Evidence, recovery: Recovery, status: str, names: list[str]) -> str:
    over_s = max(_over_s(evidence.jobs[job_id], recovery) for job_id in names)
    moved_s = max(recovery.late_s(job_id) for job_id in names)
    return f"{len(names)} {status} moved within {max(0.0, moved_s):.1f} s, ended by D {over_s:+.1f} s"


def _stuck(recovery: Recovery) -> Iterator[Violation]:
    most_s = MOVES_S[recovery.what]
    for job_id, stood in recovery.stood.items():
        late_s = recovery.late_s(job_id)
        if late_s > most_s:
            yield Violation(LATE, f"{job_id}, {stood.status} at {recovery.what}, moved {late_s:.1f} s after it")


def _late(evidence: Evidence, recovery: Recovery) -> Iterator[Violation]:
    for job_id, stood in recovery.stood.items():
        more_s = RECOVERY_S + (CREATING_S if stood.status in CREATING else 0)
        over_s = _over_s(evidence.jobs[job_id], recovery)
        if over_s > more_s:
            yield Violation(
                LATE, f"{job_id}, {stood.status} at {recovery.what}, ended D + {over_s:.1f} s: over D + {more_s:g} s"
            )


def _over_s(job: Job, recovery: Recovery) -> float:
    return (job.finished_at or datetime.now(UTC)).timestamp() - recovery.at - LONGEST_S
