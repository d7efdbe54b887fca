"""Conversations: the jobs that build on one another, as a thread."""

from functools import partial
from typing import Any

import orjson
from fastapi import APIRouter, Response
from sqlmodel import Session

from api import cursor, excerpts, exchanges, schemas, view
from api.auth import Reader
from api.desk import AtDesk, Desk
from api.ids import ConversationId
from api.listing import Cursor, Limit
from api.openapi import KEYED, Ok, answers
from worker.document import stamp
from worker.errors import BadRequest, Invalid, NotFound
from worker.flow import retention
from worker.gemini.usage import FIELDS
from worker.models import Job
from worker.store import conversations, usage

router = APIRouter(tags=["jobs"], default_response_class=Response)

MOST_BYTES, AT_ONCE = 1024 * 1024, 5
"""Of an input or an output that an excerpt is taken from, and of how many jobs they are held at a time."""


@router.get(
    "/v1/conversations/{conversation_id}",
    summary="Read a conversation as a thread",
    responses=answers(
        Ok(
            about="The conversation, with a page of its jobs.",
            schema=schemas.Conversation,
            example=exchanges.CONVERSATION,
        ),
        fails=(*KEYED, NotFound, BadRequest, Invalid),
    ),
)
async def read_conversation(
    who: Reader,
    conversation_id: ConversationId,
    desk: AtDesk,
    limit: Limit = 20,
    cursor_: Cursor = None,
) -> Response:
    """Its jobs, oldest first, with the beginnings of what was asked and answered. A job names it as `conversation_id`.

    It can be gone on with until `upstream_expires_at`, with the last job as `previous_job_id`.
    """
    after = cursor.decode("conversation", cursor_)
    read = partial(_read, desk, project_id=who.project_id, conversation_id=conversation_id, after=after, limit=limit)
    return view.answer(await desk.walk(who.project_id, read))


def _read(
    desk: Desk, session: Session, *, project_id: str, conversation_id: str, after: str | None, limit: int
) -> bytes:
    summary = conversations.summary(session, project_id, conversation_id)
    if summary is None:
        raise NotFound("no such conversation")
    found = conversations.page(session, project_id, conversation_id, after=after, limit=limit + 1)
    shown, more = cursor.cut("conversation", found, limit)
    ended_at = summary.last_ended_at
    sums = usage.of_conversation(session, project_id, conversation_id)
    head = {
        "id": conversation_id,
        "object": "conversation",
        "created_at": stamp(summary.created_at),
        "job_count": summary.job_count,
        "usage": {FIELDS[name]: getattr(sums, name) for name in usage.TOKENS},
        "upstream_expires_at": stamp(ended_at and retention.of(desk.context).ends_at(ended_at)),
    }
    parts = [shown[place : place + AT_ONCE] for place in range(0, len(shown), AT_ONCE)]
    rows = [row for part in parts for row in _shown(session, desk, part)]
    return orjson.dumps(view.page(rows, more) | head)


def _shown(session: Session, desk: Desk, jobs: list[Job]) -> list[dict[str, Any]]:
    now = desk.context.clock()
    asked = conversations.inputs(session, [job.id for job in jobs], MOST_BYTES)
    given = conversations.outcomes(session, [(job.id, job.turn) for job in jobs], MOST_BYTES)
    shown = []
    for job in jobs:
        outcome, expires_at = given.get(job.id, (b"{}", None))
        is_past = expires_at is not None and expires_at <= now
        text = None if is_past else orjson.loads(outcome).get("output_text")
        body = orjson.loads(asked.get(job.id, b"{}"))
        words = {"input_excerpt": excerpts.of_input(body.get("input")), "output_excerpt": excerpts.of_text(text)}
        shown.append(view.listed(job, expires_at) | words)
    return shown
