"""The secret that signs the project's `webhook_url` deliveries."""

from time import monotonic

from fastapi import APIRouter, Request, Response

from api import examples, rates, schemas, view
from api.auth import Postmaster
from api.desk import AtDesk
from api.openapi import KEYED, Ok, answers
from api.threads import run_in_threadpool
from worker.flow import secrets

router = APIRouter(tags=["webhook secret"], default_response_class=Response)

PATH = "/v1/webhook-secret"


@router.get(
    PATH,
    summary="Read the webhook secret",
    responses=answers(Ok(about="The secret.", schema=schemas.WebhookSecret, example=examples.SECRET), fails=KEYED),
)
async def read_secret(request: Request, who: Postmaster, desk: AtDesk) -> Response:
    """For verifying signatures by the Standard Webhooks specification.

    Who reads it is written down: so it counts as a submission.
    """
    request.state.rate = desk.rates.take(who.key_id, rates.SUBMIT, monotonic())
    return view.answer({"secret": await run_in_threadpool(secrets.current, desk.context, who.project_id, who.by)})


@router.post(
    f"{PATH}/rotate",
    summary="Replace the webhook secret",
    responses=answers(Ok(about="The new secret.", schema=schemas.WebhookSecret, example=examples.SECRET), fails=KEYED),
)
async def rotate_secret(who: Postmaster, desk: AtDesk) -> Response:
    """The old one signs along for 24 hours."""
    return view.answer({"secret": await run_in_threadpool(secrets.rotate, desk.context, who.project_id, who.by)})
