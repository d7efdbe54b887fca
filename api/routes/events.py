"""What happened to a job: as a stream of server-sent events, or as a list."""

from functools import partial
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request, Response
from sqlmodel import Session

from api import cursor, examples, headers, rounds, schemas, stream, view
from api.auth import Reader
from api.desk import AtDesk
from api.ids import JobId
from api.listing import Cursor
from api.openapi import KEYED, Ok, answers, header
from worker.errors import BadRequest, Invalid, NotFound
from worker.store import events, jobs

router = APIRouter(tags=["events"], default_response_class=Response)

STREAM = stream.MEDIA_TYPE
LAST_EVENT_ID = header("Last-Event-ID", "Go on after this event, stored or live.", "2.e3")


@router.get(
    "/v1/jobs/{job_id}/events",
    summary="Follow a job",
    responses=answers(
        Ok(
            about="With `Accept: application/json` a page, oldest first. Else a stream: each event has its sequence "
            "number as id, a comment comes every 15 s, and it ends after the terminal event. While the job runs, the "
            "upstream's own `step.*` events come between, as they are, with the id `<sequence>.<upstream event id>` "
            "where they have one: best effort, never stored. `reset` stands for all of them so far: it has the steps "
            "that they told, in the place of what was shown.",
            schema=schemas.EventList,
            example=examples.page(examples.EVENT),
            others={STREAM: examples.STREAM},
        ),
        fails=(*KEYED, NotFound, BadRequest, Invalid),
    ),
    openapi_extra={"parameters": [LAST_EVENT_ID]},
)
async def follow_job(
    request: Request,
    who: Reader,
    job_id: JobId,
    desk: AtDesk,
    *,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many at most in a page.")] = 100,
    cursor: Cursor = None,
) -> Response:
    """Resumes after `Last-Event-ID` on any process; no stored event is ever lost. Live steps come while it runs."""
    if headers.preferred(request, [STREAM, view.JSON]) == view.JSON:
        read = partial(_page, job_id=job_id, project_id=who.project_id, cursor_text=cursor, limit=limit)
        return view.answer(await desk.read(read))
    last = headers.last_event(request)
    if await desk.read(partial(jobs.get, job_id=job_id, project_id=who.project_id)) is None:
        raise NotFound("no such job")
    desk.streams.places.check(who.project_id)
    if request.scope["state"]["is_head"]:
        return Response(headers=stream.HEADERS, media_type=STREAM)
    return stream.EventStream(stream.follow(desk, job_id, who, last), desk.streams.send_s)


def _page(session: Session, *, job_id: str, project_id: str, cursor_text: str | None, limit: int) -> bytes:
    after = _place(cursor_text)
    if jobs.get(session, job_id, project_id) is None:
        raise NotFound("no such job")
    found = events.of_job(session, job_id, after=after, limit=limit + 1)
    shown, more = cursor.cut("event", found, limit, place=lambda event: str(event.sequence))
    return orjson.dumps(view.page([rounds.render(event) for event in shown], more))


def _place(text: str | None) -> int:
    place = cursor.decode("event", text) or "0"
    if not (place.isdecimal() and len(place) <= 9):
        raise BadRequest("cursor: is not one of this list")
    return int(place)
