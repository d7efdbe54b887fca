"""The books: rules that must hold after any run, whatever was done. Each rule yields what breaks it.

Every rule compares accounts of different parties, so that no part of the service vouches for itself.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from typing import Any

from tests.chaos import receiver
from tests.chaos.evidence import Evidence
from tests.chaos.interaction import sources, text, words
from worker.dev.simulator.record import ENDED
from worker.models import Event, Interaction, Job
from worker.states import DEFAULT_EVENTS, EVENTS, TERMINAL, Status

LOST, EVENT, CREATE, DELIVERY, RESULT, ENDING, STUCK, HTTP = (
    "lost",
    "event",
    "create",
    "delivery",
    "result",
    "ending",
    "stuck",
    "http",
)
OVERDUE = timedelta(seconds=10)
LONG_AGO = datetime.min.replace(tzinfo=UTC)
QUEUE_MOST = 100
"""Messages in one queue, however many jobs wait: a hint is sent only where one is missing."""

LEFT_MOST = 4
MAY_STILL_RUN = "upstream_may_still_run"
TERMINAL_EVENTS = frozenset(EVENTS[status] for status in TERMINAL)


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Terms:
    """What a scenario allows beside completion: error codes of failed jobs, other terminal statuses."""

    errors: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()

    def beside(self, errors: Iterable[str] = (), statuses: Iterable[str] = ()) -> "Terms":
        """These, and more."""
        return Terms(self.errors | set(errors), self.statuses | set(statuses))


Found = Iterator[Violation]


def check(evidence: Evidence, terms: Terms) -> list[Violation]:
    """Everything that does not hold."""
    found = [violation for rule in RULES for violation in rule(evidence)]
    return found + list(endings(evidence, terms))


def nothing_is_lost(evidence: Evidence) -> Found:
    """Every job answered 202 is there and has ended; no job is there that nobody was told of."""
    for job_id in evidence.accepted:
        job = evidence.jobs.get(job_id)
        if job is None:
            yield Violation(LOST, f"{job_id} was answered 202 and does not exist")
        elif job.status not in TERMINAL:
            yield Violation(LOST, f"{job_id} is {job.status}, due {job.due_at}, claim {job.claim}")
    for job_id in evidence.jobs.keys() - evidence.accepted.keys():
        yield Violation(CREATE, f"{job_id} belongs to no order that was answered: a retried POST made a second job")
    for order in evidence.orders:
        if order.job_ids and order.replayed_ids not in ([], order.job_ids):
            yield Violation(CREATE, f"order {order.number} was sent twice at once and gave other jobs")
    for fault in evidence.faults:
        yield Violation(HTTP, fault)


def events_tell_one_story(evidence: Evidence) -> Found:
    """Sequences without a gap, one terminal event, the last, of the job's own status."""
    for job in evidence.jobs.values():
        told = evidence.events.get(job.id, [])
        if [event.sequence for event in told] != list(range(1, job.sequence + 1)):
            yield Violation(EVENT, f"{job.id} has the sequences {[event.sequence for event in told]} of {job.sequence}")
        ends = [event.type for event in told if event.type in TERMINAL_EVENTS]
        if job.status in TERMINAL and (ends != [EVENTS[Status(job.status)]] or told[-1].type != ends[0]):
            yield Violation(EVENT, f"{job.id} is {job.status} and has the terminal events {ends}")


def streams_tell_every_event(evidence: Evidence) -> Found:
    """Whoever followed a job by its event stream, however often cut off, saw each event once and in order."""
    for job_id, seen in evidence.streamed.items():
        if seen != [(event.sequence, event.type) for event in evidence.events.get(job_id, [])]:
            yield Violation(EVENT, f"the stream of {job_id} told {seen}")


def every_event_arrives(evidence: Evidence) -> Found:
    """Each event that somebody subscribed to came to each receiver that lives, verified, under its own id alone."""
    arrived = Counter(line["webhook_id"] for line in evidence.received if line["verified"])
    names: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
    for line in evidence.received:
        names[line["job_id"], line["sequence"]].add(line["webhook_id"])
    for job in evidence.jobs.values():
        for event in evidence.events.get(job.id, []):
            yield from _arrival(evidence, job, event, arrived[event.id])
            if names[job.id, event.sequence] - {event.id}:
                yield Violation(DELIVERY, f"{event.type} of {job.id} came under several ids")
        yield from _unheard(evidence, job)
    known = {event.id: event for events in evidence.events.values() for event in events}
    for line in evidence.received:
        found = known.get(line["webhook_id"])
        if not line["verified"] or found is None or not _is_meant(evidence.jobs.get(found.job_id), line):
            yield Violation(DELIVERY, f"a webhook of {line['job_id']} to {line['manner']} that must not be")
        elif found.payload is None or sha256(found.payload).hexdigest() != line["digest"]:
            yield Violation(DELIVERY, f"{found.type} of {line['job_id']} came with other bytes than were written")


