"""Registered webhook endpoints: making, changing and deleting them, trying them out, and what went to them.

Reading needs `jobs:read`, as deliveries do; all else `webhooks:write`. A secret is shown only when it is made.
"""

from functools import partial
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Query, Request, Response
from sqlmodel import Session

from api import bodies, body, cursor, endpoint, examples, schemas, view
from api.auth import Postmaster, Reader
from api.desk import AtDesk
from api.errors import PayloadTooLarge
from api.ids import EndpointId
from api.listing import Cursor, Limit
from api.openapi import KEYED, Ok, answers
from api.openapi import body as documented_body
from api.routes.deliveries import rendered
from api.threads import run_in_threadpool
from worker import document
from worker.errors import BadRequest, Conflict, Invalid, NotFound
from worker.flow import endpoints as flow
from worker.models import WebhookEndpoint
from worker.store import endpoints, waiting

router = APIRouter(tags=["webhooks"], default_response_class=Response)

PATH = "/v1/webhooks"
ONE = f"{PATH}/{{endpoint_id}}"
WRITING = (*KEYED, BadRequest, PayloadTooLarge, Invalid)
KIND = "webhook"
SHOWN = Ok(about="The endpoint.", schema=endpoint.WebhookEndpoint, example=endpoint.ENDPOINT)

Status = Annotated[
    Literal["pending", "delivered", "exhausted", "held", "cancelled"] | None, Query(description="Only these.")
]


@router.post(
    PATH,
    status_code=201,
    summary="Register a webhook endpoint",
    responses=answers(
        Ok(
            about="The endpoint. Its secret and the values of its headers are shown here only.",
            status=201,
            schema=endpoint.NewWebhookEndpoint,
            example=endpoint.CREATED,
            headers={"Location": "The endpoint's address."},
        ),
        fails=(*WRITING, Conflict),
    ),
    openapi_extra=documented_body(bodies.ENDPOINT, {"archive": ("With a header", endpoint.REGISTRATION)}),
)
async def create_webhook(request: Request, who: Postmaster, desk: AtDesk) -> Response:
    """It hears of every job of the project from now on, beside the job's own `webhook_url`. Up to 50 in a project."""
    fields = await body.read_small(request)
    made = await run_in_threadpool(flow.create, desk.context, who.project_id, fields, who.by)
    return view.answer(endpoint.shown(made), 201, {"Location": f"{PATH}/{made.endpoint.id}"})


@router.get(
    PATH,
    summary="List webhook endpoints, newest first",
    responses=answers(
        Ok(about="A page.", schema=endpoint.WebhookEndpointList, example=examples.page(endpoint.ENDPOINT)),
        fails=(*KEYED, BadRequest, Invalid),
    ),
)
async def list_webhooks(who: Reader, desk: AtDesk, limit: Limit = 20, cursor: Cursor = None) -> Response:
    """Without secrets, and without the values of headers."""
    return view.answer(await desk.read(partial(_page, project_id=who.project_id, cursor_text=cursor, limit=limit)))


def _page(session: Session, *, project_id: str, cursor_text: str | None, limit: int) -> bytes:
    found = endpoints.page(session, project_id, before=cursor.decode(KIND, cursor_text), limit=limit + 1)
    shown, more = cursor.cut(KIND, found, limit)
    return orjson.dumps(view.page([document.endpoint(one) for one in shown], more))


@router.get(ONE, summary="Read a webhook endpoint", responses=answers(SHOWN, fails=(*KEYED, NotFound)))
async def read_webhook(who: Reader, endpoint_id: EndpointId, desk: AtDesk) -> Response:
    """Whether it is enabled, and if not, why."""
    found = await desk.read(partial(_known, endpoint_id=endpoint_id, project_id=who.project_id))
    return view.answer(document.endpoint(found))


def _known(session: Session, *, endpoint_id: str, project_id: str) -> WebhookEndpoint:
    found = endpoints.get(session, endpoint_id, project_id)
    if found is None:
        raise NotFound("no such webhook endpoint")
    return found


@router.patch(
    ONE,
    summary="Change a webhook endpoint",
    responses=answers(SHOWN, fails=(*WRITING, NotFound)),
    openapi_extra=documented_body(bodies.ENDPOINT_CHANGE, endpoint.CHANGES),
)
async def change_webhook(request: Request, who: Postmaster, endpoint_id: EndpointId, desk: AtDesk) -> Response:
    """What is not given stays as it is. What waits goes to the new `url`; `enabled: true` sends what was held."""
    fields = await body.read_small(request)
    changed = await run_in_threadpool(flow.change, desk.context, who.project_id, endpoint_id, fields, who.by)
    return view.answer(document.endpoint(changed))


