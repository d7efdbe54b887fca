"""Rows made to measure, for tests of what the engine does with them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlmodel import Session

from worker import ids
from worker.models import Delivery, Event, Job, Project
from worker.store import projects

MODEL = "gemini-3.8-flash"
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def project(session: Session, name: str = "tests") -> Project:
    return projects.create_project(session, name, sealed_secret=b"sealed", now=NOW)


def job(project_id: str, **values: Any) -> Job:
    """A queued job of a model, with whatever shall differ."""
    job_id = values.pop("id", None) or ids.new("job")
    defaults: dict[str, Any] = {
        "status": "queued",
        "kind": "model",
        "target": MODEL,
        "priority": 1,
        "created_at": NOW,
        "timeout_seconds": 1800.0,
        "queue_timeout_seconds": 604_800.0,
        "action_timeout_seconds": 86_400.0,
        "max_attempts": 3,
        "on_unknown_create": "retry",
        "retention_days": 30,
        "conversation_id": job_id,
        "user_metadata": {},
        "labels": {},
        "substitutions": [],
        "notes": [],
    }
    return Job(id=job_id, project_id=project_id, **(defaults | values))


def delivery(session: Session, of: Job, url: str = "https://hooks.example/in", **values: Any) -> Delivery:
    """An event of this job, and its delivery, due now."""
    of.sequence += 1
    event = Event(
        id=ids.new("evt"),
        project_id=of.project_id,
        job_id=of.id,
        sequence=of.sequence,
        type="job.completed",
        created_at=NOW,
        data={},
        payload=b'{"type":"job.completed"}',
    )
    session.add(event)
    session.flush()
    defaults: dict[str, Any] = {"status": "pending", "created_at": NOW, "due_at": NOW, "host": "hooks.example"}
    made = Delivery(
        id=values.pop("id", None) or ids.new("dlv"),
        project_id=of.project_id,
        job_id=of.id,
        event_id=event.id,
        url=url,
        **(defaults | values),
    )
    session.add(made)
    session.flush()
    return made
