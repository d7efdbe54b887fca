"""The plainest submit: a `def` handler of FastAPI that commits one row through SQLModel and calls `.delay()`.

Run as `uvicorn tests.bench.peers.plain_api:build --factory` with PEER_DATABASE_URL and PEER_REDIS_URL.
"""

import os
import uuid

from celery import Celery
from fastapi import FastAPI
from sqlmodel import Field, Session, SQLModel, create_engine


class PlainJob(SQLModel, table=True):
    """One job."""

    __tablename__ = "plain_job"

    id: str = Field(primary_key=True)
    status: str = "queued"
    body: str


def build() -> FastAPI:
    """The application."""
    engine = create_engine(os.environ["PEER_DATABASE_URL"])
    PlainJob.__table__.create(engine, checkfirst=True)  # type: ignore[attr-defined]
    celery = Celery("plain", broker=os.environ["PEER_REDIS_URL"])
    app = FastAPI()

    @celery.task(name="plain.start", ignore_result=True)
    def start(job_id: str) -> None:
        del job_id

    @app.post("/v1/jobs", status_code=202)
    def submit(body: dict[str, object]) -> dict[str, str]:
        job = PlainJob(id=uuid.uuid4().hex, body=str(body))
        with Session(engine) as session:
            session.add(job)
            session.commit()
            start.delay(job.id)
            return {"id": job.id, "status": job.status}

    return app
