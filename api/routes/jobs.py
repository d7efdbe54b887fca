"""Jobs: submit one or many, read, list, cancel, retry, delete."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response
from sqlmodel import Session

from api import bodies, cursor, examples, headers, requests, schemas, submission, view
from api.auth import Author, Reader
from api.desk import AtDesk, Desk
from api.ids import JobId
from api.listing import Listing
from api.openapi import IDEMPOTENCY_KEY, KEYED, PREFER, SPENDING, Ok, answers, pairs
from api.openapi import body as documented_body
from api.settled import until_settled
from api.submission import Intake
from api.threads import run_in_threadpool
from worker.errors import BadRequest, Conflict, Fault, Gone, Invalid, NotFound
from worker.flow import again, cancel, remove
from worker.flow.draft import Draft
from worker.flow.submit import Accepted
from worker.models import Job
from worker.states import Status
from worker.store import audit, jobs, results
from worker.store.jobs import Filters

router = APIRouter(tags=["jobs"], default_response_class=Response)

PATH = "/v1/jobs"
REPLAYED = {"Idempotent-Replayed": "`true` where the idempotency key had the job already."}
MADE = {"Location": "The job's path.", **REPLAYED}
SETTLED = Ok(
    about="The job, ended or in need of an action within the time of `Prefer: wait`.",
    schema=schemas.Job,
    example=examples.COMPLETED,
    headers={**MADE, "Preference-Applied": "`wait=N`"},
)
PARTS = {view.STEPS, view.INPUT, view.TURNS}
Wait = Annotated[
    int, Query(ge=0, le=headers.MAX_WAIT_S, description="Seconds to wait until it ends or needs an action.")
]


def taken(example: dict[str, Any]) -> Ok:
    """The answer of a call that makes a job."""
    return Ok(about="The job is taken.", status=202, schema=schemas.Job, example=example, headers=MADE)


@router.post(
    PATH,
    status_code=202,
    summary="Submit a job",
    responses=answers(SETTLED, taken(examples.QUEUED), fails=SPENDING),
    openapi_extra=documented_body(bodies.JOB, requests.REQUESTS) | {"parameters": [IDEMPOTENCY_KEY, PREFER]},
)
async def submit_one(request: Request, who: Author, desk: AtDesk) -> Response:
    """The answer follows the commit: a job that was taken is never lost."""
    wait_s = headers.prefer_wait(request)
    given, content = await submission.read(request, who, PATH)
    drafting = submission.work_brief(desk, given, partial(submission.one, desk, given, content))
    # Who waits for the job's end keeps nothing of the body.
    del content
    return await made(desk, given, await submission.take(desk, given, drafting), wait_s)


async def made(desk: Desk, given: Intake, accepted: Accepted, wait_s: int | None) -> Response:
    """The answer about the job that was made, or had been before; after its end, for whoever prefers to wait.

    Where too many wait already it comes at once, and says of no preference that it was applied.
    """
    given.hold.end()
    job = accepted.jobs[0]
    told = {"Location": f"{PATH}/{job.id}"}
    if accepted.replayed:
        told["Idempotent-Replayed"] = "true"
    if wait_s is not None and desk.waits.has_room(given.who.project_id):
        told["Preference-Applied"] = f"wait={wait_s}"
        seen = await until_settled(desk, job.id, given.who, wait_s)
        return view.answer(view.render(seen), 200 if seen.is_settled else 202, told)
    if accepted.replayed:
        now = desk.context.clock()
        seen = await desk.read(partial(view.load, job_id=job.id, project_id=given.who.project_id, now=now))
        return view.answer(view.render(seen), 202, told)
    return view.answer(view.listed(job), 202, told)


@router.post(
    f"{PATH}/batch",
    status_code=202,
    summary="Submit up to 1,000 jobs, all or none",
    responses=answers(
        Ok(
            about="All are taken.",
            status=202,
            schema=schemas.JobBatch,
            example={"object": "list", "data": [examples.QUEUED]},
            headers=REPLAYED,
        ),
        fails=SPENDING,
    ),
    openapi_extra=documented_body(bodies.BATCH, {"two": ("Two jobs", examples.BATCH)})
    | {"parameters": [IDEMPOTENCY_KEY]},
)
async def submit_batch(request: Request, who: Author, desk: AtDesk) -> Response:
    """One bad item refuses all; its place is in `errors`."""
    given, content = await submission.read(request, who, f"{PATH}/batch")
    drafting = submission.work(desk, given, partial(submission.many, desk, given, content))
    accepted = await submission.take(desk, given, drafting)
    told = {"Idempotent-Replayed": "true"} if accepted.replayed else {}
    taken = {"object": "list", "data": [view.listed(job) for job in accepted.jobs]}
    return view.answer(await run_in_threadpool(orjson.dumps, taken), 202, told)


@router.get(
    PATH,
    summary="List jobs, newest first",
    responses=answers(
        Ok(
            about="A page; its jobs carry no output.",
            schema=schemas.JobList,
            example=examples.page(examples.LISTED, cursor=examples.CURSOR),
        ),
        fails=(*KEYED, BadRequest, Invalid),
    ),
    openapi_extra={
        "parameters": [
            pairs("metadata", "`metadata[key]=value`: jobs with this metadata."),
            pairs("label", "`label[key]=value`: jobs with this label."),
        ]
    },
)
async def list_jobs(who: Reader, desk: AtDesk, listing: Listing) -> Response:
    """Filters narrow the list; `metadata[key]=value` and `label[key]=value` may be repeated."""
    chosen = replace(listing, filters=_substituted(desk, listing.filters))
    read = partial(_page, project_id=who.project_id, listing=chosen)
    sought = chosen.filters.are_sought
    return view.answer(await (desk.walk(who.project_id, read) if sought else desk.read(read)))


def _substituted(desk: Desk, filters: Filters) -> Filters:
    """A retired id finds the jobs that were submitted with it: they carry the id that replaced it."""
    if filters.kind is None or filters.target is None:
        return filters
    try:
        resolved = desk.context.catalog.resolve(filters.kind, filters.target)
    except Invalid:
        return filters
    return replace(filters, target=resolved.id)


def _page(session: Session, project_id: str, listing: Listing) -> bytes:
    found = jobs.page(session, project_id, listing.filters, before=listing.before, limit=listing.limit + 1)
    shown, more = cursor.cut("job", found, listing.limit)
    ends = results.ends(session, [(job.id, job.turn) for job in shown])
    return orjson.dumps(view.page([view.listed(job, ends.get(job.id)) for job in shown], more))


@router.get(
    f"{PATH}/{{job_id}}",
    summary="Read a job, or wait for it",
    responses=answers(
        Ok(
            about="The job.",
            schema=schemas.Job,
            example=examples.COMPLETED,
            headers={"ETag": "Changes whenever anything shown changes."},
        ),
        Ok(about="Nothing changed since `If-None-Match`.", status=304),
        fails=(*KEYED, NotFound, Gone, Invalid),
    ),
)
async def read_job(
    request: Request,
    who: Reader,
    job_id: JobId,
    desk: AtDesk,
    *,
    wait: Wait = 0,
    include: Annotated[
        str, Query(description="`steps`, `input`, `turns`, or several with commas.", examples=["steps"])
    ] = "",
) -> Response:
    """A client that goes away while it waits changes nothing."""
    parts = {part.strip() for part in include.split(",") if part.strip()}
    if parts - PARTS:
        raise Invalid(Fault("/include", "may name steps, input and turns"))
    if wait:
        await until_settled(desk, job_id, who, wait)
    whole = partial(_whole, desk, job_id, who.project_id, parts)
    return view.tagged(request, await (desk.read_in_turn(who.project_id, whole) if parts else desk.read(whole)))


def _whole(desk: Desk, job_id: str, project_id: str, parts: set[str], session: Session) -> bytes:
    seen = view.load(session, job_id, project_id, desk.context.clock())
    return orjson.dumps(view.render(seen) | view.heavy(session, seen, parts))


@router.post(
    f"{PATH}/{{job_id}}/cancel",
    status_code=202,
    summary="Cancel a job",
    responses=answers(
        Ok(about="It was cancelled already.", schema=schemas.Job, example={**examples.QUEUED, "status": "cancelled"}),
        Ok(about="It is cancelled, or will be.", status=202, schema=schemas.Job, example=examples.CANCELLING),
        fails=(*KEYED, NotFound, Conflict),
    ),
)
async def cancel_job(who: Author, job_id: JobId, desk: AtDesk) -> Response:
    """Not yet sent: cancelled at once. Running: `cancelling`; if it finishes before, the result stands."""
    known = await desk.read(partial(jobs.get, job_id=job_id, project_id=who.project_id))
    was_cancelled = known is not None and known.status == Status.CANCELLED
    job: Job = await run_in_threadpool(cancel.request, desk.context, who.project_id, job_id, who.by)
    now = desk.context.clock()
    seen = await desk.read(partial(view.load, job_id=job.id, project_id=who.project_id, now=now))
    return view.answer(view.render(seen), 200 if was_cancelled else 202)


@router.post(
    f"{PATH}/{{job_id}}/retry",
    status_code=202,
    summary="Submit a failed job once more",
    responses=answers(SETTLED, taken(examples.RETRIED), fails=(*SPENDING, NotFound, Conflict)),
    openapi_extra={"parameters": [IDEMPOTENCY_KEY, PREFER]},
)
async def retry_job(request: Request, who: Author, job_id: JobId, desk: AtDesk) -> Response:
    """Of a finished job that did not complete: a new job with `retry_of`."""
    wait_s = headers.prefer_wait(request)
    given = submission.bare(request, who, f"{PATH}/{job_id}/retry")

    def draft() -> list[Draft]:
        told = {"key_id": who.key_id, "request_id": given.request_id}
        return [again.retry_draft(desk.context, who.project_id, job_id, **told)]

    accepted = await submission.take(desk, given, submission.work(desk, given, draft), action=audit.RETRIED)
    return await made(desk, given, accepted, wait_s)


@router.delete(
    f"{PATH}/{{job_id}}",
    status_code=204,
    summary="Delete a finished job",
    responses=answers(Ok(about="It is gone.", status=204), fails=(*KEYED, NotFound, Conflict)),
)
async def delete_job(who: Author, job_id: JobId, desk: AtDesk) -> Response:
    """Its row, steps, artifacts, deliveries' bodies, and the interaction upstream."""
    await run_in_threadpool(remove.job, desk.context, who.project_id, job_id, who.by)
    return Response(status_code=204)
