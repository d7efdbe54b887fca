"""Claim: a group of queued jobs is taken for its creates, and marked as sent in the moment before they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate
from time import perf_counter
from typing import Any

import orjson

from worker import ids
from worker.context import Context
from worker.errors import Invalid
from worker.flow import gate, predecessor, unconfirmed
from worker.flow.end import failure
from worker.flow.gate import Wanted
from worker.models import Job
from worker.states import Status
from worker.store import interactions, jobs, moves, starts
from worker.store.moves import Step
from worker.store.starts import Waiting
from worker.telemetry import crashed, observe

BYTES_AT_ONCE = 32 * 1024 * 1024
"""The bodies of all creates that may be under way in one process."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job, the token of its POST, the body to send, and what forbids to send it, if anything does."""

    job: Job
    token: str
    body: Mapping[str, Any]
    fault: dict[str, Any] | None
    size: int
    since: float


@dataclass(frozen=True, slots=True)
class _Choice:
    """A waiting job with the target that the catalog, which may be newer than the job, gives it, or refuses it."""

    job: Waiting
    target: str
    substitutions: list[dict[str, str]]
    fault: dict[str, Any] | None = None


def ready(context: Context, job_ids: Sequence[str], room_bytes: int = BYTES_AT_ONCE) -> list[Claimed]:
    """Claim those of the jobs that may be started now, and mark as sent those that nothing forbids to send."""
    claimed = claim(context, job_ids, room_bytes)
    hopeless = [one for one in claimed if one.fault is not None]
    return hopeless + mark_sent(context, [one for one in claimed if one.fault is None])


def claim(context: Context, job_ids: Sequence[str], room_bytes: int = BYTES_AT_ONCE) -> list[Claimed]:
    """Take those of the jobs whose gates are open and whose target has room, as far as their bodies fit."""
    now = context.clock()
    with context.database.write() as session:
        waiting = starts.waiting(session, job_ids)
        near = _near(waiting, room_bytes)
        starts.hold(session, [job.id for job in waiting[len(near) :]], now)
        chosen = {job.id: choice for job in near if (choice := _choose(context, job)) is not None}
        wanted = {name: Wanted(choice.target, choice.job.project_id) for name, choice in chosen.items()}
        admitted = gate.admit(context, session, wanted, now)
        values = {"due_at": now + timedelta(seconds=context.settings.claim_start_s), "sent_at": None}
        steps = [Step(name, None, _taken(chosen[name])) for name in admitted]
        queued = {Status.QUEUED}
        taken = moves.move_all(session, steps, sources=queued, target=Status.STARTING, now=now, values=values)
        if not taken:
            return []
        interactions.add(session, taken, now)
        bodies = jobs.bodies(session, [(job.id, job.turn) for job in taken])
        befores = jobs.several(session, {job.previous_job_id for job in taken if job.previous_job_id})
    # The order in which the database gives rows back is none.
    taken.sort(key=lambda job: admitted.index(job.id))
    return [
        _claimed(context, job, chosen[job.id], bodies.get(job.id, b"{}"), befores.get(job.previous_job_id or ""))
        for job in taken
    ]


def _near(waiting: Sequence[Waiting], room_bytes: int) -> Sequence[Waiting]:
    """The first, and those after it whose bodies still fit."""
    sizes = accumulate(job.size for job in waiting)
    return [job for job, total in zip(waiting, sizes, strict=True) if total <= room_bytes or job is waiting[0]]


def _choose(context: Context, job: Waiting) -> _Choice | None:
    """What a job is to be started as; None: that cannot be told now, and its hint runs out."""
    try:
        resolved = context.catalog.resolve(job.kind, job.target, strict=job.strict_model)
    except Invalid as error:
        fault = failure("upstream_rejected", error.faults[0].detail, retryable=False)
        return _Choice(job, job.target, job.substitutions, fault)
    except Exception as error:  # noqa: BLE001 - recorded: one job must not hold up its neighbours
        crashed("job.start", error, job_id=job.id)
        return None
    noted = [*job.substitutions, *(dict(one) for one in resolved.substitutions)]
    return _Choice(job, resolved.id, noted)


def _taken(choice: _Choice) -> dict[str, Any]:
    return {"claim": ids.token(), "target": choice.target, "substitutions": choice.substitutions}


def _claimed(context: Context, job: Job, choice: _Choice, body: bytes, before: Job | None) -> Claimed:
    token, fault = job.claim or "", choice.fault
    fields = orjson.loads(body) | {job.kind: job.target} | unconfirmed.named(context, job, token)
    if job.previous_job_id and job.turn == 1:
        inherited, broken = predecessor.inherit(context, job, fields, before)
        fields |= inherited
        fault = fault or broken
    return Claimed(job, token, fields, fault, len(body), perf_counter())


def mark_sent(context: Context, claimed: Sequence[Claimed]) -> list[Claimed]:
    """Commit `sent_at` of those whose claim outlives the POST: from here on their interactions may exist."""
    now = context.clock()
    alive = [one for one in claimed if outlives(context, one.job)]
    if not alive:
        return []
    with context.database.write() as session:
        held = starts.mark_sent(session, [(one.job.id, one.token) for one in alive], now)
        interactions.mark_sent(session, held, now)
    sent = [one for one in alive if one.token in held]
    first = [one.job for one in sent if (one.job.turn, one.job.attempt) == (1, 1)]
    lags = [(now - (job.run_at or job.created_at)).total_seconds() for job in first]
    observe("nightdesk_start_latency_seconds", *lags)
    return sent


def outlives(context: Context, job: Job) -> bool:
    """Whether the claim of the job, as it was then, lasts for as long as a create may take."""
    lasts = timedelta(seconds=context.settings.talk_start_s)
    return job.due_at is not None and job.due_at >= context.clock() + lasts
