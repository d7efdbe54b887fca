"""Start: claim queued jobs, create each one's interaction with exactly one POST, record what came of it.

One round serves all that waits: groups of jobs are claimed and marked together, their POSTs go out side by side, and
answers that come together are recorded together.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic, perf_counter
from typing import Any

import orjson
from sqlmodel import Session

from worker import ids
from worker.context import Context
from worker.errors import CreateLost, Invalid, Unavailable, UpstreamError
from worker.flow import attempt, gate, unconfirmed, wake
from worker.flow.attempt import Attempt
from worker.flow.end import failure
from worker.flow.line import Line
from worker.gemini.client import Created
from worker.gemini.request import CreateRequest, build
from worker.models import Job
from worker.states import Status
from worker.store import interactions, jobs, moves, starts
from worker.store.moves import Step
from worker.store.starts import Waiting
from worker.telemetry import crashed, log, observe, tell

AT_ONCE = 32
"""Creates that may be under way in one process: what its sudden death can leave unconfirmed."""

GROUP_S = 0.03
"""How long an answer waits for company before it is recorded."""

RUN_S = 20.0
SHOWN = 20
"""Outcomes that a round gives back for Flower to show."""


class Unsent(Exception):
    """Nothing was sent: for the fault that it holds, or without one because it was too late."""

    def __init__(self, fault: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.fault = fault


Outcome = Created | UpstreamError | Unsent


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job, the token of its POST, the body to send, and what forbids to send it, if anything does."""

    job: Job
    token: str
    body: Mapping[str, Any]
    fault: dict[str, Any] | None
    since: float


@dataclass(frozen=True, slots=True)
class _Choice:
    """A waiting job with the target that the catalog, which may be newer than the job, gives it, or refuses it."""

    job: Waiting
    target: str
    substitutions: list[dict[str, str]]
    fault: dict[str, Any] | None = None


def run(context: Context, line: Line) -> dict[str, str]:
    """Start what is in line for about RUN_S; gives back the outcomes of the first SHOWN jobs, each in a word."""
    outcomes: dict[str, str] = {}
    under_way: dict[Future[Created], Claimed] = {}
    give_up = monotonic() + RUN_S
    with line.served():
        while True:
            is_over = monotonic() >= give_up or context.leaving.is_set()
            for claimed in [] if is_over else _next(context, line, AT_ONCE - len(under_way)):
                under_way[talk(context, claimed)] = claimed
            if under_way:
                outcomes |= record(context, _answered(under_way))
            elif is_over or line.leave():
                break
    if is_over:
        with suppress(Unavailable):
            wake.starts(context, 1)
    return dict(list(outcomes.items())[:SHOWN])


def _next(context: Context, line: Line, room: int) -> list[Claimed]:
    """The next jobs of the line, claimed and marked; none while the database does not answer."""
    try:
        names = line.next(room)
        return ready(context, names) if names else []
    except Unavailable:
        log.warning("job.start", outcome="database_unavailable")
        return []


def ready(context: Context, job_ids: Sequence[str]) -> list[Claimed]:
    """Claim those of the jobs that may be started now, and mark as sent those that nothing forbids to send."""
    claimed = claim(context, job_ids)
    hopeless = [one for one in claimed if one.fault is not None]
    return hopeless + mark_sent(context, [one for one in claimed if one.fault is None])


def claim(context: Context, job_ids: Sequence[str]) -> list[Claimed]:
    """Take those of the jobs whose gates are open and whose target has room."""
    now = context.clock()
    with context.database.write() as session:
        chosen = {job.id: _choose(context, job) for job in starts.waiting(session, job_ids)}
        admitted = gate.admit(context, session, {name: choice.target for name, choice in chosen.items()}, now)
        values = {"due_at": now + timedelta(seconds=context.settings.claim_start_s), "sent_at": None}
        steps = [Step(name, None, _taken(chosen[name])) for name in admitted]
        queued = {Status.QUEUED}
        taken = moves.move_all(session, steps, sources=queued, target=Status.STARTING, now=now, values=values)
        if not taken:
            return []
        interactions.add(session, taken, now)
        bodies = jobs.bodies(session, [(job.id, job.turn) for job in taken])
        return [_claimed(context, session, job, chosen[job.id], bodies.get(job.id)) for job in taken]


def _choose(context: Context, job: Waiting) -> _Choice:
    try:
        resolved = context.catalog.resolve(
            "agent" if job.kind == "agent" else "model", job.target, strict=job.strict_model
        )
    except Invalid as error:
        fault = failure("upstream_rejected", error.faults[0].detail, retryable=False)
        return _Choice(job, job.target, job.substitutions, fault)
    noted = [*job.substitutions, *(dict(one) for one in resolved.substitutions)]
    return _Choice(job, resolved.id, noted)


def _taken(choice: _Choice) -> dict[str, Any]:
    return {"claim": ids.token(), "target": choice.target, "substitutions": choice.substitutions}