def _is_meant(job: Job | None, line: Mapping[str, Any]) -> bool:
    """Whether it came to the URL of its job."""
    path = f"/{line['tenant']}/{line['manner']}"
    return job is not None and job.id == line["job_id"] and (job.webhook_url or "").endswith(path)


def _unheard(evidence: Evidence, job: Job) -> Found:
    """Whoever gave a URL hears of the end, whatever the service thinks that it was given."""
    url = evidence.bodies_ordered.get(job.id, {}).get("webhook_url")
    heard = [event for event in evidence.events.get(job.id, []) if event.payload is not None]
    if job.webhook_url != url:
        yield Violation(DELIVERY, f"{job.id} was given another webhook_url than it has")
    if url and job.status in TERMINAL and EVENTS[Status(job.status)] not in {event.type for event in heard}:
        yield Violation(DELIVERY, f"{job.id} is {job.status} and nobody was to be told")


def _arrival(evidence: Evidence, job: Job, event: Event, times: int) -> Found:
    rows = [row for row in evidence.deliveries.get(event.id, []) if row.endpoint_id is None]
    is_owed = bool(job.webhook_url) and event.type in DEFAULT_EVENTS
    if len(rows) != is_owed:
        yield Violation(DELIVERY, f"{event.type} of {job.id} has {len(rows)} deliveries")
    if len(rows) != 1:
        return
    is_live = (job.webhook_url or "").rsplit("/", 1)[-1] in receiver.LIVE
    if is_live and (times == 0 or rows[0].status != "delivered"):
        yield Violation(DELIVERY, f"{event.type} of {job.id} came {times} times and is {rows[0].status}")
    if not is_live and (rows[0].status == "delivered" or rows[0].attempts == 0):
        yield Violation(DELIVERY, f"{event.type} of {job.id} is {rows[0].status} after {rows[0].attempts} attempts")


def nothing_is_bought_twice(evidence: Evidence) -> Found:
    """No run upstream without its row, one row for each attempt, one run at most where a lost answer is final."""
    for one in evidence.made[""]:
        yield Violation(CREATE, f"{one['id'][-12:]} runs upstream for no job")
    for job in evidence.jobs.values():
        made, rows = evidence.made[job.id], evidence.interactions.get(job.id, [])
        if len(made) > len(rows):
            yield Violation(CREATE, f"{job.id}: {len(made)} created upstream, {len(rows)} rows")
        if job.on_unknown_create == "fail" and len(made) > job.turn + sum(row.status == "failed" for row in rows[:-1]):
            yield Violation(CREATE, f"{job.id}: {len(made)} created under `fail`")
        is_first = (job.turn, job.attempt) == (1, 1)
        if job.on_unknown_create == "fail" and is_first and evidence.posts.get(job.id, 0) > 1 + job.refusals:
            yield Violation(CREATE, f"{job.id}: {evidence.posts[job.id]} POSTs under `fail`, {job.refusals} refused")
        if job.status == Status.COMPLETED and not made:
            yield Violation(CREATE, f"{job.id} completed and nothing was created for it")
        attempts = Counter(row.turn for row in rows)
        is_doubled = len({(row.turn, row.attempt) for row in rows}) < len(rows)
        if is_doubled or max(attempts.values(), default=0) > max(job.max_attempts, 2):
            yield Violation(CREATE, f"{job.id}: {len(rows)} POSTs for {job.attempt} attempts at turn {job.turn}")
        yield from _reasons(job, rows)
        yield from _strangers(evidence, job, rows)


def _reasons(job: Job, rows: list[Interaction]) -> Found:
    """Every POST but the last had its answer lost, or its run failed upstream, or it asked and was answered."""
    for row, later in pairwise(rows):
        is_answered = row.status == "requires_action" and later.turn == row.turn + 1
        if row.upstream_id is not None and not row.orphan and row.status != "failed" and not is_answered:
            yield Violation(CREATE, f"{job.id} was bought again after attempt {row.attempt} was {row.status}")


def _strangers(evidence: Evidence, job: Job, rows: list[Interaction]) -> Found:
    """Runs that no row knows are behind lost answers; runs that a row knows do not outlive their job."""
    named = {row.upstream_id for row in rows}
    strangers = [one for one in evidence.made[job.id] if one["id"] not in named]
    lost = [row for row in rows if row.upstream_id is None and row.sent_at is not None]
    if len(strangers) > len(lost):
        yield Violation(CREATE, f"{job.id}: {len(strangers)} unknown runs, {len(lost)} lost answers")
    for one in evidence.made[job.id]:
        is_left = one["id"] in named and one["status"] not in ENDED and job.status in TERMINAL
        if is_left and MAY_STILL_RUN not in job.notes:
            yield Violation(CREATE, f"{job.id} is {job.status} and its run goes on upstream")


