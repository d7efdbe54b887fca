"""Adopting an interaction that was made elsewhere."""

from functools import partial

from fastapi import APIRouter, Request, Response

from api import bodies, examples, headers, submission
from api.auth import Author
from api.desk import AtDesk
from api.openapi import IDEMPOTENCY_KEY, PREFER, SPENDING, answers
from api.openapi import body as documented_body
from api.routes.jobs import SETTLED, made, taken
from worker.errors import QuotaExceeded
from worker.flow import adopt

router = APIRouter(tags=["jobs"], default_response_class=Response)

PATH = "/v1/jobs/adopt"


@router.post(
    PATH,
    status_code=202,
    summary="Take over an interaction made elsewhere",
    responses=answers(
        SETTLED, taken(examples.ADOPTED), fails=[error for error in SPENDING if error is not QuotaExceeded]
    ),
    openapi_extra=documented_body(bodies.ADOPT, {"adoption": ("An interaction and a webhook", examples.ADOPTION)})
    | {"parameters": [IDEMPOTENCY_KEY, PREFER]},
)
async def adopt_one(request: Request, who: Author, desk: AtDesk) -> Response:
    """It is polled from now on, and nothing more is bought for it. An interaction belongs to one job at most."""
    wait_s = headers.prefer_wait(request)
    given, content = await submission.read(request, who, PATH)
    told = {"key_id": who.key_id, "request_id": given.request_id}
    asked = adopt.Asked(order=submission.order(given), fields=content, is_admin=who.is_admin, **told)
    accepted = await submission.work(desk, given, partial(adopt.take_over, desk.context, asked))
    return await made(desk, given, accepted, wait_s)
