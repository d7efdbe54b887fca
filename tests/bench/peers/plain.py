"""What the plain programs share: one table, one Celery app, the SDK's client, and both ends of a job's life.

PEER_DATABASE_URL, PEER_REDIS_URL and PEER_UPSTREAM_URL tell where the rest is.
"""

import os
from datetime import UTC, datetime
from functools import cache
from threading import Lock
from typing import Any

import httpx2
import orjson
import sqlalchemy as sa
from celery import Celery, signals
from google import genai
from google.genai.types import HttpOptions
from sqlmodel import Field, Session, SQLModel, create_engine

LOCK = Lock()


class PlainJob(SQLModel, table=True):
    """One job."""

    __tablename__ = "plain_job"

    id: str = Field(primary_key=True)
    status: str = "queued"
    body: str
    created_at: datetime
    finished_at: datetime | None = None
    interaction_id: str | None = None
    output_text: str | None = None


@signals.worker_ready.connect
def _tell(**_: object) -> None:
    print("takes tasks", flush=True)


def celery(name: str) -> Celery:
    """A Celery app with Celery's own defaults."""
    return Celery(name, broker=os.environ["PEER_REDIS_URL"])


def engine() -> sa.Engine:
    """One engine for each process."""
    with LOCK:
        return _engine()


@cache
def _engine() -> sa.Engine:
    url = os.environ["PEER_DATABASE_URL"]
    return create_engine(url, connect_args={"timeout": 30} if url.startswith("sqlite") else {})


def gemini() -> Any:
    """One client for each process, made after any fork; a second one that is dropped would be closed in mid-call."""
    with LOCK:
        return _gemini()


@cache
def _gemini() -> Any:
    options = HttpOptions(base_url=os.environ["PEER_UPSTREAM_URL"], api_version="v1")
    return genai.Client(api_key="simulated", http_options=options)


def hooks() -> httpx2.Client:
    """One client for the webhooks of each process."""
    with LOCK:
        return _hooks()


@cache
def _hooks() -> httpx2.Client:
    return httpx2.Client(timeout=15)


def create(job_id: str) -> str:
    """Create the interaction of a job and keep its id."""
    with Session(engine()) as session:
        wanted = orjson.loads(session.get_one(PlainJob, job_id).body)
    made = gemini().interactions.create(model=wanted["model"], input=wanted["input"], background=True)
    with Session(engine()) as session:
        job = session.get_one(PlainJob, job_id)
        job.interaction_id, job.status = made.id, "in_progress"
        session.commit()
    return str(made.id)


def finish(job_id: str, interaction: Any) -> None:
    """Keep the result and send the webhook."""
    with Session(engine()) as session:
        job = session.get_one(PlainJob, job_id)
        job.status, job.output_text = str(interaction.status), interaction.output_text
        job.finished_at = datetime.now(UTC)
        session.commit()
        session.refresh(job)
    wanted = orjson.loads(job.body)
    hooks().post(wanted["webhook_url"], json={"type": "job.completed", "data": told(job)}).raise_for_status()


def told(job: PlainJob) -> dict[str, str | None]:
    """The job as its owner hears of it."""
    moments = {name: getattr(job, name).isoformat() for name in ("created_at", "finished_at")}
    return {"id": job.id, "interaction_id": job.interaction_id, "output_text": job.output_text, **moments}
