"""What a project has used: tokens by job, target, key, day, conversation or turn."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Query, Response
from sqlmodel import Session

from api import cursor, figures, view
from api.auth import Reader
from api.desk import AtDesk
from api.listing import Limit, Moment, Name
from api.openapi import KEYED, Ok, answers
from worker.document import stamp
from worker.errors import BadRequest, Fault, Invalid
from worker.gemini.usage import FIELDS
from worker.store import usage
from worker.store.usage import Scope, Sum

router = APIRouter(tags=["usage"], default_response_class=Response)

GroupBy = Literal["job", "target", "key", "day", "conversation", "turn"]
USUAL_RANGE = timedelta(days=30)
_PLACE = re.compile(r"[^\x00]{0,1024}")

USED = {
    "total_input_tokens": 251_300,
    "total_cached_tokens": 40_000,
    "total_output_tokens": 58_112,
    "total_thought_tokens": 12_044,
    "total_tool_use_tokens": 9_530,
    "total_tokens": 330_986,
}
EXAMPLE = {
    "object": "list",
    "group_by": "target",
    "from": "2026-11-01T00:00:00.000Z",
    "to": "2026-12-01T00:00:00.000Z",
    "data": [{"group": "deep-research-preview-04-2026", "interactions": 4, "usage": USED}],
    "totals": {"interactions": 4, "usage": USED},
    "has_more": False,
    "next_cursor": None,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A page of sums."""

    group_by: GroupBy
    since: datetime | None
    until: datetime | None
    job_id: str | None
    conversation_id: str | None
    after: str | None
    limit: int


async def _asked(
    *,
    group_by: Annotated[GroupBy, Query(description="`turn` needs `job`.")] = "day",
    since: Annotated[Moment | None, Query(alias="from", description="Default: 30 days before `to`.")] = None,
    until: Annotated[Moment | None, Query(alias="to", description="The first moment after it. Default: now.")] = None,
    job: Annotated[Name | None, Query(description="Of this job alone.")] = None,
    conversation: Annotated[Name | None, Query(description="Of this conversation alone.")] = None,
    limit: Limit = 20,
    cursor_: Annotated[
        str | None, Query(alias="cursor", max_length=2000, description="`next_cursor` of the page before.")
    ] = None,
) -> Asked:
    if group_by == "turn" and job is None:
        raise Invalid(Fault("/job", "is required where turns are asked for"))
    after = cursor.decode(f"usage-{group_by}", cursor_, _PLACE)
    if group_by == "turn" and after is not None and not re.fullmatch("[0-9]{1,9}", after):
        raise BadRequest("cursor: is not one of this list")
    return Asked(group_by, since, until, job, conversation, after, limit)


@router.get(
    "/v1/usage",
    summary="Sum up the tokens used",
    responses=answers(
        Ok(about="The sums.", schema=figures.Usage, example=EXAMPLE), fails=(*KEYED, BadRequest, Invalid)
    ),
)
async def read_usage(who: Reader, desk: AtDesk, asked: Annotated[Asked, Depends(_asked)]) -> Response:
    """By day of UTC, target, key, job, conversation or turn, of runs that failed or were cancelled too.

    What was used counts from when its run ended, and stays when its job is deleted. Some runs tell seconds after their
    end, or later, what they used. Name `from` and `to` where pages must fit together.
    """
    scope = _scope(who.project_id, asked, desk.context.clock())
    return view.answer(await desk.walk(who.project_id, partial(_page, scope=scope, asked=asked)))


def _scope(project_id: str, asked: Asked, now: datetime) -> Scope:
    until = asked.until or now
    try:
        since = asked.since or until - USUAL_RANGE
    except OverflowError:
        raise Invalid(Fault("/to", "is out of range")) from None
    if since >= until:
        raise Invalid(Fault("/from", "must be before to"))
    return Scope(
        project_id=project_id,
        since=since,
        until=until,
        job_id=asked.job_id,
        conversation_id=asked.conversation_id,
    )


def _page(session: Session, scope: Scope, asked: Asked) -> bytes:
    after = int(asked.after) if asked.group_by == "turn" and asked.after else asked.after
    found = usage.page(session, scope, asked.group_by, after=after, limit=asked.limit + 1)
    shown, more = cursor.cut(f"usage-{asked.group_by}", found, asked.limit, place=lambda group: str(group[0]))
    head = {"group_by": asked.group_by, "from": stamp(scope.since), "to": stamp(scope.until)}
    # A walk over everything in the range, so not for every page.
    totals = _shown(usage.total(session, scope)) if asked.after is None else None
    groups = [{"group": None if group == "" else group, **_shown(sums)} for group, sums in shown]
    return orjson.dumps(view.page(groups, more) | head | {"totals": totals})


def _shown(sums: Sum) -> dict[str, Any]:
    return {"interactions": sums.interactions, "usage": {FIELDS[name]: getattr(sums, name) for name in usage.TOKENS}}
