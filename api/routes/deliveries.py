"""Webhook deliveries: a job's, one with all its attempts, and sending one again."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import orjson
from fastapi import APIRouter, Response
from sqlmodel import Session

from api import cursor, examples, schemas, view
from api.auth import Postmaster, Reader
from api.desk import AtDesk
from api.ids import DeliveryId, JobId
from api.listing import Cursor, Limit
from api.openapi import KEYED, Ok, answers
from api.threads import run_in_threadpool
from worker.document import stamp
from worker.errors import BadRequest, Conflict, Invalid, NotFound
from worker.flow import deliver
from worker.models import Delivery, DeliveryAttempt
from worker.store import deliveries, events, jobs

router = APIRouter(tags=["deliveries"], default_response_class=Response)

DETAIL = {**examples.DELIVERY, "attempts": [examples.ATTEMPT]}


@router.get(
    "/v1/jobs/{job_id}/deliveries",
    summary="List a job's webhook deliveries, newest first",
    responses=answers(
        Ok(about="A page.", schema=schemas.DeliveryList, example=examples.page(examples.DELIVERY)),
        fails=(*KEYED, NotFound, BadRequest, Invalid),
    ),
)
async def list_deliveries(
    who: Reader, job_id: JobId, desk: AtDesk, limit: Limit = 20, cursor: Cursor = None
) -> Response:
    """One for each event and receiver."""
    read = partial(_page, job_id=job_id, project_id=who.project_id, cursor_text=cursor, limit=limit)
    return view.answer(await desk.read(read))


def _page(session: Session, *, job_id: str, project_id: str, cursor_text: str | None, limit: int) -> bytes:
    before = cursor.decode("delivery", cursor_text)
    if jobs.get(session, job_id, project_id) is None:
        raise NotFound("no such job")
    found = deliveries.of_job(session, job_id, before=before, limit=limit + 1)
    shown, more = cursor.cut("delivery", found, limit)
    return orjson.dumps(view.page(rendered(session, shown), more))


@router.get(
    "/v1/deliveries/{delivery_id}",
    summary="Read a delivery with its attempts",
    responses=answers(
        Ok(about="The delivery.", schema=schemas.DeliveryDetail, example=DETAIL), fails=(*KEYED, NotFound)
    ),
)
async def read_delivery(who: Reader, delivery_id: DeliveryId, desk: AtDesk) -> Response:
    """Each attempt, the last 100 of them, with the first 1 KiB of its answer."""
    return view.answer(await desk.read(partial(_detail, delivery_id=delivery_id, project_id=who.project_id)))


@router.post(
    "/v1/deliveries/{delivery_id}/redeliver",
    status_code=202,
    summary="Deliver once more, at once",
    responses=answers(
        Ok(about="It is due now.", status=202, schema=schemas.DeliveryDetail, example=DETAIL),
        fails=(*KEYED, NotFound, Conflict),
    ),
)
async def redeliver(who: Postmaster, delivery_id: DeliveryId, desk: AtDesk) -> Response:
    """The receiver sees the same `webhook-id`."""
    await run_in_threadpool(deliver.again, desk.context, who.project_id, delivery_id, who.by)
    return view.answer(await desk.read(partial(_detail, delivery_id=delivery_id, project_id=who.project_id)), 202)


def _detail(session: Session, *, delivery_id: str, project_id: str) -> dict[str, Any]:
    delivery = deliveries.get(session, delivery_id, project_id)
    if delivery is None:
        raise NotFound("no such delivery")
    attempts = deliveries.attempts(session, [delivery_id])
    return rendered(session, [delivery])[0] | {"attempts": [_attempt(attempt) for attempt in attempts]}


def rendered(session: Session, found: Sequence[Delivery]) -> list[dict[str, Any]]:
    """Deliveries as the contract has them."""
    untold = {one.event_id for one in found if one.event_type is None}
    types = events.types(session, untold) if untold else {}
    return [_render(one, one.event_type or types.get(one.event_id)) for one in found]


def _render(delivery: Delivery, event_type: str | None) -> dict[str, Any]:
    """Of a deleted job's deliveries little is left: neither event nor address."""
    is_pending = delivery.status == deliveries.PENDING
    return {
        "id": delivery.id,
        "object": "delivery",
        "job_id": delivery.job_id or None,
        "event_id": delivery.event_id,
        "event_type": event_type,
        "endpoint_id": delivery.endpoint_id,
        "url": delivery.url,
        "status": delivery.status,
        "created_at": stamp(delivery.created_at),
        "next_attempt_at": stamp(delivery.due_at) if is_pending else None,
        "delivered_at": stamp(delivery.delivered_at),
        "attempt_count": delivery.attempts,
    }


def _attempt(attempt: DeliveryAttempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "at": stamp(attempt.at),
        "outcome": attempt.outcome,
        "status": attempt.http_status,
        "latency_seconds": attempt.latency_ms / 1000,
        "response": attempt.snippet,
        "error": attempt.error,
    }
