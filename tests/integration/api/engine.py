"""Plays the worker: moves a job through the store's own functions, as the engine does."""

from datetime import timedelta
from typing import Any

import orjson

from tests.waiting import eventually
from worker.context import Context
from worker.flow.end import end
from worker.models import Job, Result
from worker.states import Status
from worker.store import moves, results

RUN = "v1_interaction"


class Worker:
    """One who holds no claim and loses no race."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def start(self, job_id: str) -> Job:
        """Send a queued job upstream."""
        now = self._context.clock()
        with self._context.database.write() as session:
            starting = {"claim": "c", "due_at": now}
            moves.move(
                session, job_id, sources={Status.QUEUED}, target=Status.STARTING, now=now, values=starting, claim=None
            )
            running = {"interaction_id": f"{RUN}_{job_id}", "sent_at": now, "started_at": now, "claim": None}
            running |= {"due_at": now + timedelta(hours=1), "upstream_status": "in_progress"}
            job = moves.move(
                session, job_id, sources={Status.STARTING}, target=Status.IN_PROGRESS, now=now, values=running
            )
        assert job is not None
        return job

    def finish(
        self, job_id: str, status: Status = Status.COMPLETED, *, output: dict[str, Any] | None = None, raw: Any = None
    ) -> Job:
        """Settle a running job with this output."""
        now = self._context.clock()
        expires_at = now + timedelta(days=30)
        shown: dict[str, Any] = {
            "output_text": "Hello.",
            "output_json": None,
            "citations": [],
            "artifacts": [],
            "folder": f"{job_id}/1.1",
        }
        shown |= output or {}
        with self._context.database.write() as session:
            moved = end(
                session,
                job_id,
                sources={Status.IN_PROGRESS},
                target=status,
                now=now,
                outcome=shown,
                result_expires_at=expires_at,
            )
            body = orjson.dumps(raw or {"id": RUN, "steps": [{"type": "model_output", "content": []}]})
            results.add(session, job_id, 1, outcome=shown, raw=body, now=now, expires_at=expires_at)
        return moved[0]

    def complete(self, job_id: str, **output: Any) -> Job:
        """Start a queued job and complete it."""
        self.start(job_id)
        return self.finish(job_id, output=output)

    def fail(self, job_id: str) -> Job:
        """Start a queued job and fail it, without any output."""
        self.start(job_id)
        error = {"code": "upstream_failed", "message": "it broke", "retryable": True, "upstream": None}
        now, sources = self._context.clock(), {Status.IN_PROGRESS}
        with self._context.database.write() as session:
            moved = end(session, job_id, sources=sources, target=Status.FAILED, now=now, values={"error": error})
        return moved[0]

    def require_action(self, job_id: str, call_id: str = "call_1") -> Job:
        """Stop a queued job at a function call."""
        self.start(job_id)
        calls = [{"id": call_id, "name": "get_weather", "arguments": {"city": "Bonn"}}]
        values = {"required_action": {"type": "function_calls", "function_calls": calls}, "due_at": None}
        now, sources = self._context.clock(), {Status.IN_PROGRESS}
        with self._context.database.write() as session:
            job = moves.move(session, job_id, sources=sources, target=Status.REQUIRES_ACTION, now=now, values=values)
        assert job is not None
        return job

    def disown(self, job_id: str) -> None:
        """Let a job be one that was adopted."""
        with self._context.database.write() as session:
            session.get_one(Job, job_id).max_attempts = 0

    def await_turn(self, job_id: str, turn: int) -> None:
        """Wait until the job is at this turn."""

        def is_there() -> bool:
            with self._context.database.read() as session:
                return session.get_one(Job, job_id).turn == turn

        eventually(is_there, within_s=20)

    def age(self, job_id: str, days: int) -> None:
        """Let this much time have passed since a job ended."""
        with self._context.database.write() as session:
            job = session.get_one(Job, job_id)
            assert job.finished_at is not None
            job.finished_at -= timedelta(days=days)
            found = session.get(Result, (job_id, 1))
            if found is not None:
                found.expires_at -= timedelta(days=days)
