"""A rich project for those who try to get at it, and what of it each part of a request can name.

A path or query parameter that is not in these tables fails the walk over the OpenAPI document: whoever adds one says
here what another project's would be.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlmodel import col

from tests.factories import delivery
from tests.integration.api.engine import Worker
from tests.integration.api.serving import Server, Tenant
from worker import ids
from worker.gemini.references import ENVIRONMENT, FILE
from worker.models import DeliveryAttempt, Interaction, Job, Project
from worker.store import holdings, usage

MARK = "owl-7f3c"
"""In everything that the rich project wrote."""

MODEL, AGENT = "gemini-3.8-flash", "deep-research-preview-04-2026"
KEY = "the-same-key-in-both"
PLANNING = {"type": "deep-research", "collaborative_planning": True}
HOOK = f"https://hooks.example/{MARK}"


@dataclass
class Estate:
    """What a project has, by the names that requests give it."""

    tenant: Tenant
    jobs: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    deliveries: list[str] = field(default_factory=list)
    endpoints: list[str] = field(default_factory=list)
    cursors: dict[str, str] = field(default_factory=dict)
    file: str = f"files/{MARK}"
    environment: str = f"environments/{MARK}"

    @property
    def in_path(self) -> dict[str, list[str]]:
        """Values of path parameters; ids first that show most."""
        named = [*self.jobs, f"{self.jobs[0]}.2", *self.runs[:1]]
        return {
            "job_id": self.jobs,
            "conversation_id": self.jobs[:2],
            "delivery_id": self.deliveries,
            "endpoint_id": self.endpoints,
            "interaction_id": named,
            "number": ["0"],
            "version": ["v1beta"],
        }

    @property
    def in_query(self) -> dict[str, list[str]]:
        """Values of query parameters by name."""
        return {
            "status": ["completed", "queued", "requires_action"],
            "agent": [AGENT],
            "model": [MODEL],
            "priority": ["high", "normal"],
            "created_after": ["2020-01-01T00:00:00Z"],
            "created_before": ["2100-01-01T00:00:00Z"],
            "conversation": self.jobs[:1],
            "job": self.jobs[:1],
            "metadata": [f"metadata[mark]={MARK}"],
            "label": [f"label[mark]={MARK}"],
            "limit": ["100"],
            "cursor": [*self.cursors.values()],
            "wait": ["0"],
            "include": ["steps,input,turns"],
            "format": ["wav", "original"],
            "group_by": ["job", "conversation", "key", "target", "day"],
            "from": ["2020-01-01T00:00:00Z"],
            "to": ["2100-01-01T00:00:00Z"],
            "action": ["job.submit"],
            "actor": [self.tenant.key_id],
            "subject": [self.jobs[0], self.tenant.key_id],
            "since": ["2020-01-01T00:00:00Z"],
            "kind": ["model"],
            "ability": ["text"],
            "stream": ["true"],
            "last_event_id": ["1"],
            "include_input": ["true"],
        }

    @property
    def in_body(self) -> dict[str, Any]:
        """Fields of a job that name something: what this project has of each, and what nobody has."""
        nobody = ids.new("job")
        uri = "https://generativelanguage.googleapis.com/v1/files/{}"

        def shown(name: str) -> list[dict[str, Any]]:
            return [{"type": "document", "uri": name, "mime_type": "application/pdf"}]

        return {
            "previous_job_id": (self.jobs[0], nobody),
            "previous_interaction_id": (self.runs[0], f"v1_{nobody}"),
            "environment": (self.environment, "environments/nobody-s"),
            "input": (shown(uri.format(MARK)), shown(uri.format("nobodys"))),
        }

    def secrets(self) -> list[str]:
        """What no answer to anybody else may hold."""
        return [
            MARK,
            *self.jobs,
            *self.runs,
            *self.deliveries,
            *self.endpoints,
            self.tenant.project_id,
            self.tenant.key_id,
        ]


def rich(server: Server) -> Estate:
    """Jobs in many statuses, deliveries, a conversation, artifacts, holdings, tokens, idempotency keys."""
    estate, worker = Estate(server.tenant()), Worker(server.context)
    for _ in range(2):
        made = {"url": HOOK, "description": MARK, "headers": {"X-Mark": MARK}}
        estate.endpoints.append(estate.tenant.post("/v1/webhooks", made).json()["id"])
    _jobs(server, estate, worker)
    _outside(server, estate)
    lists = {
        "jobs": "/v1/jobs",
        "deliveries": f"/v1/jobs/{estate.jobs[0]}/deliveries",
        "conversation": f"/v1/conversations/{estate.jobs[0]}",
        "usage": "/v1/usage?group_by=job&from=2020-01-01T00:00:00Z",
        "audit": "/v1/audit",
        "endpoints": "/v1/webhooks",
        "sent": f"/v1/webhooks/{estate.endpoints[0]}/deliveries",
        "events": f"/v1/jobs/{estate.jobs[0]}/events",
    }
    for name, path in lists.items():
        query = ("&" if "?" in path else "?") + "limit=1"
        told = estate.tenant.get(path + query, headers={"Accept": "application/json"}).json()
        estate.cursors[name] = told["next_cursor"]
        assert estate.cursors[name], f"{name} has one page only"
    return estate


def _jobs(server: Server, estate: Estate, worker: Worker) -> None:
    tenant = estate.tenant
    words: dict[str, Any] = {"input": f"Tell of {MARK}.", "metadata": {"mark": MARK}, "labels": {"mark": MARK}}
    first = tenant.post(
        "/v1/jobs", {"model": MODEL, **words, "priority": "high"}, headers={"Idempotency-Key": KEY}
    ).json()["id"]
    server.context.artifacts.put(f"{first}/1.1/0", b"\x89PNG " + MARK.encode())
    image = {"id": 0, "kind": "image", "mime_type": "image/png", "size": 5 + len(MARK)}
    image["url"] = f"/v1/jobs/{first}/artifacts/0"
    worker.complete(first, output_text=f"All of {MARK}.", artifacts=[image])
    second = tenant.submit(**words, previous_job_id=first)["id"]
    worker.complete(second, output_text=f"More of {MARK}.")
    failed, asking, running, queued = (tenant.submit(**words)["id"] for _ in range(4))
    worker.fail(failed)
    worker.require_action(asking)
    worker.start(running)
    plan = {"agent": AGENT, "agent_config": PLANNING, **words}
    planned = tenant.post("/v1/jobs", plan).json()["id"]
    worker.complete(planned, output_text=f"The plan of {MARK}.")
    door = tenant.post(
        "/gemini/v1/interactions",
        {"model": MODEL, "input": words["input"], "background": True},
        headers={"Idempotency-Key": KEY},
    ).json()["id"]
    estate.jobs = [first, planned, asking, failed, running, queued, second, door]
    estate.runs = [_run(server, job_id) for job_id in (first, running)]


def _run(server: Server, job_id: str) -> str:
    """The upstream id of a job's interaction, which the upstream's table knows, too."""
    with server.context.database.write() as session:
        job = session.get_one(Job, job_id)
        named: dict[str, Any] = {"upstream_id": job.interaction_id, "status": "completed"}
        session.add(
            Interaction(token=ids.token(), job_id=job_id, turn=1, attempt=1, created_at=job.created_at, **named)
        )
        return job.interaction_id or ""


def _outside(server: Server, estate: Estate) -> None:
    now, tenant = server.context.clock(), estate.tenant
    with server.context.database.write() as session:
        for _ in range(2):
            made = delivery(session, session.get_one(Job, estate.jobs[0]), url=HOOK)
            estate.deliveries.append(made.id)
        answered: dict[str, Any] = {"outcome": "ok", "http_status": 200, "latency_ms": 3, "snippet": MARK}
        session.add(DeliveryAttempt(delivery_id=estate.deliveries[0], number=1, at=now, **answered))
        until, named = now + timedelta(days=1), ((estate.file, FILE), (estate.environment, ENVIRONMENT))
        holdings.hold(session, [holdings.Held(*one, tenant.project_id, until) for one in named], now)
        for job_id in estate.jobs[:2]:
            whose = {"project_id": tenant.project_id, "key_id": tenant.key_id, "conversation_id": estate.jobs[0]}
            what = {"job_id": job_id, "turn": 1, "kind": "model", "target": MODEL, "at": now}
            usage.record(session, [{"token": ids.token(), **whose, **what, **dict.fromkeys(usage.TOKENS, 7)}])


def everything(server: Server, project_id: str) -> dict[str, list[str]]:
    """Every row of a project, as it is now: to be the same when others have tried what they could."""
    tables = Project.metadata.sorted_tables
    found: dict[str, list[str]] = {}
    with server.context.database.read() as session:
        mine = sa.select(col(Job.id)).where(col(Job.project_id) == project_id)
        for table in tables:
            if "project_id" in table.c:
                chosen = table.c.project_id == project_id
            elif "job_id" in table.c:
                chosen = table.c.job_id.in_(mine)
            elif table.name == "project":
                chosen = table.c.id == project_id
            else:
                continue
            columns = [column for column in table.c if column.name != "last_used_at"]
            found[table.name] = sorted(str(tuple(row)) for row in session.execute(sa.select(*columns).where(chosen)))
    return found
