"""Plan: what its owner makes of a research plan, as the next job of the conversation.

An approval buys the research, so of all approvals of one plan only one is taken.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlmodel import Session

from worker.context import Context
from worker.errors import Conflict, Fault, Invalid, NotFound
from worker.flow import again, submit
from worker.flow.draft import Draft, prepare, unknown_field
from worker.gemini import planning
from worker.models import Job
from worker.states import Status
from worker.store import jobs, submissions

ACTION, FEEDBACK = "action", "feedback"
APPROVE, EDIT = "approve", "edit"
MAX_FEEDBACK = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one request decides about a plan; `path` is the place that its order is made under."""

    project_id: str
    job_id: str
    path: str
    fields: Mapping[str, Any] = field(repr=False)
    key_id: str | None = None
    request_id: str | None = None

    @property
    def is_approval(self) -> bool:
        """Whether its order is to be the only one of its kind."""
        return self.fields.get(ACTION) == APPROVE


def draft(context: Context, asked: Asked) -> Draft:
    """The next job of a plan's conversation; raises NotFound, Conflict, Invalid."""
    with context.database.read() as session:
        job = jobs.get(session, asked.job_id, asked.project_id)
        body = jobs.body(session, asked.job_id, 1)
        if job is None or body is None:
            raise NotFound("no such job")
        _check(session, asked, job)
    faults = _faults(asked.fields)
    if faults:
        raise Invalid(*faults)
    first = orjson.loads(body) | {job.kind: job.target}
    decided = planning.decided(first, asked.fields[ACTION], asked.fields.get(FEEDBACK))
    fields = decided | again.choices(job) | {"previous_job_id": job.id}
    # What the plan's submission was allowed to name, what follows on it may name too.
    origin: dict[str, Any] = {"key_id": asked.key_id, "request_id": asked.request_id}
    origin["webhook_config"] = job.webhook_config
    return prepare(context, fields, project_id=job.project_id, is_admin=True, **origin)


def _check(session: Session, asked: Asked, job: Job) -> None:
    if job.status != Status.COMPLETED:
        raise Conflict(f"the job is {job.status}")
    if not job.is_planning:
        raise Conflict("the job is completed and was not asked for a plan, by agent_config.collaborative_planning")
    approved = submissions.held(session, job.project_id, asked.path, submit.ONCE)
    if approved is not None:
        raise Conflict(f"the job is completed, and its plan was approved already: {', '.join(approved.job_ids)}")


def _faults(fields: Mapping[str, Any]) -> list[Fault]:
    faults = [unknown_field(name, {ACTION, FEEDBACK}) for name in fields if name not in (ACTION, FEEDBACK)]
    if fields.get(ACTION) not in planning.ACTIONS:
        faults.append(Fault(f"/{ACTION}", f"must be one of {', '.join(planning.ACTIONS)}"))
    feedback = fields.get(FEEDBACK)
    if feedback is None:
        if fields.get(ACTION) == EDIT:
            faults.append(Fault(f"/{FEEDBACK}", "is required: what shall be different"))
    elif not isinstance(feedback, str) or not feedback.strip() or len(feedback) > MAX_FEEDBACK:
        faults.append(Fault(f"/{FEEDBACK}", f"must be a text of 1 to {MAX_FEEDBACK} characters"))
    return faults
