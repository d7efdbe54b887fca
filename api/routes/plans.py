"""Deciding on the plan of a research."""

from fastapi import APIRouter, Request, Response

from api import bodies, exchanges, headers, submission
from api.auth import Author
from api.desk import AtDesk
from api.ids import JobId
from api.openapi import IDEMPOTENCY_KEY, PREFER, SPENDING, answers
from api.openapi import body as documented_body
from api.routes.jobs import PATH, SETTLED, made, taken
from worker.errors import Conflict, NotFound
from worker.flow import plan
from worker.flow.draft import Draft
from worker.store import audit

router = APIRouter(tags=["jobs"], default_response_class=Response)


@router.post(
    f"{PATH}/{{job_id}}/plan",
    status_code=202,
    summary="Approve, edit or reject a research plan",
    responses=answers(SETTLED, taken(exchanges.RESEARCHING), fails=(*SPENDING, NotFound, Conflict)),
    openapi_extra=documented_body(bodies.PLAN, exchanges.DECISIONS) | {"parameters": [IDEMPOTENCY_KEY, PREFER]},
)
async def decide_on_plan(request: Request, who: Author, job_id: JobId, desk: AtDesk) -> Response:
    """Of a completed job with `agent_config.collaborative_planning`, whose output is the plan; gives the next job.

    `approve` begins the research, with your `feedback` if there is any. `edit` asks for another plan with what your
    `feedback` says, `reject` for one from scratch; on that one you decide again. The next job is asked as the plan's
    was, and has its webhook, metadata, priority and timeouts. A plan is approved once: then 409 names the research.
    """
    wait_s = headers.prefer_wait(request)
    given, content = await submission.read(request, who, f"{PATH}/{job_id}/plan")
    asked = plan.Asked(
        project_id=who.project_id,
        job_id=job_id,
        path=given.path,
        fields=content,
        key_id=who.key_id,
        request_id=given.request_id,
    )

    def draft() -> list[Draft]:
        return [plan.draft(desk.context, asked)]

    drafting, once = submission.work(desk, given, draft), asked.is_approval
    accepted = await submission.take(desk, given, drafting, is_once=once, action=audit.PLANNED)
    return await made(desk, given, accepted, wait_s)
