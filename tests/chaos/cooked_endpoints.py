"""Evidence made up for the books of endpoints: how one fares that is well, gone for a while, deleted, failing, foreign.

All times are seconds from `cooked.NOW`, when the one job of it ended.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from standardwebhooks import Webhook

from tests.chaos import acts
from tests.chaos.acts import Act, Sight
from tests.chaos.cooked import NOW, delivery, good
from tests.chaos.evidence import Evidence
from tests.chaos.ledger import Arrival, Registered
from worker.document import notice, stamp
from worker.models import AuditEntry, Delivery, DeliveryAttempt, WebhookEndpoint
from worker.states import ENDPOINT_DISABLED, PING
from worker.webhooks import signing

HOME, NEXT_DOOR = "default", "neighbour"
PROJECTS = {HOME: "prj_1", NEXT_DOOR: "prj_2"}
WELL, GONE, DELETED, FAILING, FOREIGN = (f"whe_{number}" for number in range(1, 6))
MANNERS = {WELL: "well", GONE: "gone", DELETED: "well", FAILING: "failing", FOREIGN: "well"}
OLD, NEW, OTHER = (signing.new_secret() for _ in range(3))
EVENT, TOLD, TEST = "evt_3", "evt_told", "evt_ping"
BODY = b"{}"
PINGED = notice(PING, {"id": DELETED}, NOW)
DISABLED_AT = 1.5
"""When the one that is gone was disabled; it was enabled eighteen seconds after the job's end."""


def at(seconds: float) -> float:
    return NOW.timestamp() + seconds


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(at(seconds), UTC)


SAID = notice(ENDPOINT_DISABLED, {"id": GONE, "disabled_at": stamp(moment(DISABLED_AT))}, NOW)
BODIES = {EVENT: BODY, TOLD: SAID, TEST: PINGED}


def tenant(endpoint_id: str) -> str:
    return NEXT_DOOR if endpoint_id == FOREIGN else HOME


def url(endpoint_id: str) -> str:
    return f"http://127.0.0.1:1/{tenant(endpoint_id)}/{MANNERS.get(endpoint_id)}/{endpoint_id}.1"


def act(number: int, action: str, subject: str, asked: float, **changes: Any) -> Act:
    """One that was answered after a second."""
    of = tenant(subject)
    done = Act(of, f"{of}-act-{number}", action, subject, {}, at(asked), 200, at(asked + 1))
    return replace(done, **changes)


def made(number: int, endpoint_id: str, secret: str, *events: str) -> Act:
    told = {"url": url(endpoint_id), "description": endpoint_id, "events": list(events)}
    return act(number, acts.CREATED, endpoint_id, -100, told=told, answer={"id": endpoint_id, "secret": secret})


def entry(of: Act, **changes: Any) -> AuditEntry:
    fields: dict[str, Any] = {
        "id": f"aud_{of.request_id}",
        "project_id": PROJECTS[of.tenant],
        "at": NOW,
        "action": of.action,
        "actor": f"key_{of.tenant}",
        "request_id": of.request_id,
        "subject": of.subject,
    }
    return AuditEntry(**fields | changes)


def row(endpoint_id: str, *events: str, **changes: Any) -> WebhookEndpoint:
    fields: dict[str, Any] = {
        "id": endpoint_id,
        "project_id": PROJECTS[tenant(endpoint_id)],
        "url": url(endpoint_id),
        "host": "127.0.0.1",
        "events": list(events),
        "header_names": [],
        "secret": b"",
        "created_at": NOW,
        "failures": 0,
    }
    return WebhookEndpoint(**fields | changes)


def to(endpoint_id: str, event_id: str = EVENT, **changes: Any) -> Delivery:
    """A delivery to an endpoint."""
    of = {"id": f"dlv_{endpoint_id}_{event_id}", "endpoint_id": endpoint_id, "event_id": event_id}
    of |= {"url": url(endpoint_id), "project_id": PROJECTS[tenant(endpoint_id)]}
    return delivery(**of | changes)


