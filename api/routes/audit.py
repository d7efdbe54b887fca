"""The audit log of a project, for its admins."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Response
from sqlmodel import Session

from api import cursor, examples, schemas, view
from api.auth import Admin
from api.desk import AtDesk
from api.listing import Cursor, Limit, Moment, Name
from api.openapi import KEYED, Ok, answers
from worker.document import stamp
from worker.errors import BadRequest, Invalid
from worker.models import AuditEntry
from worker.store import audit
from worker.store.audit import Filters

router = APIRouter(tags=["operations"], default_response_class=Response)

EXAMPLE = {
    "id": "aud_01kqzv7m3e8f4x2c9t5b6n0hyd",
    "object": "audit_entry",
    "at": examples.AT,
    "action": audit.SUBMITTED,
    "actor": "key_01kqzv5t1n7c3d9f2g4h6j8k0m",
    "address": "203.0.113.7",
    "request_id": "req_01kqzv7kx0d4h8m2q6t9w3z5b1",
    "subject": examples.JOB_ID,
    "number": 1,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A page of the log."""

    filters: Filters
    before: str | None
    limit: int


async def _asked(
    *,
    action: Annotated[Name | None, Query(description="As `job.cancel`.")] = None,
    actor: Annotated[
        Name | None, Query(description="The id of a key, `cli:` and a user's name, or `settings`.")
    ] = None,
    subject: Annotated[Name | None, Query(description="The id of what it was done to.")] = None,
    since: Annotated[Moment | None, Query(description="RFC 3339.")] = None,
    limit: Limit = 20,
    cursor_: Cursor = None,
) -> Asked:
    return Asked(Filters(action, actor, subject, since), cursor.decode("audit", cursor_), limit)


@router.get(
    "/v1/audit",
    summary="List who did what, newest first",
    responses=answers(
        Ok(about="A page.", schema=schemas.AuditList, example=examples.page(EXAMPLE)),
        fails=(*KEYED, BadRequest, Invalid),
    ),
)
async def list_audit(who: Admin, desk: AtDesk, asked: Annotated[Asked, Depends(_asked)]) -> Response:
    """Needs scope `admin`. What changes something is written down with it, kept for `AUDIT_RETENTION_DAYS`.

    Never what a request carried. What operators do to gates is in the project `default`.
    """
    return view.answer(await desk.walk(who.project_id, partial(_page, project_id=who.project_id, asked=asked)))


def _page(session: Session, project_id: str, asked: Asked) -> bytes:
    found = audit.page(session, project_id, asked.filters, before=asked.before, limit=asked.limit + 1)
    shown, more = cursor.cut("audit", found, asked.limit)
    return orjson.dumps(view.page([_render(one) for one in shown], more))


def _render(entry: AuditEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "object": "audit_entry",
        "at": stamp(entry.at),
        "action": entry.action,
        "actor": entry.actor,
        "address": entry.address,
        "request_id": entry.request_id,
        "subject": entry.subject,
        "number": entry.number,
    }
