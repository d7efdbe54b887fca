"""The examples of the OpenAPI document: tests hold them to their schemas, and submit every request among them."""

from typing import Any

JOB_ID, RUN_ID = "job_01kqzv7m3e8f4x2c9t5b6n0hyd", "v1_ChdxYW1wbGUtaW50ZXJhY3Rpb24"
NEXT_ID = "job_01kqzv9w5g2m7p4r8t1v6x3z0b"
AGENT, MODEL = "deep-research-preview-04-2026", "gemini-3.8-flash"
HOOK = "https://example.com/hooks/nightdesk"
AT, LATER = "2026-11-21T20:00:00.000Z", "2026-11-21T20:11:32.481Z"
URL = "https://example.com/heat-pumps"
CURSOR = "am9iczpqb2JfMDFrcXp2N20zZThmNHgyYzl0NWI2bjBoeWQ"

RESEARCH = {
    "agent": AGENT,
    "input": "How do heat pumps perform in old buildings in cold climates? Cite field studies.",
    "agent_config": {"type": "deep-research", "thinking_summaries": "auto"},
    "webhook_url": HOOK,
    "metadata": {"report": "heat-pumps"},
}
EXTRACTION = {
    "model": MODEL,
    "input": "Extract the parties and the amount: Ada Ltd. pays Bert GmbH 1,200 euro on 1 May.",
    "response_format": {
        "type": "text",
        "mime_type": "application/json",
        "schema": {
            "type": "object",
            "properties": {"payer": {"type": "string"}, "payee": {"type": "string"}, "euro": {"type": "number"}},
        },
    },
    "priority": "high",
    "labels": {"team": "contracts"},
}
CITY_TOOLS = [
    {
        "type": "function",
        "name": "get_weather",
        "description": "The weather in a city now.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]
BATCH = {
    "jobs": [EXTRACTION, {"model": MODEL, "input": "Summarise the minutes in three sentences.", "priority": "low"}]
}
ADOPTION = {"interaction_id": RUN_ID, "webhook_url": HOOK, "metadata": {"report": "heat-pumps"}}

QUEUED: dict[str, Any] = {
    "id": JOB_ID,
    "object": "job",
    "status": "queued",
    "agent": AGENT,
    "model": None,
    "created_at": AT,
    "run_at": None,
    "started_at": None,
    "finished_at": None,
    "deadline_at": "2026-11-28T20:00:00.000Z",
    "interaction_id": None,
    "environment_id": None,
    "previous_job_id": None,
    "retry_of": None,
    "conversation_id": JOB_ID,
    "turn": 1,
    "attempt": 1,
    "substitutions": [],
    "notes": [],
    "cancel_requested_at": None,
    "result_expires_at": None,
    "progress": {
        "upstream_status": None,
        "polls": 0,
        "last_polled_at": None,
        "next_poll_at": None,
        "thought": None,
    },
    "output_text": None,
    "output_json": None,
    "citations": [],
    "artifacts": [],
    "required_action": None,
    "usage": None,
    "error": None,
    "metadata": {"report": "heat-pumps"},
    "labels": {},
    "priority": "normal",
    "webhook_url": HOOK,
    "links": {
        "self": f"/v1/jobs/{JOB_ID}",
        "events": f"/v1/jobs/{JOB_ID}/events",
        "cancel": f"/v1/jobs/{JOB_ID}/cancel",
        "deliveries": f"/v1/jobs/{JOB_ID}/deliveries",
    },
}
COMPLETED = {
    **QUEUED,
    "status": "completed",
    "started_at": "2026-11-21T20:00:00.412Z",
    "finished_at": LATER,
    "deadline_at": None,
    "interaction_id": RUN_ID,
    "result_expires_at": "2026-12-21T20:11:32.481Z",
    "progress": {
        "upstream_status": "completed",
        "polls": 28,
        "last_polled_at": LATER,
        "next_poll_at": None,
        "thought": "Comparing the field studies",
    },
    "output_text": "# Heat pumps in old buildings\n\nField studies find seasonal factors near 3.1.",
    "citations": [{"url": URL, "title": "Field study", "start_index": 31, "end_index": 76}],
    "artifacts": [
        {"id": 0, "kind": "image", "mime_type": "image/png", "size": 48211, "url": f"/v1/jobs/{JOB_ID}/artifacts/0"}
    ],
    "usage": {"total_input_tokens": 251930, "total_output_tokens": 8821, "total_tokens": 260751},
    "links": {**QUEUED["links"], "report": f"/v1/jobs/{JOB_ID}/report"},
}
ADOPTED = {
    **QUEUED,
    "status": "in_progress",
    "started_at": AT,
    "deadline_at": "2026-11-21T21:10:00.000Z",
    "interaction_id": RUN_ID,
    "notes": ["adopted: the interaction was made elsewhere, and the time limit counts from the adoption"],
    "progress": {
        "upstream_status": "in_progress",
        "polls": 0,
        "last_polled_at": None,
        "next_poll_at": "2026-11-21T20:00:05.000Z",
        "thought": None,
    },
}
CANCELLING = {**QUEUED, "status": "cancelling", "interaction_id": RUN_ID, "cancel_requested_at": LATER}
RETRIED = {**QUEUED, "id": NEXT_ID, "retry_of": JOB_ID}
LISTED = {**COMPLETED, "output_text": None, "citations": [], "artifacts": [], "links": QUEUED["links"]}


def page(*items: dict[str, Any], cursor: str | None = None) -> dict[str, Any]:
    """A page that holds these."""
    return {"object": "list", "data": list(items), "has_more": cursor is not None, "next_cursor": cursor}


EVENT = {
    "id": "evt_01kqzv7n1s5d8g3j6m9q2t4w7y",
    "object": "event",
    "type": "job.started",
    "job_id": JOB_ID,
    "sequence": 2,
    "created_at": "2026-11-21T20:00:00.412Z",
    "data": {"status": "in_progress", "turn": 1, "attempt": 1, "interaction_id": RUN_ID},
}
STREAM = (
    "retry: 2000\n\n"
    'id: 1\nevent: job.created\ndata: {"id":"evt_…","object":"event","type":"job.created","sequence":1,…}\n\n'
    'id: 2\nevent: job.started\ndata: {"id":"evt_…","object":"event","type":"job.started","sequence":2,…}\n\n'
    "id: 2.e2\nevent: step.start\n"
    'data: {"event_type":"step.start","index":0,"step":{"type":"thought"},"event_id":"e2"}\n\n'
    'id: 2.e3\nevent: step.delta\ndata: {"event_type":"step.delta","index":0,"delta":{"type":"thought_summary",'
    '"content":{"type":"text","text":"Comparing the field studies"}},"event_id":"e3"}\n\n'
    ": still here\n\n"
    'id: 2.e9\nevent: reset\ndata: {"interaction_id":"v1_…","truncated":false,"steps":[{"type":"thought",'
    '"summary":[…]},{"type":"model_output","content":[{"type":"text","text":"# Heat pumps in"}]}]}\n\n'
    'id: 2.e10\nevent: step.delta\ndata: {"event_type":"step.delta","index":1,"delta":{"type":"text",'
    '"text":" old buildings"},"event_id":"e10"}\n\n'
    'id: 3\nevent: job.completed\ndata: {"id":"evt_…","object":"event","type":"job.completed","sequence":3,…}\n\n'
)
DELIVERY = {
    "id": "dlv_01kqzvb2q7r1s4w8y3d6g9k0ma",
    "object": "delivery",
    "job_id": JOB_ID,
    "event_id": "evt_01kqzvb2p3h6k9n2q5s8v1x4z7",
    "event_type": "job.completed",
    "endpoint_id": None,
    "url": HOOK,
    "status": "pending",
    "created_at": LATER,
    "next_attempt_at": "2026-11-21T20:16:40.112Z",
    "delivered_at": None,
    "attempt_count": 1,
}
ATTEMPT = {
    "number": 1,
    "at": "2026-11-21T20:11:32.700Z",
    "outcome": "http",
    "status": 503,
    "latency_seconds": 0.132,
    "response": "try later",
    "error": None,
}
UPSTREAM_EVENT = {"type": "interaction.completed", "version": "v1", "timestamp": LATER, "data": {"id": RUN_ID}}
FILE = {
    "object": "file",
    "name": "files/9k2m4p7r1s5t",
    "uri": "https://generativelanguage.googleapis.com/v1/files/9k2m4p7r1s5t",
    "mime_type": "application/pdf",
    "size": 481_290,
    "expires_at": "2026-11-23T20:00:00.000Z",
}
SECRET = {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
CATALOG = {
    "object": "list",
    "data": [
        {
            "kind": "agent",
            "id": AGENT,
            "deprecated": False,
            "family": "deep-research",
            "about": "Research with citations, the faster and cheaper variant",
            "abilities": ["text", "image", "research", "citations", "planning", "mcp"],
            "inputs": ["text", "document"],
            "outputs": ["text", "image"],
            "tools": ["google_search", "url_context", "code_execution", "file_search", "mcp_server"],
            "default_timeout_seconds": 4200,
            "typical_seconds": 1200,
            "limits": {"run_seconds": 3600, "input_tokens": 1_048_576, "output_tokens": 65_536},
            "cost": {"usd_from": 1.0, "usd_to": 3.0, "per": "run", "source": "Google's estimate of 2026-07-14: …"},
        },
        {
            "kind": "agent",
            "id": "antigravity-preview-05-2026",
            "deprecated": True,
            "replacement": "antigravity-preview-09-2026",
            "reason": "retired on 2026-10-05",
        },
    ],
}
STATS = {
    "object": "stats",
    "by_status": {"completed": 118, "queued": 3},
    "by_target": {AGENT: {"completed": 118}, MODEL: {"queued": 3}},
    "oldest_queued_seconds": 1.2,
    "in_flight": 0,
    "due": 0,
    "delivery_backlog": 0,
}
READY = {
    "status": "ok",
    "checks": {
        "database": {"status": "ok"},
        "migrations": {"status": "ok"},
        "broker": {"status": "ok", "start_backlog": 0},
        "sweep": {"status": "ok", "last_at": LATER, "age_seconds": 0.6},
        "consumption": {"status": "ok", "last_at": LATER, "age_seconds": 4.1},
        "upstream": {"status": "ok", "last_at": LATER, "age_seconds": 2.0},
        "gates": {"status": "ok", "closed": []},
    },
}
METRICS = """# HELP nightdesk_jobs Jobs by status and target
# TYPE nightdesk_jobs gauge
nightdesk_jobs{kind="model",status="queued",target="gemini-3.8-flash"} 3.0
"""