def _claimed(context: Context, session: Session, job: Job, choice: _Choice, body: bytes | None) -> Claimed:
    token = job.claim or ""
    fields = orjson.loads(body or b"{}") | {job.kind: job.target} | unconfirmed.named(context, job, token)
    fault = choice.fault
    if job.previous_job_id and job.turn == 1:
        before = jobs.get(session, job.previous_job_id)
        fields["previous_interaction_id"] = before.interaction_id if before else None
        if fields["previous_interaction_id"] is None:
            fault = failure("previous_job_failed", "the previous job is gone", retryable=False)
    return Claimed(job, token, fields, fault, perf_counter())


def mark_sent(context: Context, claimed: Sequence[Claimed]) -> list[Claimed]:
    """Commit `sent_at` of those whose claim outlives the POST: from here on their interactions may exist."""
    now = context.clock()
    alive = [one for one in claimed if _outlives(context, one.job)]
    if not alive:
        return []
    with context.database.write() as session:
        held = starts.mark_sent(session, [(one.job.id, one.token) for one in alive], now)
        interactions.mark_sent(session, held, now)
    sent = [one for one in alive if one.token in held]
    lags = [(now - (one.job.run_at or one.job.created_at)).total_seconds() for one in sent]
    observe("nightdesk_start_latency_seconds", *lags)
    return sent


def _outlives(context: Context, job: Job) -> bool:
    lasts = timedelta(seconds=context.settings.talk_start_s)
    return job.due_at is not None and job.due_at >= context.clock() + lasts


def talk(context: Context, claimed: Claimed) -> Future[Created]:
    """Send the one POST, unless it is forbidden, or the process slept since and the claim no longer outlives it.

    The future gives the interaction, or raises UpstreamError or Unsent.
    """
    try:
        return context.gemini.create(_request(context, claimed))
    except (UpstreamError, Unsent) as error:
        failed: Future[Created] = Future()
        failed.set_exception(error)
        return failed


def _request(context: Context, claimed: Claimed) -> CreateRequest:
    if claimed.fault is not None:
        raise Unsent(claimed.fault)
    if not _outlives(context, claimed.job):
        raise Unsent
    try:
        return build(claimed.body)
    except Invalid:
        # What was valid at submission is not for this release.
        raise Unsent(failure("upstream_rejected", "the request cannot be built any more", retryable=False)) from None


def _answered(under_way: dict[Future[Created], Claimed]) -> list[tuple[Claimed, Outcome]]:
    """Wait for an answer, and a moment for its company."""
    wait(under_way, return_when=FIRST_COMPLETED)
    done, _ = wait(under_way, timeout=GROUP_S)
    return [(under_way.pop(future), outcome(future)) for future in done]


def outcome(future: Future[Created]) -> Outcome:
    """What a POST came to."""
    try:
        return future.result()
    except (UpstreamError, Unsent) as error:
        return error
    except (Exception, CancelledError) as error:  # noqa: BLE001 - recorded: nobody knows whether it was sent
        crashed("job.start", error)
        return CreateLost(f"create ended with {type(error).__name__}")


def record(context: Context, answered: Sequence[tuple[Claimed, Outcome]]) -> dict[str, str]:
    """Write down what came of these POSTs; gives back each job's outcome in a word."""
    made = [Attempt(one.job.id, one.token, came) for one, came in answered if isinstance(came, Created)]
    words = _attached(context, made)
    for one, came in answered:
        if not isinstance(came, Created):
            words[one.job.id] = _alone(context, one.job.id, _settled(context, one, came))
        job = one.job
        fields = {"job_id": job.id, "turn": job.turn, "attempt": job.attempt, "request_id": job.request_id}
        tell("job.start", one.since, **fields, outcome=words[job.id])
    return words


def _attached(context: Context, made: Sequence[Attempt]) -> dict[str, str]:
    """One interaction that cannot be recorded must not keep its neighbours from being so."""
    if not made:
        return {}
    names = [one.created.upstream_id for one in made]
    try:
        return attempt.recorded(context, lambda: attempt.attach(context, made), interaction_ids=names)
    except Unavailable:
        return dict.fromkeys((one.job_id for one in made), "not_recorded")
    except Exception as error:  # noqa: BLE001 - recorded, each alone
        crashed("job.start", error, interaction_ids=names)
        if len(made) == 1:
            return {made[0].job_id: "crashed"}
        return {name: word for one in made for name, word in _attached(context, [one]).items()}


def _settled(context: Context, one: Claimed, error: UpstreamError | Unsent) -> Callable[[], str]:
    if isinstance(error, UpstreamError):
        return attempt.failed(context, one.job, one.token, error)
    fault = error.fault
    if fault is None:
        return lambda: attempt.refused(context, one.job, one.token, None)
    return lambda: attempt.ended(context, one.job, one.token, fault)


def _alone(context: Context, job_id: str, settled: Callable[[], str]) -> str:
    try:
        return attempt.recorded(context, settled, job_id=job_id)
    except Unavailable:
        return "not_recorded"
    except Exception as error:  # noqa: BLE001 - recorded: its claim runs out
        crashed("job.start", error, job_id=job_id)
        return "crashed"
