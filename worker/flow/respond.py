"""Respond: a job's owner answers the function calls that it waits for, and its next turn begins with the answers.

All of it is one guarded move to `queued`: of several answers one is taken, and nothing is sent from here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson
from sqlmodel import Session

from worker.context import Context
from worker.errors import MAX_FAULTS, Conflict, Fault, Invalid, NightdeskError, NotFound
from worker.flow import chain, limits, owned, submit, turns, wake
from worker.flow.draft import unknown_field
from worker.flow.quota import Quota
from worker.flow.submit import Accepted, Order
from worker.gemini import request
from worker.gemini.references import references_of
from worker.gemini.result import RESULTS
from worker.gemini.rules import FIELDS
from worker.models import Job
from worker.states import Status
from worker.store import audit, jobs, moves, submissions
from worker.telemetry import step

INPUT = "input"
MAX_TURNS = 1000
"""Each turn keeps its request and its result: a program that never stops calling functions must not fill the disk."""

OWN = frozenset({"model", "agent", *turns.OF_ONE_TURN})
"""What a turn has from its job, whatever else it is asked with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request that answers a job's open function calls: `fields` holds the results as its `input`.

    The rest of the next turn's request is what the present one was asked with. Only for an adopted job, whose request
    is not known here, may other fields be given, too, and where `is_whole` says that they are all there is to ask.
    """

    order: Order
    job_id: str
    fields: Mapping[str, Any] = field(repr=False)
    is_whole: bool = False
    is_admin: bool = False
    """Whether it may name files that nobody is known to have uploaded."""


def respond(context: Context, asked: Asked) -> Accepted:
    """Let the job go on; raises NotFound, Conflict, Invalid, IdempotencyReused, Gone, QuotaExceeded."""
    with step("job.respond", job_id=asked.job_id) as line:
        try:
            accepted = _take(context, asked)
        except NightdeskError:
            # A replay is answered as the first time, though the job has gone on since.
            with context.database.read() as session:
                held = submit.replay(session, asked.order)
            if held is None:
                raise
            accepted = held
        job = accepted.jobs[0]
        line.update(turn=job.turn, outcome="replayed" if accepted.replayed else str(job.status))
    if not accepted.replayed:
        wake.moved(context, accepted.jobs)
    return accepted


def _take(context: Context, asked: Asked) -> Accepted:
    with context.database.read() as session:
        job = jobs.get(session, asked.job_id, asked.order.project_id)
        body = jobs.body(session, asked.job_id, job.turn) if job else None
    if job is None:
        raise NotFound("no such job")
    _check(job)
    following = _following(asked, job, orjson.loads(body or b"{}"))
    _check_names(context, asked)
    return _write(context, asked.order, job, following)


def _check_names(context: Context, asked: Asked) -> None:
    """What is named now must be the project's own; what the job was asked with before stays allowed."""
    named = references_of(asked.fields, context.settings.gemini)
    with context.database.read() as session:
        holders = owned.owners(session, named)
    owned.check(named, holders, asked.order.project_id, may_name_unknown=asked.is_admin)


def _check(job: Job) -> None:
    if job.status != Status.REQUIRES_ACTION:
        raise Conflict(f"the job is {job.status}")
    if job.turn >= MAX_TURNS:
        raise Conflict(f"the job is {job.status} and has had {MAX_TURNS} turns, which is the most")


def _following(asked: Asked, job: Job, before: Mapping[str, Any]) -> dict[str, Any]:
    """The next turn's request; raises Invalid with what is wrong in what was given now."""
    given = asked.fields.get(INPUT)
    others = {name: value for name, value in asked.fields.items() if name != INPUT}
    faults = [] if asked.is_whole else list(islice(_astray(job, others), MAX_FAULTS))
    faults += islice(_results(job, given), MAX_FAULTS)
    others = {name: value for name, value in others.items() if name not in OWN}
    base = others if asked.is_whole else {**before, **others}
    body = turns.following(base, job, environment_id=job.environment_id, input=given)
    try:
        request.validate({**body, job.kind: job.target})
    except Invalid as error:
        told = {fault.pointer for fault in faults}
        # The job's own request was judged when it was submitted.
        faults += [one for one in error.faults if one.pointer not in told and _field(one) in asked.fields]
    if faults:
        raise Invalid(*faults[:MAX_FAULTS])
    return body


def _field(fault: Fault) -> str:
    return fault.pointer.removeprefix("/").partition("/")[0]


def _astray(job: Job, others: Mapping[str, Any]) -> Iterator[Fault]:
    """Fields that have no place beside the results."""
    for name in others:
        if name not in FIELDS:
            yield unknown_field(name, {INPUT})
        elif name in OWN:
            yield Fault(f"/{name}", "is the job's own: leave it out")
        elif not job.is_adopted:
            yield Fault(f"/{name}", "is asked again as it was: leave it out")


def _results(job: Job, given: Any) -> Iterator[Fault]:
    """One result is owed for each open call, and nothing else."""
    if not isinstance(given, list):
        yield Fault(f"/{INPUT}", "must be a list of function results")
        return
    calls = {call["id"]: call["name"] for call in (job.required_action or {}).get("function_calls", ())}
    answered = set[str]()
    for place, item in enumerate(given):
        if not isinstance(item, dict):
            continue
        name = item.get("call_id")
        if item.get("type") not in RESULTS:
            yield Fault(f"/{INPUT}/{place}/type", "must be function_result, or tool_search_result")
        elif not isinstance(name, str) or name not in calls:
            yield Fault(f"/{INPUT}/{place}/call_id", "is not the id of an open call")
        elif name in answered:
            yield Fault(f"/{INPUT}/{place}/call_id", "is answered twice")
        else:
            answered.add(name)
    for name in calls:
        if name not in answered:
            yield Fault(f"/{INPUT}", f"has no result for the call {name} of {calls[name]}"[:500])


def _write(context: Context, order: Order, seen: Job, body: Mapping[str, Any]) -> Accepted:
    """One transaction for the key, the move and the next turn's request; raises Conflict for whoever comes second."""
    now = context.clock()
    with context.database.write() as session:
        if order.key is not None:
            held = submissions.reserve(session, submit.reservation(order, order.key, [seen.id], now))
            if held is not None:
                return submit.held_by(session, order, held)
        Quota(limits.usual(context.settings)).check_tokens(session, seen.project_id, now)
        _check_again(session, seen)
        values = chain.queued(seen, now) | {"turn": seen.turn + 1, "attempt": 1}
        sources = {Status.REQUIRES_ACTION}
        job = moves.move(session, seen.id, sources=sources, target=Status.QUEUED, now=now, values=values)
        assert job is not None, "the row is locked"
        turns.write(session, job, body)
        audit.note(session, order.by, audit.RESPONDED, project_id=job.project_id, subject=job.id, now=now)
    return Accepted([job])


def _check_again(session: Session, seen: Job) -> None:
    """The row, kept from here on, must still ask what was answered: it may have gone on meanwhile, and ask anew."""
    job = jobs.locked(session, seen.id)
    if job is None:
        raise NotFound("no such job")
    if (job.status, job.turn) != (seen.status, seen.turn):
        raise Conflict(f"the job is {job.status}: these calls were answered already, or ended with it")
