"""Retention: how long the upstream keeps an interaction that others build on, and telling of its end in time.

What is built on one that is gone would be refused there: it is refused, or fails, here, and its owner hears why.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.context import Context
from worker.document import stamp
from worker.flow import chain, wake
from worker.states import Status
from worker.store import conversations, moments, moves

WARN_BEFORE, PART = timedelta(days=7), 5
"""A warning comes so long before the end, or when one part in so many of the retention is left, if that is later."""

TOLD = "the interaction that this job goes on from is kept upstream until "
GONE = "the previous job's interaction is past the upstream's retention"
EVERY = timedelta(minutes=5)
AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Retention:
    """How long interactions are kept after their end."""

    lasts: timedelta

    @property
    def warns_before(self) -> timedelta:
        """How long before the end it is told of."""
        return min(WARN_BEFORE, self.lasts / PART)

    def ends_at(self, since: datetime) -> datetime:
        """When an interaction that ended at `since` is gone."""
        return since + self.lasts

    def is_over(self, since: datetime | None, now: datetime) -> bool:
        """Whether it is gone; one that has not ended is not."""
        return since is not None and self.ends_at(since) <= now

    def notes(self, since: datetime | None, now: datetime) -> list[str]:
        """What a job that builds on it is told, if it is time to."""
        if since is None or now < self.ends_at(since) - self.warns_before:
            return []
        return [f"{TOLD}{stamp(self.ends_at(since))}: a start after that fails"]


def of(context: Context) -> Retention:
    """The retention of the account that the key belongs to."""
    return Retention(timedelta(days=context.settings.upstream_retention_days))


def watch(context: Context) -> None:
    """Note on jobs that wait that what they build on will be gone soon; fail scheduled ones whose is gone.

    A queued one fails when it is claimed.
    """
    now, kept = context.clock(), of(context)
    with context.database.write() as session:
        if not moments.win(session, moments.RETENTION, now=now, before=now - EVERY):
            return
        moved = chain.cascade(session, conversations.outwaited(session, now - kept.lasts, AT_ONCE), GONE, now)
        soon = now - kept.lasts + kept.warns_before
        for job, since in conversations.untold(session, soon, TOLD, AT_ONCE):
            values = {"notes": [*job.notes, *kept.notes(since, now)]}
            moves.change(session, job.id, statuses={Status(job.status)}, values=values)
    wake.moved(context, moved)
