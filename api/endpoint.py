"""Webhook endpoints as answers: their shape in the OpenAPI document, examples, and the rendering of both."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from api.examples import AT, DELIVERY, HOOK, SECRET
from worker import document
from worker.flow.endpoints import Shown

ENDPOINT_ID = "whe_01kqzv8d2f5h7k9m1p3r6t8v0x"


class WebhookEndpoint(BaseModel):
    """A receiver of the project's events."""

    id: str
    object: Literal["webhook_endpoint"]
    url: str
    description: str | None
    events: list[str] | None = Field(description="Null: all of them.")
    header_names: list[str] = Field(description="What is sent beside ours; the values are shown with the secret only.")
    enabled: bool
    disabled_at: datetime | None
    disabled_reason: Annotated[
        Literal["owner", "gone", "failing"] | None,
        Field(description="`gone`: it answered 410. `failing`: nothing but failures for five days."),
    ]
    failing_since: datetime | None = Field(description="The first of the failures since its last success.")
    created_at: datetime


class NewWebhookEndpoint(WebhookEndpoint):
    """An endpoint with what is shown when it is made and when its secret is replaced, and never else."""

    secret: str = Field(description="Signs its deliveries (Standard Webhooks).")
    headers: dict[str, str]


class WebhookEndpointList(BaseModel):
    """A page of endpoints, newest first."""

    object: Literal["list"]
    data: list[WebhookEndpoint]
    has_more: bool
    next_cursor: str | None = Field(description="Give it back as `cursor` to get the next page.")


REGISTRATION = {
    "url": HOOK,
    "events": ["job.completed", "job.failed", "endpoint.disabled"],
    "description": "The reports' archive",
    "headers": {"Authorization": "Bearer archive-7f3a"},
}
ENDPOINT = {
    "id": ENDPOINT_ID,
    "object": "webhook_endpoint",
    "url": HOOK,
    "description": "The reports' archive",
    "events": REGISTRATION["events"],
    "header_names": ["Authorization"],
    "enabled": True,
    "disabled_at": None,
    "disabled_reason": None,
    "failing_since": None,
    "created_at": AT,
}
CREATED = {**ENDPOINT, **SECRET, "headers": REGISTRATION["headers"]}
PING = {**DELIVERY, "job_id": None, "event_type": "webhook.ping", "endpoint_id": ENDPOINT_ID, "attempt_count": 0}
CHANGES: dict[str, tuple[str, Any]] = {
    "events": ("Other events", {"events": ["job.completed"]}),
    "enable": ("Send again, and first what was held", {"enabled": True}),
    "disable": ("Hold what happens from now on", {"enabled": False}),
}
REPLAY = {"since": AT}


def shown(made: Shown) -> dict[str, Any]:
    """An endpoint with its secret and the values of its headers."""
    return document.endpoint(made.endpoint) | {"secret": made.secret, "headers": made.headers}