def attempt(of: Delivery, number: int, seconds: float, status: int | None = 204) -> DeliveryAttempt:
    outcome = "ok" if status == 204 else "http"
    values: dict[str, Any] = {"outcome": outcome, "http_status": status, "latency_ms": 100, "snippet": ""}
    return DeliveryAttempt(delivery_id=of.id, number=number, at=moment(seconds), **values)


def arrival(endpoint_id: str, event_id: str, seconds: float, *secrets: str, **changes: Any) -> Arrival:
    """What came to an endpoint so many seconds after its delivery was claimed, signed with these."""
    body = BODIES[event_id]
    came = Arrival(
        at=at(seconds) + 0.1,
        tenant=tenant(endpoint_id),
        manner=MANNERS[endpoint_id],
        place=f"{endpoint_id}.1",
        mark=endpoint_id,
        webhook_id=event_id,
        timestamp=int(at(seconds)),
        signature="",
        body=body.decode(),
        digest=sha256(body).hexdigest(),
    )
    sent_at = datetime.fromtimestamp(came.timestamp, UTC)
    signed = [Webhook(secret).sign(event_id, sent_at, came.body) for secret in secrets]
    return replace(came, **{"signature": " ".join(signed), **changes})


def lives() -> Evidence:
    """A job's end that four endpoints of its project were to hear of, each with a life of its own."""
    done = [
        made(1, WELL, OLD, "job.completed", ENDPOINT_DISABLED),
        made(2, GONE, OTHER, "job.completed"),
        made(3, DELETED, OTHER, "job.completed"),
        made(4, FAILING, OTHER, "job.completed"),
        made(5, FOREIGN, OTHER, "job.completed"),
        act(6, acts.ROTATED, WELL, -50, answer={"secret": NEW}),
        act(7, acts.PINGED, DELETED, -30, answer={"id": to(DELETED, TEST).id}),
        act(8, acts.DELETED, DELETED, -28),
        act(9, acts.CHANGED, GONE, 18, told={"enabled": True}),
    ]
    foreign = replace(act(10, acts.REFUSED, WELL, 0, status=404), tenant=NEXT_DOOR, request_id=f"{NEXT_DOOR}-act-10")
    sent = {
        "well": to(WELL),
        "gone": to(GONE, attempts=2),
        "told": to(WELL, TOLD, event_type=ENDPOINT_DISABLED, body=SAID, created_at=moment(DISABLED_AT)),
        "ping": to(DELETED, TEST, event_type=PING, body=PINGED, attempts=0, status="cancelled"),
        "failing": to(FAILING, status="pending", attempts=1),
    }
    logged = [
        [attempt(sent["well"], 1, 0.5)],
        [attempt(sent["gone"], 1, 1, 410), attempt(sent["gone"], 2, 20)],
        [attempt(sent["told"], 1, 2)],
        [attempt(sent["failing"], 1, 1, 500)],
    ]
    came = [
        arrival(WELL, EVENT, 0.5, NEW, OLD),
        arrival(WELL, TOLD, 2, NEW, OLD),
        arrival(GONE, EVENT, 1, OTHER),
        arrival(GONE, EVENT, 20, OTHER),
        arrival(FAILING, EVENT, 1, OTHER),
    ]
    registered = Registered(
        projects=PROJECTS,
        keys={name: f"key_{name}" for name in PROJECTS},
        acts=[*done, foreign],
        sights={Sight(GONE, str(stamp(moment(DISABLED_AT))), "gone")},
        audit=[entry(one) for one in done],
        rows={
            WELL: row(WELL, "job.completed", ENDPOINT_DISABLED),
            GONE: row(GONE, "job.completed"),
            FAILING: row(
                FAILING, "job.completed", failures=1, failing_since=moment(1), due_at=NOW + timedelta(minutes=2)
            ),
            FOREIGN: row(FOREIGN, "job.completed"),
        },
        attempts={one[0].delivery_id: one for one in logged},
        arrivals=came,
        talk_s=6,
    )
    evidence = good()
    deliveries = {
        EVENT: [*evidence.deliveries[EVENT], sent["well"], sent["gone"], sent["failing"]],
        TOLD: [sent["told"]],
        TEST: [sent["ping"]],
    }
    return replace(evidence, deliveries=deliveries, registered=registered)
