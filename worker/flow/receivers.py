"""Receivers: who may be sent what was claimed, what their answers mean for them, and what the sweep does for them.

An endpoint that is paused, disabled or deleted is decided about under its row's lock, so that no delivery waits for a
recovery that has been. Locks are taken in one order: deliveries, then endpoints; the sweep, which has the endpoint
first, never waits for a delivery that a claim holds.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache

import orjson
from sqlmodel import Session

from worker import document
from worker.context import Context
from worker.flow import health, rotation
from worker.models import Project, WebhookEndpoint
from worker.states import ENDPOINT_DISABLED
from worker.store import deliveries, endpoints, outbox, projects, waiting
from worker.store.deliveries import CANCELLED, HELD, PENDING, Due
from worker.telemetry import count, log
from worker.webhooks.reply import Reply, ReplyKind

AT_ONCE = 500
ENDPOINTS = 20
"""Endpoints that one sweep looks at."""

GONE = 410

Fate = tuple[str, datetime | None]
"""What becomes of a claimed delivery that may not be sent: its status, and when it is due."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A delivery that may be sent, with what signs it and the header fields of its endpoint's owner."""

    due: Due
    secrets: list[str]
    headers: dict[str, str]
    is_disabled: bool = False
    """It goes because its owner asks: where it fails it is held again."""


def admit(context: Context, session: Session, claimed: Sequence[Due], claim: str, now: datetime) -> list[Admitted]:
    """Those of the claimed deliveries that may be sent; the others are put aside."""
    found = _endpoints(session, {one.endpoint_id for one in claimed if one.endpoint_id})
    own = {one.project_id for one in claimed if one.endpoint_id is None}
    signers = {project.id: _signers(context, project, now) for project in projects.several(session, own)}
    opened = cache(lambda name: _opened(context, found[name], now))
    admitted: list[Admitted] = []
    aside: defaultdict[Fate, list[str]] = defaultdict(list)
    for one in claimed:
        if not one.body:
            # Asked for once more in the very moment when it was forgotten.
            aside[CANCELLED, None].append(one.id)
            continue
        if one.endpoint_id is None:
            admitted.append(Admitted(one, signers[one.project_id], {}))
            continue
        endpoint = found.get(one.endpoint_id)
        fate = _fate(one, endpoint, now, context.settings.claim_deliver_s)
        if fate is None and endpoint is not None:
            secrets, headers = opened(endpoint.id)
            there = replace(one, url=endpoint.url, host=endpoint.host)
            admitted.append(Admitted(there, secrets, headers, is_disabled=endpoint.disabled_at is not None))
        elif fate is not None:
            aside[fate].append(one.id)
    for (status, due_at), names in aside.items():
        deliveries.put_back(session, names, claim=claim, due_at=due_at, status=status)
    _readdress(session, claimed, admitted)
    session.flush()
    return admitted


def _readdress(session: Session, claimed: Iterable[Due], admitted: Iterable[Admitted]) -> None:
    """What goes elsewhere than it was written for: its endpoint has moved."""
    before = {one.id: one.url for one in claimed}
    moved: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for one in admitted:
        if one.due.url != before[one.due.id]:
            moved[one.due.url, one.due.host].append(one.due.id)
    for (url, host), names in moved.items():
        deliveries.readdress(session, names, url=url, host=host)


def _endpoints(session: Session, names: set[str]) -> dict[str, WebhookEndpoint]:
    """The endpoints as they are; those in trouble as they stay until the end of the transaction."""
    found = endpoints.several(session, names)
    troubled = {one.id for one in found.values() if one.disabled_at is not None or health.is_paused(one)}
    return found | endpoints.several(session, troubled, lock=True)


def _fate(one: Due, endpoint: WebhookEndpoint | None, now: datetime, claim_s: float) -> Fate | None:
    """Why a delivery may not be sent; None: it may."""
    if endpoint is None:
        return CANCELLED, None
    if one.is_asked:
        return None
    if endpoint.disabled_at is not None:
        return HELD, now + health.HELD_FOR
    if not health.is_paused(endpoint):
        return None
    if not health.may_probe(endpoint, now):
        return PENDING, None
    endpoint.due_at = now + timedelta(seconds=claim_s)
    return None


def _signers(context: Context, project: Project, now: datetime) -> list[str]:
    old, until = project.old_webhook_secret, project.old_webhook_secret_until
    return rotation.live(context.vault, project.webhook_secret, old, until, now)


def _opened(context: Context, endpoint: WebhookEndpoint, now: datetime) -> tuple[list[str], dict[str, str]]:
    """What signs an endpoint's deliveries, and its owner's header fields."""
    old, until = endpoint.old_secret, endpoint.old_secret_until
    secrets = rotation.live(context.vault, endpoint.secret, old, until, now)
    return secrets, headers_of(context, endpoint)


