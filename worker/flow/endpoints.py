"""Endpoints: what their owners do with them, one function for each action.

A secret and the values of headers leave here when they are made, and never again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from worker import document, ids, options
from worker.app import DELIVER
from worker.context import Context
from worker.errors import AddressRefused, Conflict, Fault, Invalid, NotFound, pointer_to
from worker.flow import health, receivers, rotation, wake
from worker.models import Delivery, WebhookEndpoint
from worker.options import Endpoint, EndpointChange, Replay
from worker.states import PING
from worker.store import audit, endpoints, outbox
from worker.store.audit import Actor
from worker.telemetry import log
from worker.webhooks import signing
from worker.webhooks.address import check_url
from worker.webhooks.headers import custom_header_fault

MAX_ENDPOINTS = 50
"""Of one project: every event is written once for each that wants it."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An endpoint with its secret and the values of its headers, to be shown this once."""

    endpoint: WebhookEndpoint
    secret: str
    headers: dict[str, str]


def create(context: Context, project_id: str, fields: Mapping[str, Any], by: Actor | None = None) -> Shown:
    """Register an endpoint; raises Invalid, and Conflict where the project has as many as it may."""
    asked, now, secret = options.asked(Endpoint, fields), context.clock(), signing.new_secret()
    values = _checked(context, asked, asked.model_fields_set | {"url", "headers"})
    endpoint = WebhookEndpoint(
        id=ids.new("whe", now),
        project_id=project_id,
        secret=context.vault.seal(secret),
        created_at=now,
        **values,
    )
    with context.database.write() as session:
        if endpoints.number(session, project_id) >= MAX_ENDPOINTS:
            raise Conflict(f"a project has at most {MAX_ENDPOINTS} webhook endpoints")
        endpoints.add(session, endpoint)
        audit.note(session, by, audit.ENDPOINT_CREATED, project_id=project_id, subject=endpoint.id, now=now)
    _tell("create", endpoint)
    return Shown(endpoint, secret, asked.headers or {})


def change(
    context: Context, project_id: str, endpoint_id: str, fields: Mapping[str, Any], by: Actor | None = None
) -> WebhookEndpoint:
    """Change what is given; enabling sends what was held, and a new address begins anew. Raises NotFound, Invalid."""
    asked = options.asked(EndpointChange, fields)
    values, now = _checked(context, asked, asked.model_fields_set), context.clock()
    with context.database.write() as session:
        endpoint = endpoints.get(session, endpoint_id, project_id, lock=True)
        if endpoint is None:
            raise NotFound("no such webhook endpoint")
        is_enabled, before = endpoint.disabled_at is None, endpoint.url
        for name, value in values.items():
            setattr(endpoint, name, value)
        shall_be = asked.enabled if "enabled" in asked.model_fields_set else is_enabled
        if shall_be and (not is_enabled or endpoint.url != before):
            health.enable(endpoint, now)
        elif is_enabled and not shall_be:
            health.disable(endpoint, health.OWNER, now)
        audit.note(session, by, audit.ENDPOINT_CHANGED, project_id=project_id, subject=endpoint_id, now=now)
    _tell("change", endpoint)
    return endpoint


def remove(context: Context, project_id: str, endpoint_id: str, by: Actor | None = None) -> None:
    """Delete an endpoint: nothing more is sent to it, and the sweep cancels what waits. Raises NotFound."""
    now = context.clock()
    with context.database.write() as session:
        endpoint = endpoints.empty(session, endpoint_id, project_id, now)
        if endpoint is None:
            raise NotFound("no such webhook endpoint")
        audit.note(session, by, audit.ENDPOINT_DELETED, project_id=project_id, subject=endpoint_id, now=now)
    _tell("delete", endpoint)


