"""What `GET /v1/jobs` asks for: its filters, page size and cursor."""

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request
from pydantic import AfterValidator, AwareDatetime, StringConstraints

from api import cursor
from worker.document import PRIORITIES
from worker.errors import Fault, Invalid
from worker.gemini.rules import LABELS_MAX
from worker.models import Kind
from worker.options import MAX_KEYS, in_utc
from worker.states import Status
from worker.store.jobs import Filters

_PAIR = re.compile(r"(metadata|label)\[(.*)\]", re.DOTALL)
MOST = {"metadata": MAX_KEYS, "label": LABELS_MAX}
_UNSEARCHABLE = re.compile(r'["\\\x00-\x1f]')
"""Characters that SQLite's JSON paths or PostgreSQL's text cannot hold."""

Limit = Annotated[int, Query(ge=1, le=100, description="How many at most.")]
Cursor = Annotated[str | None, Query(alias="cursor", max_length=200, description="`next_cursor` of the page before.")]
Moment = Annotated[AwareDatetime, AfterValidator(in_utc)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]


@dataclass(frozen=True, slots=True)
class Asked:
    """A page of a project's jobs."""

    filters: Filters
    before: str | None
    limit: int


async def _listing(
    request: Request,
    *,
    status: Annotated[list[Status], Query(description="May be repeated.")] = [],  # noqa: B006 - FastAPI copies it
    agent: Annotated[Name | None, Query()] = None,
    model: Annotated[Name | None, Query()] = None,
    priority: Annotated[str | None, Query(pattern="^(low|normal|high)$")] = None,
    created_after: Annotated[Moment | None, Query(description="RFC 3339.")] = None,
    created_before: Annotated[Moment | None, Query(description="RFC 3339.")] = None,
    conversation: Annotated[Name | None, Query(description="A `conversation_id`.")] = None,
    limit: Limit = 20,
    cursor_: Cursor = None,
) -> Asked:
    if agent and model:
        raise Invalid(Fault("/agent", "not together with model"))
    kind: Kind | None = "agent" if agent else "model" if model else None
    pairs = _pairs(request)
    filters = Filters(
        statuses=status,
        kind=kind,
        target=agent or model,
        priority=PRIORITIES.index(priority) if priority else None,
        created_after=created_after,
        created_before=created_before,
        conversation_id=conversation,
        metadata=pairs["metadata"],
        labels=pairs["label"],
    )
    return Asked(filters, cursor.decode("job", cursor_), limit)


def _pairs(request: Request) -> dict[str, dict[str, str]]:
    """The `metadata[key]=value` and `label[key]=value` of a query; raises Invalid."""
    found: dict[str, dict[str, str]] = {"metadata": {}, "label": {}}
    for name, value in request.query_params.multi_items():
        pair = _PAIR.fullmatch(name)
        if pair is None:
            continue
        kind, key = pair.groups()
        if not 1 <= len(key) <= 64 or _UNSEARCHABLE.search(key) or "\x00" in value:
            raise Invalid(Fault(f"/{kind}", "a key has 1 to 64 characters, none of them a quote, backslash or control"))
        found[kind][key] = value
        if len(found[kind]) > MOST[kind]:
            raise Invalid(Fault(f"/{kind}", f"a job has at most {MOST[kind]}"))
    return found


Listing = Annotated[Asked, Depends(_listing)]
