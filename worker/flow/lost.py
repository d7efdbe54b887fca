"""Lost: the job that an interaction was made for, where the answer to its create never came."""

from sqlmodel import Session

from worker.context import Context
from worker.flow import attempt
from worker.flow.attempt import Attempt
from worker.gemini.client import Created
from worker.gemini.name import Name, read_name
from worker.gemini.resource import Resource
from worker.store import interactions, jobs


def is_missing(session: Session, name: Name) -> bool:
    """Whether the POST of this name is one of ours that was never answered."""
    row = interactions.get(session, name.token)
    return row is not None and row.job_id == name.job_id and row.upstream_id is None


def is_awaited(session: Session, name: Name) -> bool:
    """Whether its job still waits for the answer."""
    job = jobs.get(session, name.job_id)
    return job is not None and job.claim == name.token and job.status in attempt.WAITING


def attach(context: Context, resource: Resource, name: Name) -> str:
    """Take the interaction for the late answer that it is: its job's, or an orphan, which is stopped."""
    assert read_name(resource.user_metadata) == name, "only what the API itself says names a job"
    made = Attempt(name.job_id, name.token, Created(resource.upstream_id, resource.status))
    return attempt.attach(context, [made])[name.job_id]
