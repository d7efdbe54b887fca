"""Where the Gemini API sends its own events. Open without a key: each event proves itself by its signature."""

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from api import bodies, body, examples
from api.desk import AtDesk
from api.errors import PayloadTooLarge
from api.openapi import Ok, answers, header
from api.openapi import body as documented_body
from worker.errors import EventRefused, NotFound, Unavailable
from worker.gemini.push import ID, SIGNATURE, TIMESTAMP
from worker.settings import UPSTREAM_PATH

router = APIRouter(tags=["operations"], default_response_class=Response)

MAX_BYTES = 64 * 1024
"""Events are thin; whoever sends more has no business here."""


@router.post(
    UPSTREAM_PATH,
    status_code=204,
    summary="Receive an event of the Gemini API",
    responses=answers(
        Ok(about="It was heard, whether or not it changed anything.", status=204),
        fails=(EventRefused, NotFound, PayloadTooLarge, Unavailable),
    ),
    openapi_extra=documented_body(bodies.UPSTREAM_EVENT, {"completed": ("A run has ended", examples.UPSTREAM_EVENT)})
    | {
        "parameters": [
            header(ID, "The same in every copy of an event.", "msg_2b7c"),
            header(TIMESTAMP, "Seconds since 1970; an event is heard within five minutes.", "1795291200"),
            header(
                SIGNATURE,
                "`v1,…` (static) or an RS256 JWT (dynamic).",
                "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
            ),
        ]
    },
)
async def hear_event(request: Request, desk: AtDesk) -> Response:
    """Only where `GEMINI_WEBHOOKS` is `static` or `dynamic`. A verified event makes the poll happen now."""
    if desk.listener is None:
        raise NotFound("no such path")
    event = await body.read(request, MAX_BYTES)
    await run_in_threadpool(desk.listener.hear, request.headers, event)
    return Response(status_code=204)