@router.delete(
    ONE,
    status_code=204,
    summary="Delete a webhook endpoint",
    responses=answers(Ok(about="Gone.", status=204), fails=(*KEYED, NotFound)),
)
async def delete_webhook(who: Postmaster, endpoint_id: EndpointId, desk: AtDesk) -> Response:
    """Nothing more is sent to it, and what waits is cancelled."""
    await run_in_threadpool(flow.remove, desk.context, who.project_id, endpoint_id, who.by)
    return Response(status_code=204)


@router.post(
    f"{ONE}/rotate-secret",
    summary="Replace the secret of a webhook endpoint",
    responses=answers(
        Ok(
            about="The endpoint with its new secret, and its header values.",
            schema=endpoint.NewWebhookEndpoint,
            example=endpoint.CREATED,
        ),
        fails=(*KEYED, NotFound),
    ),
)
async def rotate_webhook_secret(who: Postmaster, endpoint_id: EndpointId, desk: AtDesk) -> Response:
    """The old one signs along for 24 hours."""
    made = await run_in_threadpool(flow.rotate, desk.context, who.project_id, endpoint_id, who.by)
    return view.answer(endpoint.shown(made))


@router.post(
    f"{ONE}/ping",
    status_code=202,
    summary="Send a test event",
    responses=answers(
        Ok(
            about="The delivery of the `webhook.ping`.",
            status=202,
            schema=schemas.Delivery,
            example=endpoint.PING,
            headers={"Location": "Where its attempts are found."},
        ),
        fails=(*KEYED, NotFound),
    ),
)
async def ping_webhook(who: Postmaster, endpoint_id: EndpointId, desk: AtDesk) -> Response:
    """Signed, sent and recorded as any other event, whatever the endpoint asked for; also where it is disabled."""
    delivery = await run_in_threadpool(flow.ping, desk.context, who.project_id, endpoint_id, who.by)
    shown = await desk.read(lambda session: rendered(session, [delivery])[0])
    return view.answer(shown, 202, {"Location": f"/v1/deliveries/{delivery.id}"})


@router.post(
    f"{ONE}/replay",
    status_code=202,
    summary="Send once more what failed or is held",
    responses=answers(
        Ok(about="It begins now.", status=202, schema=endpoint.WebhookEndpoint, example=endpoint.ENDPOINT),
        fails=(*WRITING, NotFound),
    ),
    openapi_extra=documented_body(bodies.REPLAY, {"since": ("Since a moment", endpoint.REPLAY)}),
)
async def replay_webhook(request: Request, who: Postmaster, endpoint_id: EndpointId, desk: AtDesk) -> Response:
    """Every delivery made since then that has not arrived, under its old `webhook-id`.

    What a disabled endpoint has held goes once, and is held again where that fails.
    """
    fields = await body.read_small(request)
    found = await run_in_threadpool(flow.replay, desk.context, who.project_id, endpoint_id, fields, who.by)
    return view.answer(document.endpoint(found), 202)


@router.get(
    f"{ONE}/deliveries",
    summary="List what went to a webhook endpoint, newest first",
    responses=answers(
        Ok(about="A page.", schema=schemas.DeliveryList, example=examples.page(endpoint.PING)),
        fails=(*KEYED, NotFound, BadRequest, Invalid),
    ),
)
async def list_webhook_deliveries(
    who: Reader,
    endpoint_id: EndpointId,
    desk: AtDesk,
    *,
    status: Status = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """One for each event; `GET /v1/deliveries/{id}` has the attempts."""
    read = partial(_sent, endpoint_id=endpoint_id, project_id=who.project_id, status=status, cursor_text=cursor)
    return view.answer(await desk.read(partial(read, limit=limit)))


def _sent(
    session: Session, *, endpoint_id: str, project_id: str, status: str | None, cursor_text: str | None, limit: int
) -> bytes:
    before = cursor.decode("delivery", cursor_text)
    _known(session, endpoint_id=endpoint_id, project_id=project_id)
    found = waiting.of_endpoint(session, endpoint_id, status=status, before=before, limit=limit + 1)
    shown, more = cursor.cut("delivery", found, limit)
    return orjson.dumps(view.page(rendered(session, shown), more))
