"""Settle: what an ended interaction means for its job. Media first, then one transaction with everything else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import orjson

from worker.context import Context
from worker.errors import ArtifactStoreError, ResultTooLarge, Unavailable
from worker.flow import owned, usage
from worker.flow.end import end, failure
from worker.flow.ending import RUNNING, Ending, decide, is_tried_again
from worker.flow.fetch import SlowError
from worker.flow.keep import Keeper
from worker.flow.usage import Spent
from worker.gemini.answer import Answer, AnswerKind
from worker.gemini.request import schemas_of, wants_json
from worker.gemini.result import UnreadableBodyError, read_outcome
from worker.gemini.usage import bounded, read_usage, total
from worker.models import Job
from worker.retry import SETTLE
from worker.states import Status
from worker.store import interactions, jobs, moves
from worker.store.claims import Polled
from worker.telemetry import count, crashed, tell

MAX_CRASHES = 20
"""With the backoff of SETTLE: how often, for about an hour, a result is tried that something unforeseen rejects."""


@dataclass(slots=True)
class _Case:
    """An ended interaction on its way to being settled, and what its one log line will tell."""

    row: Polled
    answer: Answer
    began: float = field(default_factory=perf_counter)
    ending: Ending | None = None
    is_slow: bool = False
    line: dict[str, Any] = field(default_factory=dict)


def settle(context: Context, claim: str, ended: Sequence[tuple[Polled, Answer]]) -> list[Job]:
    """Settle jobs whose interactions have ended; gives back who moved: not who lost a race or is to be tried again."""
    cases = [_Case(row, answer) for row, answer in ended]
    moved = []
    try:
        with context.database.read() as session:
            found = jobs.several(session, [case.row.id for case in cases])
            bodies = jobs.bodies(session, [(job.id, job.turn) for job in found.values()])
        keeper = Keeper(context, claim, list(found))
        for case in cases:
            moved += _prepare(keeper, case, found.get(case.row.id), bodies.get(case.row.id))
        moved += _write(context, [case for case in cases if case.ending is not None])
        # Last, each under its own claim alone: the others' rows have been given back by now.
        for case in [case for case in cases if case.is_slow]:
            alone = Keeper(context, claim, [case.row.id], may_fetch=True)
            moved += _prepare(alone, case, found.get(case.row.id), bodies.get(case.row.id))
            moved += _write(context, [case] if case.ending is not None else [])
    except Unavailable:
        # The claims run out, the rows fall due, the results are asked for again.
        for case in cases:
            case.line.setdefault("outcome", "database_unavailable")
    for case in cases:
        row, answer = case.row, case.answer
        tell("job.settle", case.began, job_id=row.id, attempt=row.attempt, upstream_status=answer.status, **case.line)
    return moved


def _prepare(keeper: Keeper, case: _Case, job: Job | None, body: bytes | None) -> list[Job]:
    """Read the outcome and put its media away, so that one transaction remains; or fail the job, or put it off."""
    context, claim = keeper.context, keeper.claim
    if job is None or job.claim != claim:
        # Whoever has it now may be at another turn, whose media ours must not replace.
        case.line["outcome"] = "lost_race"
        return []
    case.line.update(turn=job.turn, request_id=job.request_id)
    try:
        case.ending = _ending(keeper, job, case, orjson.loads(body or b"{}"))
    except SlowError:
        case.is_slow = True
    except ArtifactStoreError as error:
        case.line.update(outcome="artifacts_unavailable", error=str(error))
        return _later(context, case.row, claim)
    except (ResultTooLarge, UnreadableBodyError) as error:
        case.line["outcome"] = Status.FAILED
        return _fail(context, case, job, claim, error)
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 - recorded: what is wrong with one result must not hurt its neighbours
        return _crashed(context, case, claim, error)
    return []


def _ending(keeper: Keeper, job: Job, case: _Case, asked: dict[str, Any]) -> Ending:
    answer = case.answer
    if answer.kind is AnswerKind.TOO_LARGE or answer.body is None:
        raise ResultTooLarge("the interaction's body is over the limit")
    outcome = read_outcome(
        answer.body,
        max_bytes=keeper.context.settings.max_result_bytes,
        wants_json=wants_json(asked),
        schemas=schemas_of(asked),
    )
    # What another attempt replaces is not kept: nothing would name its media any more.
    shown: dict[str, Any] = {}
    if not is_tried_again(job, outcome):
        outcome, shown = keeper.keep(job, outcome, case.row.settle_tries)
    return Ending(job, keeper.claim, outcome, keeper.context.clock(), shown)


def _write(context: Context, cases: Sequence[_Case]) -> list[Job]:
    """One transaction for all, or for each alone where something unforeseen rejects one."""
    if not cases:
        return []
    try:
        with context.database.write() as session:
            # In one order, so that two who move several never wait for each other.
            endings = sorted((case.ending for case in cases if case.ending), key=lambda ending: ending.job.id)
            before = usage.before(session, [ending.job for ending in endings])
            moved = {ending.job.id: decide(session, _summed(ending, before)) for ending in endings}
            spent = [Spent(e.job, e.outcome.status, bounded(e.outcome.usage)) for e in endings if moved[e.job.id]]
            entries = usage.close(session, spent, context.clock())
            made = [(e.job.project_id, e.outcome.raw) for e in endings if moved[e.job.id]]
            owned.keep(session, made, context.settings.gemini, context.clock())
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 - recorded, and tried again
        if len(cases) > 1:
            return [job for case in cases for job in _write(context, [case])]
        return _crashed(context, cases[0], cases[0].ending.claim if cases[0].ending else "", error)
    usage.tell(context, entries)
    for case in cases:
        case.line["outcome"] = moved[case.row.id][0].status if moved[case.row.id] else "lost_race"
    return [job for jobs_moved in moved.values() for job in jobs_moved]


def _summed(ending: Ending, before: Mapping[str, dict[str, Any] | None]) -> Ending:
    return replace(ending, spent=total(before.get(ending.job.id), bounded(ending.outcome.usage)))


def _fail(context: Context, case: _Case, job: Job, claim: str, error: Exception) -> list[Job]:
    """Fail a job whose result cannot be kept; what its run used is kept, where the body could be read for it."""
    now, body = context.clock(), case.answer.body
    code = "result_too_large" if isinstance(error, ResultTooLarge) else "upstream_failed"
    told = read_usage(body) if body is not None else None
    with context.database.write() as session:
        spent = total(usage.before(session, [job]).get(job.id), told)
        values = {"error": failure(code, str(error), retryable=False), "usage": spent}
        moved = end(session, job.id, sources=RUNNING, target=Status.FAILED, now=now, claim=claim, values=values)
        is_told = bool(moved) and body is not None
        entries = usage.close(session, [Spent(job, case.answer.status, told)], now) if is_told else []
    usage.tell(context, entries)
    return moved


def _crashed(context: Context, case: _Case, claim: str, error: Exception) -> list[Job]:
    """Something unforeseen rejects this result: it is tried again, and fails its job in the end."""
    row = case.row
    crashed("job.settle", error, job_id=row.id)
    case.line["outcome"] = "crashed"
    if row.settle_tries < MAX_CRASHES:
        return _later(context, row, claim)
    told = failure("worker_lost", "the result could not be stored", retryable=True)
    now, values = context.clock(), {"error": told}
    with context.database.write() as session:
        moved = end(session, row.id, sources=RUNNING, target=Status.FAILED, now=now, claim=claim, values=values)
        if moved:
            interactions.owe(session, row.interaction_id, usage.first_look(now))
        return moved


def _later(context: Context, row: Polled, claim: str) -> list[Job]:
    """The result was seen and could not be stored: no deadline applies to it any more."""
    now = context.clock()
    values = {
        "ended_seen": True,
        "settle_tries": row.settle_tries + 1,
        "due_at": SETTLE.next_time(row.settle_tries, now, context.chance()),
        "claim": None,
    }
    with context.database.write() as session:
        moves.change(session, row.id, statuses=RUNNING, claim=claim, values=values)
    count("nightdesk_settle_retries_total")
    return []
