"""Answering the function calls that a job waits for."""

from functools import partial

from fastapi import APIRouter, Request, Response

from api import bodies, exchanges, headers, schemas, submission
from api.auth import Author
from api.desk import AtDesk
from api.ids import JobId
from api.openapi import IDEMPOTENCY_KEY, PREFER, SPENDING, Ok, answers
from api.openapi import body as documented_body
from api.routes.jobs import MADE, PATH, SETTLED, made
from worker.errors import Conflict, NotFound
from worker.flow import respond

router = APIRouter(tags=["jobs"], default_response_class=Response)


@router.post(
    f"{PATH}/{{job_id}}/respond",
    status_code=202,
    summary="Answer a job's function calls",
    responses=answers(
        SETTLED,
        Ok(
            about="The results are taken, and the same job goes on in its next turn.",
            status=202,
            schema=schemas.Job,
            example=exchanges.ANSWERED,
            headers=MADE,
        ),
        fails=(*SPENDING, NotFound, Conflict),
    ),
    openapi_extra=documented_body(bodies.RESPOND, exchanges.ANSWERS) | {"parameters": [IDEMPOTENCY_KEY, PREFER]},
)
async def respond_to_job(request: Request, who: Author, job_id: JobId, desk: AtDesk) -> Response:
    """For a job that is `requires_action`: its calls are in `required_action`, and each of them is owed one result.

    The next turn is asked with the job's own tools, instructions and configuration again. What is not answered within
    `action_timeout_seconds` expires the job. Use a new `Idempotency-Key` for each turn.
    """
    wait_s = headers.prefer_wait(request)
    given, content = await submission.read(request, who, f"{PATH}/{job_id}/respond")
    asked = respond.Asked(order=submission.order(given), job_id=job_id, fields=content, is_admin=who.is_admin)
    accepted = await submission.work(desk, given, partial(respond.respond, desk.context, asked))
    # Who waits for the job's end keeps nothing of the body.
    del content, asked
    return await made(desk, given, accepted, wait_s)
