"""What `/docs` says of this door: its answers and errors are the upstream's, so their shapes stay open."""

from collections.abc import Mapping
from typing import Any

import orjson

from api import examples
from api.errors import TABLE, PayloadTooLarge
from api.gemini import manners
from api.openapi import IDEMPOTENCY_KEY, KEYED, Responses, error_headers, problem
from worker.errors import BadRequest, Conflict, Invalid, NightdeskError, NotFound, QuotaExceeded

Json = dict[str, Any]

ID = examples.JOB_ID
ERROR: Json = {
    "type": "object",
    "title": "GeminiError",
    "properties": {
        "error": {
            "type": "object",
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
            "required": ["code", "message"],
        }
    },
    "required": ["error"],
}
INTERACTION: Json = {
    "type": "object",
    "title": "Interaction",
    "description": "As the Interactions API has it, unknown fields and all.",
    "properties": {
        "id": {"type": "string", "description": "`job_…`, or `job_….N` for a turn that function results began."},
        "object": {"const": "interaction"},
        "status": {"type": "string", "examples": ["in_progress", "requires_action", "completed", "failed"]},
    },
    "required": ["id", "status"],
    "additionalProperties": True,
}
CREATE_REQUEST: Json = {
    "type": "object",
    "title": "CreateInteraction",
    "description": "The create body of the Interactions API; what this release does not know travels as it is.",
    "properties": {
        "model": {"type": "string", "examples": [examples.MODEL]},
        "agent": {"type": "string", "examples": [examples.AGENT]},
        "input": {"description": "A text, contents or steps."},
        "background": {"type": "boolean", "description": "False, the default: the answer comes with the end."},
        "stream": {"type": "boolean", "description": "The answer is a stream of events."},
        "store": {"const": True, "description": "A job's interaction is always stored: `false` is refused."},
        "previous_interaction_id": {
            "type": "string",
            "description": "Of an open `requires_action`, with its function results: the next turn of that job. "
            "Of an ended one: a job that builds on it.",
        },
        "webhook_config": {
            "type": "object",
            "description": "`uris`, up to 5: each receives the job's events as a `webhook_url` does. "
            "`user_metadata` is shown on the interaction, and as the job's `metadata` where it is texts.",
        },
    },
    "additionalProperties": True,
}

STARTED: Json = {
    "id": ID,
    "object": "interaction",
    "status": "in_progress",
    "model": examples.MODEL,
    "created": "2026-11-21T20:00:00Z",
    "updated": "2026-11-21T20:00:00Z",
}
COMPLETED: Json = STARTED | {
    "status": "completed",
    "updated": "2026-11-21T20:00:04Z",
    "steps": [{"type": "model_output", "content": [{"type": "text", "text": "Three owls: barn, snowy, tawny."}]}],
    "usage": {"total_input_tokens": 5, "total_output_tokens": 9, "total_tokens": 14},
}
EVENTS = "".join(
    f"event: {event['event_type']}\ndata: {orjson.dumps(event).decode()}\n\n"
    for event in (
        {"interaction": STARTED, "event_type": "interaction.created", "event_id": "-2.0.0.0"},
        {
            "index": 0,
            "delta": {"type": "text", "text": "Three owls"},
            "event_type": "step.delta",
            "event_id": "0.1.10.0",
        },
        {
            "interaction": {"id": ID, "status": "completed"},
            "event_type": "interaction.completed",
            "event_id": "1000000.1.0.0",
        },
    )
)


def _answers(ok: Json, *fails: type[NightdeskError]) -> Responses:
    found: Responses = {200: ok}
    for kind in (*KEYED, *fails):
        status, value = manners.upstream_error(problem(kind))
        one = found.setdefault(status, _failure(status, TABLE[kind].title))
        one["content"][manners.JSON]["examples"][TABLE[kind].code] = {"summary": TABLE[kind].title, "value": value}
    return found


def _failure(status: int, title: str) -> Json:
    content = {manners.JSON: {"schema": ERROR, "examples": {}}}
    return {"description": title, "content": content, **error_headers(status)}


def _ok(about: str, example: Json, others: Mapping[str, str] | None = None) -> Json:
    content: Json = {manners.JSON: {"schema": INTERACTION, "example": example}}
    for media_type, text in (others or {}).items():
        content[media_type] = {"schema": {"type": "string"}, "example": text}
    return {"description": about, "content": content}


STREAM = {"text/event-stream": EVENTS}
CREATE = _answers(
    _ok("The interaction: with its end, or at once with `background`; with `stream` its events.", COMPLETED, STREAM),
    BadRequest,
    Invalid,
    NotFound,
    Conflict,
    PayloadTooLarge,
    QuotaExceeded,
)
CREATE[504] = {
    "description": "It has not ended in the time for which a create is held: the job goes on.",
    "content": {
        manners.JSON: {
            "schema": ERROR,
            "examples": {
                "deadline_exceeded": {
                    "summary": "Still running",
                    "value": manners.error_body("deadline_exceeded", f"the interaction {ID} is still in progress"),
                }
            },
        }
    },
}
CREATE_BODY: Json = {
    "parameters": [IDEMPOTENCY_KEY],
    "requestBody": {
        "required": True,
        "content": {
            manners.JSON: {
                "schema": CREATE_REQUEST,
                "examples": {
                    "model": {
                        "summary": "In the background",
                        "value": {"model": examples.MODEL, "input": "Name three owls.", "background": True},
                    }
                },
            }
        },
    },
}
GET = _answers(_ok("The interaction; with `stream` its events.", COMPLETED, STREAM), NotFound, Invalid)
CANCEL = _answers(_ok("The interaction.", STARTED | {"status": "cancelled"}), NotFound, Conflict)
DELETE = _answers(
    {"description": "It is gone.", "content": {manners.JSON: {"schema": {"type": "object"}, "example": {}}}},
    NotFound,
    Conflict,
)
