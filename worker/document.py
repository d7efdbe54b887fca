"""The job as its owner sees it: the contract's JSON, the same in answers of the API and in webhooks."""

from datetime import UTC, datetime
from typing import Any

import orjson

from worker.models import Event, Job, WebhookEndpoint

MAX_PAYLOAD_BYTES = 256 * 1024
PRIORITIES = ("high", "normal", "low")
OUTPUT_FIELDS = ("output_text", "output_json", "citations", "artifacts")
NO_OUTPUT: dict[str, Any] = {"output_text": None, "output_json": None, "citations": [], "artifacts": []}


def stamp(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC with milliseconds."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def render(
    job: Job, outcome: dict[str, Any] | None = None, result_expires_at: datetime | None = None
) -> dict[str, Any]:
    """The contract's job object; `outcome` holds the output fields of its result, if it has one."""
    output = {**NO_OUTPUT, **(outcome or {})}
    here = f"/v1/jobs/{job.id}"
    return {
        "id": job.id,
        "object": "job",
        "status": job.status,
        "agent": job.target if job.kind == "agent" else None,
        "model": job.target if job.kind == "model" else None,
        "created_at": stamp(job.created_at),
        "run_at": stamp(job.run_at),
        "started_at": stamp(job.started_at),
        "finished_at": stamp(job.finished_at),
        "deadline_at": stamp(job.deadline_at),
        "interaction_id": job.interaction_id,
        "environment_id": job.environment_id,
        "previous_job_id": job.previous_job_id,
        "retry_of": job.retry_of,
        "conversation_id": job.conversation_id,
        "turn": job.turn,
        "attempt": job.attempt,
        "substitutions": job.substitutions,
        "notes": job.notes,
        "cancel_requested_at": stamp(job.cancel_requested_at),
        "result_expires_at": stamp(result_expires_at),
        "progress": {
            "upstream_status": job.upstream_status,
            "polls": job.polls,
            "last_polled_at": stamp(job.last_polled_at),
            "next_poll_at": stamp(job.due_at) if job.status in {"in_progress", "cancelling"} else None,
            "thought": job.thought,
        },
        **{name: output[name] for name in OUTPUT_FIELDS},
        "required_action": job.required_action,
        "usage": job.usage,
        "error": job.error,
        "metadata": job.user_metadata,
        "labels": job.labels,
        "priority": PRIORITIES[job.priority],
        "webhook_url": job.webhook_url,
        "links": links(here, job, report=outcome is not None),
    }


def links(here: str, job: Job, *, report: bool) -> dict[str, str]:
    """Where the job, what happened to it and what can be done with it are found."""
    parts = ["events", "cancel", "deliveries"]
    now = {
        "report": report,
        "respond": job.status == "requires_action",
        "plan": job.is_planning and job.status == "completed",
    }
    parts += [part for part, is_open in now.items() if is_open]
    return {"self": here, **{part: f"{here}/{part}" for part in parts}}


def payload(event: Event, job: dict[str, Any]) -> bytes:
    """The webhook body of an event: the job as it was then; without its output where that would exceed 256 KiB."""
    head = {"type": event.type, "timestamp": stamp(event.created_at), "sequence": event.sequence}
    body = orjson.dumps({**head, "data": job})
    if len(body) <= MAX_PAYLOAD_BYTES:
        return body
    kept = {name: value for name, value in job.items() if name not in OUTPUT_FIELDS} | {"truncated": True}
    body = orjson.dumps({**head, "data": kept})
    if len(body) <= MAX_PAYLOAD_BYTES:
        return body
    return orjson.dumps({**head, "data": {**kept, "required_action": None}})


def endpoint(row: WebhookEndpoint) -> dict[str, Any]:
    """The contract's webhook endpoint: neither its secret nor the values of its headers."""
    return {
        "id": row.id,
        "object": "webhook_endpoint",
        "url": row.url,
        "description": row.description,
        "events": row.events,
        "header_names": row.header_names,
        "enabled": row.disabled_at is None,
        "disabled_at": stamp(row.disabled_at),
        "disabled_reason": row.disabled_reason,
        "failing_since": stamp(row.failing_since),
        "created_at": stamp(row.created_at),
    }


def notice(event_type: str, data: dict[str, Any], now: datetime) -> bytes:
    """The webhook body of an event that has no job."""
    return orjson.dumps({"type": event_type, "timestamp": stamp(now), "data": data})
