"""Gates of the upstream: what a refusal closes, who may try again first, and what opens it."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache
from math import inf
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlmodel import Session

from worker.context import Context
from worker.errors import UpstreamError
from worker.flow import limits
from worker.flow.wake import HINT
from worker.models import Gate, Job
from worker.retry import REFUSED
from worker.store import gates, jobs, starts
from worker.store.gates import UNAUTHENTICATED
from worker.telemetry import count, log

FULL = timedelta(seconds=1)
"""How long a job rests that found its target full."""

PROBE = timedelta(seconds=30)
MAX_RETRY_AFTER_S = 3600.0
POLL_GATE_S = (5.0, 60.0)

PAYMENT, QUOTA, THROTTLED, UNAVAILABLE = "payment_required", "quota_exceeded", "throttled", "unavailable"
KEY_REASONS = {401: UNAUTHENTICATED, 403: UNAUTHENTICATED, 402: PAYMENT}


class Wanted(NamedTuple):
    """What a job that shall be started takes a place of."""

    target: str
    project_id: str


def admit(context: Context, session: Session, wanted: Mapping[str, Wanted], now: datetime) -> list[str]:
    """Those of the jobs that may be started now; the others are looked at again shortly."""
    targets = sorted({one.target for one in wanted.values()})
    left, of_project = _room(context, session, targets, {one.project_id for one in wanted.values()})
    closed = {gate.target: gate for gate in gates.get(session, (gates.KEY, *targets)) if _is_closed(gate, now)}
    for name, gate in closed.items():
        # Half open: where a gate's time is over, one job goes first.
        left[name] = min(left[name], 0 if gates.is_shut(gate, now) else 1)
    admitted = []
    for job_id, (target, project_id) in wanted.items():
        if left[gates.KEY] > 0 and left[target] > 0 and of_project.get(project_id, 1) > 0:
            admitted.append(job_id)
            left[gates.KEY] -= 1
            left[target] -= 1
            if project_id in of_project:
                of_project[project_id] -= 1
    admitted = _through(context, session, {name: wanted[name].target for name in admitted}, closed, now)
    held = wanted.keys() - set(admitted)
    is_shut = gates.KEY in closed
    shut = {name for name in held if is_shut or wanted[name].target in closed}
    # Never longer: a gate may be opened at any moment, and only open ones are hinted.
    starts.hold(session, shut, now + HINT)
    # Not at once: the catalog may count them to another target than the one by which they are picked.
    starts.hold(session, held - shut, now + FULL)
    return admitted


def _is_closed(gate: Gate, now: datetime) -> bool:
    return gate.reason is not None or gates.is_shut(gate, now)


def _through(
    context: Context, session: Session, chosen: Mapping[str, str], closed: Mapping[str, Gate], now: datetime
) -> list[str]:
    """Take the one try of each half-open gate that a chosen job passes; gives back the jobs that nobody forestalled."""
    lease = now + timedelta(seconds=context.settings.claim_start_s)
    # The key's gate first, as everywhere: whoever locks two in another order could wait for ever.
    names = [name for name in (gates.KEY, *sorted(set(chosen.values()))) if name in closed] if chosen else []
    lost = {name for name in names if not gates.try_once(session, name, now=now, until=lease)}
    passing = [job_id for job_id, target in chosen.items() if not lost & {gates.KEY, target}]
    if lost and not passing:
        gates.half_open(session, set(names) - lost, now=now, before=now)
    return passing


def _room(
    context: Context, session: Session, targets: Sequence[str], project_ids: Collection[str]
) -> tuple[dict[str, float], dict[str, float]]:
    """How many more may be in flight, in all and of each target, and of each limited project: counted from rows.

    Under the gates' locks, so that the limits hold between workers.
    """
    in_all, of_each = context.settings.max_in_flight, context.settings.max_in_flight_per_target
    limited = limits.in_flight(session, project_ids, context.settings.max_in_flight_per_project)
    left = dict.fromkeys((gates.KEY, *targets), inf)
    if in_all is not None or of_each is not None or limited:
        gates.lock(session, gates.KEY)
    if in_all is not None:
        left[gates.KEY] = in_all - jobs.in_flight(session)
    if of_each is not None:
        left |= {target: of_each - jobs.in_flight(session, target) for target in targets}
    return left, limits.room(session, limited)


def refused(
    context: Context, session: Session, target: str, error: UpstreamError, *, sent_at: datetime, now: datetime
) -> None:
    """Close what the refusal speaks of."""
    reason = UNAVAILABLE
    if error.status in KEY_REASONS:
        target, reason = gates.KEY, KEY_REASONS[error.status]
    elif error.status == 429:
        reason = QUOTA if error.code == QUOTA else THROTTLED
        count("nightdesk_throttled_total", call="create")
    gate = gates.lock(session, target)
    # Creates that were under way together are refused together: that is one refusal.
    is_echo = gate.closed_at is not None and gate.closed_at >= sent_at
    closings = gate.closings - is_echo
    until = _until(context, error, reason, closings, now)
    if is_echo and gate.closed_until is not None and gate.closed_until >= until:
        return
    gates.close(session, target, reason=reason, until=until, now=now, closings=closings + 1)
    count("nightdesk_gate_closings_total", reason=reason)
    log.warning("gate", outcome="closed", target=target, reason=reason, until=until.isoformat())


def _until(context: Context, error: UpstreamError, reason: str, closings: int, now: datetime) -> datetime:
    if reason in {UNAUTHENTICATED, PAYMENT}:
        return now + PROBE
    if reason == QUOTA:
        return next_quota_day(now)
    if error.retry_after_s is not None:
        return now + timedelta(seconds=min(error.retry_after_s, MAX_RETRY_AFTER_S))
    return REFUSED.next_time(closings, now, context.chance())


def next_quota_day(now: datetime) -> datetime:
    """When daily quotas are reset: the next midnight in California (`upstream.md` 8)."""
    zone = _pacific()
    local = now.astimezone(zone)
    # Wall-clock arithmetic: the day on which clocks change has 23 hours or 25.
    return (datetime(local.year, local.month, local.day, tzinfo=zone) + timedelta(days=1)).astimezone(UTC)


@cache
def _pacific() -> tzinfo:
    try:
        return ZoneInfo("America/Los_Angeles")
    except ZoneInfoNotFoundError:
        # A machine without a time zone database: an hour late in summer is better than no service.
        return timezone(timedelta(hours=-8))


def passed(session: Session, started: Collection[Job]) -> None:
    """Creates were accepted: open what was closed before they were sent."""
    sent_at = {job.target: job.sent_at for job in sorted(started, key=_sent) if job.sent_at is not None}
    if not sent_at:
        return
    sent_at[gates.KEY] = max(sent_at.values())
    # The key's gate first, as everywhere.
    for gate in sorted(gates.get(session, sent_at), key=lambda gate: (gate.target != gates.KEY, gate.target)):
        if gate.reason is not None and gates.open_(session, (gate.target,), before=sent_at[gate.target]):
            log.info("gate", outcome="opened", target=gate.target)


def _sent(job: Job) -> datetime:
    return job.sent_at or job.created_at


def unproven(session: Session, target: str, *, sent_at: datetime, now: datetime) -> None:
    """A create was rejected for itself: whether a closed gate's cause has gone, the next job shall find out."""
    closed = [gate.target for gate in gates.get(session, (gates.KEY, target)) if gate.reason is not None]
    gates.half_open(session, closed, now=now, before=sent_at)


