"""The request bodies' schemas, for the OpenAPI document only: `worker.flow` reads and refuses.

The job's own fields come from the options that are enforced; the interaction's are what the Interactions API has.
"""

from typing import Any

from pydantic import BaseModel

from worker.options import ADOPTION, Endpoint, EndpointChange, Options, Replay

JOB, BATCH, ADOPT, UPSTREAM_EVENT = "JobRequest", "BatchRequest", "AdoptRequest", "UpstreamEvent"
ENDPOINT, ENDPOINT_CHANGE, REPLAY = "WebhookEndpointRequest", "WebhookEndpointChange", "ReplayRequest"
RESPOND, PLAN = "RespondRequest", "PlanRequest"
OBJECT: dict[str, Any] = {"type": "object", "additionalProperties": True}

INTERACTION: dict[str, dict[str, Any]] = {
    "model": {
        "type": "string",
        "description": "The model's id. Exactly one of `model` and `agent`. See `GET /v1/catalog`.",
        "examples": ["gemini-3.8-flash"],
    },
    "agent": {
        "type": "string",
        "description": "The agent's id, also one of your own.",
        "examples": ["deep-research-preview-04-2026"],
    },
    "input": {
        "description": "A text, or a list of content blocks or steps as the Interactions API takes them. "
        "Media are in `data` (base64, with `mime_type`) or at a `uri`: `POST /v1/files` gives one, which only its "
        "project may name; one of the Files API that Nightdesk did not give needs the scope `admin`.",
        "anyOf": [{"type": "string"}, {"type": "array", "items": OBJECT}, OBJECT],
        "examples": ["Summarise the minutes in three sentences."],
    },
    "system_instruction": {"type": "string", "description": "How the model shall behave; not for Deep Research."},
    "tools": {
        "type": "array",
        "items": OBJECT,
        "description": "`google_search`, `code_execution`, `url_context`, `file_search`, `google_maps`, "
        "`computer_use`, `mcp_server`, `retrieval`, `tool_search` and `function`; passed on as they are, "
        "and never shown again: headers and keys may stand in them.",
        "examples": [[{"type": "google_search"}]],
    },
    "generation_config": OBJECT
    | {"description": "For models only.", "examples": [{"thinking_level": "low", "max_output_tokens": 2048}]},
    "response_format": {
        "anyOf": [OBJECT, {"type": "array", "items": OBJECT}],
        "description": "One or several formats; with a JSON `schema` the job's `output_json` is filled, "
        "and a note says where it does not fit.",
        "examples": [{"type": "text", "mime_type": "application/json", "schema": {"type": "object"}}],
    },
    "agent_config": OBJECT
    | {
        "description": "For agents only; its `type` is the agent's family.",
        "examples": [{"type": "deep-research", "collaborative_planning": True}],
    },
    "environment": {
        "anyOf": [{"type": "string"}, OBJECT],
        "description": '`"remote"`, the id of an environment that a job of this project left, or an object. '
        "One that Nightdesk does not know needs the scope `admin`.",
        "examples": ["remote"],
    },
    "previous_interaction_id": {
        "type": "string",
        "description": "An interaction to build on. One that Nightdesk did not make needs the scope `admin`.",
    },
    "safety_settings": {"type": "array", "items": OBJECT},
    "service_tier": {"type": "string", "examples": ["standard", "flex", "priority"]},
    "labels": {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "description": "Sent upstream, unlike `metadata`. Lower case letters, digits, `_` and `-`.",
        "examples": [{"team": "contracts"}],
    },
    "extra_body": OBJECT
    | {"description": "Passed through untouched, up to 64 KiB: for parameters newer than this release."},
    "background": {"const": True, "description": "Always true; may be left out."},
    "store": {"const": True, "description": "Always true; may be left out."},
}

INTERACTION_ID = {
    "type": "string",
    "minLength": 1,
    "maxLength": 512,
    "description": "The interaction's id. One that Nightdesk did not make needs the scope `admin`.",
}

FUNCTION_RESULT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {
            "enum": ["function_result", "tool_search_result"],
            "description": "The second is for a `tool_search` that the client executes: functions as its `result`.",
        },
        "call_id": {"type": "string", "description": "The `id` of an open call."},
        "result": {
            "anyOf": [{"type": "string"}, OBJECT, {"type": "array", "items": OBJECT}],
            "description": "A text, an object, or a list of contents: texts and images.",
        },
        "name": {"type": "string", "description": "The function's name; may be left out."},
        "is_error": {"type": "boolean", "description": "Whether the function failed; `result` says how."},
    },
    "required": ["type", "call_id", "result"],
}

DECISION: dict[str, Any] = {
    "type": "object",
    "title": PLAN,
    "properties": {
        "action": {"enum": ["approve", "edit", "reject"], "description": "What becomes of the plan."},
        "feedback": {
            "type": "string",
            "minLength": 1,
            "maxLength": 100_000,
            "description": "Needed to edit: what shall be different.",
        },
    },
    "required": ["action"],
    "additionalProperties": False,
}