def answers_count_once(evidence: Evidence) -> Found:
    """A job that asked was answered once each time: so many turns, so many events, so many runs that ended so."""
    for job in evidence.jobs.values():
        told = [event.type for event in evidence.events.get(job.id, [])].count(EVENTS[Status.REQUIRES_ACTION])
        asked = sum(row.status == "requires_action" for row in evidence.interactions.get(job.id, []))
        owed = evidence.accepted[job.id].answers if job.id in evidence.accepted else 0
        if job.status == Status.COMPLETED and (job.turn, told, asked) != (owed + 1, owed, owed):
            yield Violation(
                CREATE, f"{job.id} asked {told} times in {job.turn} turns, {asked} runs did, {owed} ordered"
            )


def results_are_the_upstreams(evidence: Evidence) -> Found:
    """What a completed job shows, and what its webhook said, is what the upstream tells of its interaction."""
    ends = [line for line in evidence.received if line["type"] == "job.completed" and not line["truncated"]]
    said = {line["job_id"]: line["output_text"] for line in ends}
    for job in evidence.jobs.values():
        if job.status != Status.COMPLETED:
            continue
        told = words(text(evidence.bodies.get(str(job.interaction_id), {})))
        shown = evidence.shown.get(job.id, {}).get("output_text")
        if not told or words(shown) != told:
            yield Violation(RESULT, f"{job.id} shows another text than its interaction")
        if job.id in said and words(said[job.id]) != told:
            yield Violation(RESULT, f"the webhook of {job.id} tells another text than its interaction")
        cited = {citation["url"] for citation in evidence.shown.get(job.id, {}).get("citations") or []}
        if cited != sources(evidence.bodies.get(str(job.interaction_id), {})):
            yield Violation(RESULT, f"{job.id} shows other citations than its interaction")


def nothing_is_held_for_ever(evidence: Evidence) -> Found:
    """No claim is left, nothing is long overdue, no queue has grown."""
    for job in evidence.jobs.values():
        if job.status in TERMINAL and (job.claim or job.due_at):
            yield Violation(STUCK, f"{job.id} has ended and is still claimed or due")
    for deliveries in evidence.deliveries.values():
        for one in deliveries:
            if one.status != "pending" and (one.claim or (one.due_at and one.status != "held")):
                yield Violation(STUCK, f"a delivery of {one.job_id} is {one.status} and still claimed or due")
            is_waiting = one.endpoint_id is not None and one.due_at is None
            if one.status == "pending" and not is_waiting and (one.due_at or LONG_AGO) < evidence.now - OVERDUE:
                yield Violation(STUCK, f"a delivery of {one.job_id} is overdue since {one.due_at}")
    if sum(evidence.backlog.values()) > LEFT_MOST:
        yield Violation(STUCK, f"messages are left in the queues: {dict(evidence.backlog)}")
    if max(evidence.longest.values(), default=0) > QUEUE_MOST:
        yield Violation(STUCK, f"queues have grown: {dict(evidence.longest)}")


def answers_are_documented(evidence: Evidence) -> Found:
    """The API fails with 503 `unavailable` and nothing else, and refuses nothing that is right."""
    for one in evidence.heard:
        is_failure = one.status >= 500 and (one.status, one.code) != (503, "unavailable")
        if is_failure or one.status in {400, 401, 403, 404, 405, 410, 413, 429}:
            yield Violation(HTTP, f"{one.call} was answered {one.status} {one.code}")


def endings(evidence: Evidence, terms: Terms) -> Found:
    """Every job completed, or ended otherwise for a reason that the scenario gives."""
    for job in evidence.jobs.values():
        if job.status in TERMINAL - {Status.COMPLETED} and not _is_explained(evidence, job, terms):
            code = (job.error or {}).get("code")
            yield Violation(ENDING, f"{job.id} ({job.kind}, {job.on_unknown_create}) ended {job.status} {code}")


def _is_explained(evidence: Evidence, job: Job, terms: Terms) -> bool:
    if job.status == Status.CANCELLED:
        return evidence.accepted[job.id].was_cancelled
    if job.status != Status.FAILED:
        return job.status in terms.statuses
    code = str((job.error or {}).get("code"))
    if code == "previous_job_failed":
        return evidence.jobs[job.previous_job_id or ""].status != Status.COMPLETED
    if code == "create_unconfirmed":
        rows = evidence.interactions.get(job.id, [])
        is_lost = bool(rows) and rows[-1].sent_at is not None and (rows[-1].upstream_id is None or rows[-1].orphan)
        return is_lost and code in terms.errors
    return code in terms.errors


RULES: tuple[Callable[[Evidence], Found], ...] = (
    nothing_is_lost,
    events_tell_one_story,
    streams_tell_every_event,
    every_event_arrives,
    nothing_is_bought_twice,
    answers_count_once,
    results_are_the_upstreams,
    nothing_is_held_for_ever,
    answers_are_documented,
)