def throttle_polls(context: Context, retry_after_s: float | None) -> datetime:
    """A poll was answered 429: ask nothing for a while; gives back until when."""
    now = context.clock()
    low, high = POLL_GATE_S
    until = now + timedelta(seconds=min(max(retry_after_s or low, low), high))
    with context.database.write() as session:
        gates.close(session, gates.POLL, reason=THROTTLED, until=until, now=now, closings=1)
    count("nightdesk_throttled_total", call="poll")
    return until


def polls(context: Context) -> Gate | None:
    """The gate of polling, if it was ever closed."""
    with context.database.read() as session:
        return next(iter(gates.get(session, (gates.POLL,))), None)


def unthrottle_polls(context: Context) -> None:
    """Polls are answered again."""
    with context.database.write() as session:
        gates.open_(session, (gates.POLL,), before=context.clock())


def probe(context: Context) -> None:
    """While the key is refused, ask for free now and then whether it works again."""
    now = context.clock()
    with context.database.read() as session:
        closed = [gate for gate in gates.get(session, (gates.KEY,)) if gate.reason == UNAUTHENTICATED]
    if not closed or (closed[0].closed_until or now) > now:
        return
    with context.database.write() as session:
        if not gates.try_once(session, gates.KEY, now=now, until=now + PROBE):
            return
    answer = context.gemini.probe()
    if answer.key_works:
        with context.database.write() as session:
            gates.open_(session, (gates.KEY,), before=now)
    log.info("gate", outcome="opened" if answer.key_works else "still_closed", target=gates.KEY)
