"""The plainest submit: a `def` handler of FastAPI that commits one row through SQLModel and calls `.delay()`.

Run as `uvicorn tests.bench.peers.plain_api:build --factory`; see `peers.plain` for its environment.
"""

import uuid
from datetime import UTC, datetime

import orjson
from fastapi import FastAPI
from sqlmodel import Session

from tests.bench.peers import plain
from tests.bench.peers.plain import PlainJob


def build() -> FastAPI:
    """The application."""
    PlainJob.__table__.create(plain.engine(), checkfirst=True)  # type: ignore[attr-defined]
    celery = plain.celery("plain")
    app = FastAPI()

    @celery.task(name="plain.start", ignore_result=True)
    def start(job_id: str) -> None:
        del job_id

    @app.post("/v1/jobs", status_code=202)
    def submit(body: dict[str, object]) -> dict[str, str]:
        now = datetime.now(UTC)
        job = PlainJob(id=uuid.uuid4().hex, body=orjson.dumps(body).decode(), created_at=now)
        with Session(plain.engine()) as session:
            session.add(job)
            session.commit()
            start.delay(job.id)
            return {"id": job.id, "status": job.status}

    return app