EVENT: dict[str, Any] = {
    "type": "object",
    "title": UPSTREAM_EVENT,
    "description": "As the Gemini API sends it.",
    "properties": {
        "type": {"type": "string", "examples": ["interaction.completed"]},
        "data": {"type": "object", "properties": {"id": {"type": "string"}}, "additionalProperties": True},
    },
    "required": ["type", "data"],
    "additionalProperties": True,
}

ABOUT: dict[str, str] = {
    "webhook_url": "Where the job's events are sent, signed with the project's secret.",
    "webhook_events": "Which events; by default all terminal ones and `job.requires_action`.",
    "metadata": "Yours: up to 16 keys of up to 64 characters, values of up to 512. Never sent upstream.",
    "priority": "An order among the waiting jobs.",
    "run_at": "Not before this moment (RFC 3339 with its zone).",
    "timeout_seconds": "From the create on, anew for each turn; by default 4,200 for agents and 1,800 for models.",
    "queue_timeout_seconds": "How long it may wait to be started; then it expires and nothing is spent.",
    "action_timeout_seconds": "How long it may wait for function results.",
    "previous_job_id": "Wait for this job to complete and go on in its conversation.",
    "on_unknown_create": "What to do when the answer to the create is lost: `retry` may buy twice, `fail` never does. "
    "By default `retry` for models and `fail` for agents.",
    "max_attempts": "Runs tried when the upstream itself reports a transient failure; "
    "by default 3 for models, 1 for agents.",
    "strict_model": "Refuse a deprecated id instead of substituting it.",
    "prepend_system_instruction": "Where the agent takes no `system_instruction` (Deep Research), put it at the "
    "beginning of `input` instead of refusing it.",
    "retention_days": "How long the result is kept.",
}

ABOUT_ENDPOINT: dict[str, str] = {
    "url": "Where the events are sent: https, to a public address.",
    "events": "Which events; by default all of them.",
    "description": "For people.",
    "headers": "Up to 20 header fields to be sent, too. Their values are kept encrypted and shown with the secret "
    "only; in a change, all of them are replaced.",
    "enabled": "A disabled endpoint's events are held for 30 days, and sent when it is enabled.",
    "since": "RFC 3339 with its zone: deliveries made before stay as they are.",
}


def components() -> dict[str, Any]:
    """The schemas, by name."""
    jobs = {JOB: _job(), BATCH: _batch(), ADOPT: _adopt(), RESPOND: _respond(), PLAN: DECISION}
    return {**jobs, UPSTREAM_EVENT: EVENT, **_endpoints()}


def _endpoints() -> dict[str, Any]:
    """What endpoints are registered, changed and replayed with."""
    found = {}
    models: dict[str, type[BaseModel]] = {ENDPOINT: Endpoint, ENDPOINT_CHANGE: EndpointChange, REPLAY: Replay}
    for title, model in models.items():
        schema = model.model_json_schema()
        for name, field in schema["properties"].items():
            field.pop("title")
            field["description"] = ABOUT_ENDPOINT[name]
        schema["title"] = title
        found[title] = schema
    for field in found[ENDPOINT_CHANGE]["properties"].values():
        field.pop("default")
    return found


def _own() -> dict[str, Any]:
    own = Options.model_json_schema()["properties"]
    described = {name: {**own[name], "description": ABOUT[name]} for name in own}
    for field in described.values():
        field.pop("title", None)
    return described


def _job() -> dict[str, Any]:
    return {
        "type": "object",
        "title": JOB,
        "description": "The create parameters of the Interactions API and the job's own. Unknown fields are refused.",
        "properties": {**INTERACTION, **_own()},
        "oneOf": [{"required": ["model"]}, {"required": ["agent"]}],
        "additionalProperties": False,
    }


def _batch() -> dict[str, Any]:
    jobs = {"type": "array", "items": {"$ref": f"#/components/schemas/{JOB}"}, "minItems": 1, "maxItems": 1000}
    return {
        "type": "object",
        "title": BATCH,
        "properties": {"jobs": jobs},
        "required": ["jobs"],
        "additionalProperties": False,
    }


def _respond() -> dict[str, Any]:
    known = {"model", "agent", "input", "previous_interaction_id", "background", "store"}
    others = {
        name: {**field, "description": "Only for an adopted job, whose request is not known here."}
        for name, field in INTERACTION.items()
        if name not in known
    }
    about = "One result for each open call. All else is asked again as in the turn before."
    return {
        "type": "object",
        "title": RESPOND,
        "description": about,
        "properties": {"input": {"type": "array", "items": FUNCTION_RESULT, "description": about}, **others},
        "required": ["input"],
        "additionalProperties": False,
    }


def _adopt() -> dict[str, Any]:
    own = {name: field for name, field in _own().items() if name in ADOPTION}
    own["timeout_seconds"] = {**own["timeout_seconds"], "description": "From the adoption on, anew for each turn."}
    return {
        "type": "object",
        "title": ADOPT,
        "properties": {"interaction_id": INTERACTION_ID, **own},
        "required": ["interaction_id"],
        "additionalProperties": False,
    }
