"""What the books are checked with, gathered once when a run is over: each party's own account of what happened."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import httpx2
import orjson
import sqlalchemy as sa
from sqlmodel import Session, col

from tests.chaos.acts import ACTIONS, Sight
from tests.chaos.client import Clients, Heard
from tests.chaos.ledger import Arrival, Registered
from tests.chaos.operators import Operator
from tests.chaos.orders import Order
from tests.chaos.recovery import Recovery
from tests.chaos.site import Deed, Site
from tests.chaos.watcher import Seen
from worker.dev.simulator.prompt import prompt_hash
from worker.document import stamp
from worker.models import AuditEntry, Delivery, DeliveryAttempt, Event, Interaction, Job, WebhookEndpoint

AT_ONCE = 12
KEY = {"x-goog-api-key": "simulated"}


@dataclass(frozen=True)
class Evidence:
    """The clients', the database's, the API's, the upstream's and the receiver's accounts."""

    orders: Sequence[Order]
    heard: Sequence[Heard]
    faults: Sequence[str]
    diary: Sequence[Deed]
    recoveries: Sequence[Recovery]
    now: datetime
    """When the database was read: what is asked of the others takes its time, and webhooks go on meanwhile."""
    jobs: Mapping[str, Job]
    events: Mapping[str, list[Event]]
    deliveries: Mapping[str, list[Delivery]]
    """By event, unlike events and interactions, which are by job."""
    interactions: Mapping[str, list[Interaction]]
    shown: Mapping[str, dict[str, Any]]
    """Each job as the API shows it."""
    upstream: Sequence[dict[str, Any]]
    asked: Mapping[str, int]
    """How many creates arrived, accepted or not, by the prompt's hash, since the upstream was last started."""
    spoiled: int
    """How many calls the upstream failed or falsified on purpose."""
    bodies: Mapping[str, dict[str, Any]]
    """Interactions of completed jobs as the upstream tells them, by id."""
    received: Sequence[dict[str, Any]]
    streamed: Mapping[str, Seen]
    """What the event streams told, by job."""
    backlog: Mapping[str, int]
    longest: Mapping[str, int]
    """The most messages that were seen in each queue."""
    registered: Registered = field(default_factory=Registered)
    """What endpoints, their operators and the audit log tell."""

    @cached_property
    def accepted(self) -> Mapping[str, Order]:
        """The order of each job that was answered 202."""
        return {job_id: order for order in self.orders for job_id in order.job_ids}

    @cached_property
    def made(self) -> Mapping[str, list[dict[str, Any]]]:
        """The upstream's interactions by the job whose prompt they had; under "" those of nobody."""
        found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for one in self.upstream:
            found[self._by_hash.get(one["prompt_hash"], "")].append(one)
        return found

    @cached_property
    def posts(self) -> Mapping[str, int]:
        """How many creates of each job arrived upstream, as far as that remembers."""
        found: Counter[str] = Counter()
        for name, job_id in self._by_hash.items():
            found[job_id] += self.asked.get(name, 0)
        return found

    @cached_property
    def bodies_ordered(self) -> Mapping[str, dict[str, Any]]:
        """What the client asked for, by the job that it was told."""
        return {
            job_id: body
            for order in self.orders
            if order.job_ids
            for job_id, body in zip(order.job_ids, order.bodies, strict=True)
        }

    @cached_property
    def _by_hash(self) -> Mapping[str, str]:
        return {
            prompt_hash(words): job_id
            for job_id, body in self.bodies_ordered.items()
            for words in self.accepted[job_id].prompts(body)
        }


def gather(site: Site, crowd: Sequence[Clients], operators: Sequence[Operator]) -> Evidence:
    """Ask everybody; the installation must be at rest. The clients are in the order of their projects."""
    with _snapshot(site) as session:
        now = datetime.now(UTC)
        jobs = {job.id: job for job in session.scalars(sa.select(Job))}
        events, interactions = defaultdict(list), defaultdict(list)
        for event in session.scalars(sa.select(Event).order_by(col(Event.sequence), col(Event.id))):
            events[event.job_id].append(event)
        for row in session.scalars(sa.select(Interaction).order_by(col(Interaction.created_at))):
            interactions[row.job_id].append(row)
        deliveries = defaultdict(list)
        for delivery in session.scalars(sa.select(Delivery)):
            deliveries[delivery.event_id].append(delivery)
        registered = _registered(session, site, operators)
    stats = site.control.stats()
    completed = [str(job.interaction_id) for job in jobs.values() if job.status == "completed"]
    shown: dict[str, dict[str, Any]] = {}
    for tenant in site.tenants:
        names = [job.id for job in jobs.values() if job.project_id == tenant.project_id]
        shown |= _each(f"{site.stack.url}/v1/jobs", names, tenant.headers)
    lines = [orjson.loads(line) for line in site.hooks.read_bytes().splitlines()]
    return Evidence(
        orders=[order for clients in crowd for order in clients.orders],
        heard=[heard for clients in crowd for heard in clients.heard],
        faults=[fault for clients in crowd for fault in clients.faults],
        diary=site.diary,
        recoveries=site.recoveries,
        now=now,
        jobs=jobs,
        events=events,
        deliveries=deliveries,
        interactions=interactions,
        shown=shown,
        upstream=site.control.interactions(),
        asked={name: count["posts"] for name, count in stats["prompts"].items()},
        spoiled=site.spoiled + sum(stats["faults"].values()),
        bodies=_each(f"{site.stack.simulator_url}/v1/interactions", completed, KEY),
        received=[line for line in lines if "place" not in line],
        streamed={job_id: seen for clients in crowd for job_id, seen in clients.watcher.seen.items()},
        backlog=site.backlog(),
        longest=site.longest,
        registered=replace(registered, arrivals=[Arrival(**line) for line in lines if "place" in line]),
    )


@contextmanager
def _snapshot(site: Site) -> Iterator[Session]:
    """The database as it is at one moment: receivers that only fail are tried all the time."""
    with site.database.read() as session:
        if not site.database.is_sqlite:
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        yield session


def _registered(session: Session, site: Site, operators: Sequence[Operator]) -> Registered:
    attempts = defaultdict(list)
    rows = {row.id: row for row in session.scalars(sa.select(WebhookEndpoint))}
    logged = sa.select(DeliveryAttempt).order_by(col(DeliveryAttempt.delivery_id), col(DeliveryAttempt.number))
    for attempt in session.scalars(logged):
        attempts[attempt.delivery_id].append(attempt)
    audit = list(session.scalars(sa.select(AuditEntry).where(col(AuditEntry.action).in_(ACTIONS))))
    seen = {sight for operator in operators for sight in operator.sights}
    seen |= {Sight(row.id, *_disabled(row)) for row in rows.values() if row.disabled_at is not None}
    return Registered(
        projects={tenant.name: tenant.project_id for tenant in site.tenants},
        keys={tenant.name: tenant.key_id for tenant in site.tenants},
        acts=[act for operator in operators for act in operator.acts],
        sights=seen,
        audit=audit,
        rows=rows,
        attempts=attempts,
        talk_s=site.talk_s,
    )


def _disabled(row: WebhookEndpoint) -> tuple[str, str]:
    return str(stamp(row.disabled_at)), str(row.disabled_reason)


def _each(url: str, names: Sequence[str], headers: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    with httpx2.Client(headers=dict(headers), timeout=60) as client, ThreadPoolExecutor(AT_ONCE) as threads:
        return dict(zip(names, threads.map(lambda name: client.get(f"{url}/{name}").json(), names), strict=True))