def headers_of(context: Context, endpoint: WebhookEndpoint) -> dict[str, str]:
    """The header fields that its owner wants to be sent."""
    headers: dict[str, str] = orjson.loads(context.vault.open(endpoint.headers)) if endpoint.headers else {}
    return headers


@dataclass(slots=True)
class Learnt:
    """Endpoints that answers have disabled, and the ids of all that shall not be sent more for now."""

    disabled: list[WebhookEndpoint] = field(default_factory=list)
    stopped: set[str] = field(default_factory=set)


def learn(session: Session, told: Iterable[tuple[Due, Reply]], now: datetime) -> Learnt:
    """What answers mean for the endpoints that gave them; those of an address that was left since mean nothing."""
    answers: defaultdict[str, list[tuple[str, Reply]]] = defaultdict(list)
    for due, reply in told:
        if due.endpoint_id:
            answers[due.endpoint_id].append((due.url, reply))
    failing = {name for name, given in answers.items() if any(reply.kind is not ReplyKind.OK for _, reply in given)}
    ailing = endpoints.ailing(session, answers.keys() - failing)
    learnt = Learnt()
    for endpoint in endpoints.several(session, failing | ailing, lock=True).values():
        replies = [reply for url, reply in answers[endpoint.id] if url == endpoint.url]
        if replies:
            _learn(session, endpoint, replies, now, learnt)
    session.flush()
    return learnt


def _learn(session: Session, endpoint: WebhookEndpoint, replies: Sequence[Reply], now: datetime, into: Learnt) -> None:
    if any(reply.kind is ReplyKind.OK for reply in replies):
        health.succeeded(endpoint, now)
    else:
        wish_s = max(reply.retry_after_s or 0 for reply in replies)
        health.failed(endpoint, len(replies), now, timedelta(seconds=wish_s))
    reason = health.reason_to_disable(endpoint, now, is_gone=any(reply.status == GONE for reply in replies))
    if reason is not None:
        health.disable(endpoint, reason, now)
        _announce(session, endpoint, now)
        into.disabled.append(endpoint)
    if endpoint.disabled_at is not None or health.is_paused(endpoint):
        into.stopped.add(endpoint.id)
        if endpoint.disabled_at is None:
            # All at once: one claim after the other would take as long as sending them.
            waiting.park(session, endpoint.id, now, AT_ONCE)


def _announce(session: Session, endpoint: WebhookEndpoint, now: datetime) -> None:
    """Tell the project's other endpoints."""
    others = endpoints.listeners(session, {endpoint.project_id})
    hearing = [one for one in others if one.id != endpoint.id and one.wants(ENDPOINT_DISABLED)]
    body = document.notice(ENDPOINT_DISABLED, document.endpoint(endpoint), now)
    outbox.announce(session, hearing, ENDPOINT_DISABLED, body, now)


def tell(disabled: Iterable[WebhookEndpoint]) -> None:
    """One line and one count for each endpoint that was disabled, after the commit."""
    for one in disabled:
        log.warning("endpoint.disabled", endpoint_id=one.id, host=one.host, reason=one.disabled_reason)
        count("nightdesk_endpoints_disabled_total", reason=str(one.disabled_reason))


def look(context: Context) -> None:
    """What waits at endpoints that were enabled, disabled, deleted or have recovered, or may be tried again."""
    now = context.clock()
    with context.database.read() as session:
        names = endpoints.due(session, now, ENDPOINTS)
    for name in names:
        with context.database.write() as session:
            endpoint = endpoints.take(session, name, now)
            if endpoint is not None:
                _look_at(session, endpoint, now)
                session.flush()


def _look_at(session: Session, endpoint: WebhookEndpoint, now: datetime) -> None:
    """A batch; the endpoint is looked at again until there is none left."""
    if endpoint.deleted_at is not None:
        if not waiting.cancel(session, endpoint.id, AT_ONCE):
            endpoints.remove(session, endpoint)
        return
    is_more = go_on(session, endpoint, now)
    if endpoint.disabled_at is not None:
        is_more |= waiting.hold(session, endpoint.id, now + health.HELD_FOR, AT_ONCE) > 0
    elif health.is_paused(endpoint):
        is_more |= waiting.probe(session, endpoint.id, now) > 0
    else:
        is_more |= waiting.release(session, endpoint.id, now, AT_ONCE) > 0
    endpoint.due_at = now if is_more else None


def go_on(session: Session, endpoint: WebhookEndpoint, now: datetime) -> bool:
    """The next batch of a replay, if one is under way; whether there was any."""
    after, until = endpoint.replay_after, endpoint.replay_until
    if after is None or until is None:
        return False
    is_asked = endpoint.disabled_at is not None
    endpoint.replay_after = waiting.replay(
        session, endpoint.id, after=after, until=until, now=now, is_asked=is_asked, limit=AT_ONCE
    )
    return endpoint.replay_after is not None