def rotate(context: Context, project_id: str, endpoint_id: str, by: Actor | None = None) -> Shown:
    """A new secret; the old one signs along for 24 hours. Raises NotFound."""
    secret, now = signing.new_secret(), context.clock()
    with context.database.write() as session:
        endpoint = endpoints.get(session, endpoint_id, project_id, lock=True)
        if endpoint is None:
            raise NotFound("no such webhook endpoint")
        old, until = endpoint.old_secret, endpoint.old_secret_until
        endpoint.old_secret, endpoint.old_secret_until = rotation.retire(
            context.vault, endpoint.secret, old, until, now
        )
        endpoint.secret = context.vault.seal(secret)
        audit.note(session, by, audit.ENDPOINT_ROTATED, project_id=project_id, subject=endpoint_id, now=now)
    _tell("rotate", endpoint)
    return Shown(endpoint, secret, receivers.headers_of(context, endpoint))


def ping(context: Context, project_id: str, endpoint_id: str, by: Actor | None = None) -> Delivery:
    """Send a `webhook.ping` as any other event, also to a disabled endpoint. Raises NotFound."""
    now = context.clock()
    with context.database.write() as session:
        endpoint = endpoints.get(session, endpoint_id, project_id)
        if endpoint is None:
            raise NotFound("no such webhook endpoint")
        body = document.notice(PING, document.endpoint(endpoint), now)
        (delivery,) = outbox.announce(session, [endpoint], PING, body, now)
        delivery.is_asked = True
        audit.note(session, by, audit.ENDPOINT_PINGED, project_id=project_id, subject=endpoint_id, now=now)
    wake.batch(context, DELIVER)
    _tell("ping", endpoint)
    return delivery


def replay(
    context: Context, project_id: str, endpoint_id: str, fields: Mapping[str, Any], by: Actor | None = None
) -> WebhookEndpoint:
    """Send everything that failed or is held since a moment once more, some at once, the rest by the sweep.

    Also what a disabled endpoint has held: it goes once, and is held again where that fails. Raises NotFound, Invalid.
    """
    since, now = options.asked(Replay, fields).since, context.clock()
    with context.database.write() as session:
        endpoint = endpoints.get(session, endpoint_id, project_id, lock=True)
        if endpoint is None:
            raise NotFound("no such webhook endpoint")
        # One that is under way and began earlier is gone on with.
        endpoint.replay_after = min(filter(None, (ids.first("dlv", since), endpoint.replay_after)))
        endpoint.replay_until = ids.first("dlv", now, after_ms=1)
        if receivers.go_on(session, endpoint, now) or health.is_paused(endpoint):
            endpoint.due_at = now
        audit.note(session, by, audit.ENDPOINT_REPLAYED, project_id=project_id, subject=endpoint_id, now=now)
    wake.batch(context, DELIVER)
    _tell("replay", endpoint)
    return endpoint


def _checked(context: Context, asked: Endpoint, given: set[str]) -> dict[str, Any]:
    """The columns of what is given; raises Invalid."""
    faults: list[Fault] = []
    values = {name: getattr(asked, name) for name in given & {"events", "description"}}
    if values.get("events"):
        values["events"] = list(dict.fromkeys(values["events"]))
    if "url" in given:
        try:
            values |= {"url": asked.url, "host": check_url(asked.url, context.policy).host}
        except AddressRefused as error:
            faults.append(Fault("/url", str(error)))
    if "headers" in given:
        headers = asked.headers or {}
        faults += _header_faults(headers)
        sealed = context.vault.seal(orjson.dumps(headers).decode()) if headers and not faults else None
        values |= {"header_names": list(headers), "headers": sealed}
    if faults:
        raise Invalid(*faults)
    return values


def _header_faults(headers: Mapping[str, str]) -> list[Fault]:
    faults = []
    seen: set[str] = set()
    for name, value in headers.items():
        wrong = "is given twice" if name.lower() in seen else custom_header_fault(name, value)
        seen.add(name.lower())
        if wrong:
            faults.append(Fault(pointer_to(["headers", name[:64]]), wrong))
    return faults


def _tell(action: str, endpoint: WebhookEndpoint) -> None:
    log.info("endpoint", action=action, endpoint_id=endpoint.id, host=endpoint.host, outcome="ok")
