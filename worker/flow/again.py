"""Again: a new job like one that there was, for a retry; the same choices go with the next job of a plan."""

from typing import Any

import orjson

from worker.context import Context
from worker.document import PRIORITIES
from worker.errors import Conflict, NotFound
from worker.flow.draft import Draft, prepare
from worker.models import Job
from worker.states import TERMINAL, Status
from worker.store import jobs


def retry_draft(
    context: Context, project_id: str, job_id: str, *, key_id: str | None = None, request_id: str | None = None
) -> Draft:
    """A new job like a finished one that did not complete; raises NotFound, Conflict, Invalid."""
    with context.database.read() as session:
        job = jobs.get(session, job_id, project_id)
        body = jobs.body(session, job_id, 1) if job else None
    if job is None or body is None:
        raise NotFound("no such job")
    if job.status not in TERMINAL or job.status == Status.COMPLETED:
        raise Conflict(f"the job is {job.status}")
    if job.is_adopted:
        raise Conflict("the job was adopted: its interaction was made elsewhere, with a request that is not known here")
    fields = orjson.loads(body) | choices(job) | {"previous_job_id": job.previous_job_id}
    # What the first submission was allowed to name, its retry may name too.
    origin: dict[str, Any] = {"key_id": key_id, "request_id": request_id, "retry_of": job.id}
    origin["webhook_config"] = job.webhook_config
    return prepare(context, fields, project_id=project_id, is_admin=True, **origin)


def choices(job: Job) -> dict[str, Any]:
    """What the owner of a job chose beside the interaction itself, but for its time and its place in a conversation."""
    return {
        "webhook_url": job.webhook_url,
        "webhook_events": job.webhook_events,
        "metadata": job.user_metadata,
        "priority": PRIORITIES[job.priority],
        "timeout_seconds": job.timeout_seconds,
        "queue_timeout_seconds": job.queue_timeout_seconds,
        "action_timeout_seconds": job.action_timeout_seconds,
        "on_unknown_create": job.on_unknown_create,
        "max_attempts": job.max_attempts or None,
        "strict_model": job.strict_model,
        "retention_days": job.retention_days,
    }
