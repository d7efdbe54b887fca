"""The examples of what goes to and fro with a job: function calls and their results, plans, conversations."""

from typing import Any

from api.examples import AT, CITY_TOOLS, JOB_ID, LISTED, MODEL, NEXT_ID, QUEUED

CALL_ID = "call_4b1f9e"
RESULTS = {
    "input": [
        {
            "type": "function_result",
            "call_id": CALL_ID,
            "name": "get_weather",
            "result": {"sky": "clear", "celsius": 7},
        }
    ]
}
PICTURED = {
    "input": [
        {
            "type": "function_result",
            "call_id": CALL_ID,
            "result": [
                {"type": "text", "text": "The radar's last picture:"},
                {"type": "image", "mime_type": "image/png", "data": "iVBORw0KGgo="},
            ],
        }
    ]
}
FAILING = {
    "input": [
        {"type": "function_result", "call_id": CALL_ID, "result": "The weather service is away.", "is_error": True}
    ]
}
ADOPTED_ANSWER = {**RESULTS, "tools": CITY_TOOLS}
ANSWERS = {
    "object": ("An object", RESULTS),
    "picture": ("Text and a picture", PICTURED),
    "error": ("The function failed", FAILING),
    "adopted": ("For an adopted job, with the tools of the request that was made elsewhere", ADOPTED_ANSWER),
}
ANSWERED: dict[str, Any] = {**QUEUED, "agent": None, "model": MODEL, "started_at": AT, "turn": 2}

APPROVAL = {"action": "approve"}
EDIT = {"action": "edit", "feedback": "Leave out air-to-air systems, and look at multi-family houses as well."}
REJECTION = {"action": "reject", "feedback": "I care for costs, not for technology."}
DECISIONS = {
    "approve": ("Begin the research", APPROVAL),
    "edit": ("Another plan, with this", EDIT),
    "reject": ("Another plan, from scratch", REJECTION),
}
RESEARCHING = {**QUEUED, "id": NEXT_ID, "previous_job_id": JOB_ID}

CONVERSATION: dict[str, Any] = {
    "id": JOB_ID,
    "object": "conversation",
    "created_at": AT,
    "job_count": 2,
    "usage": {
        "total_input_tokens": 252_310,
        "total_cached_tokens": 0,
        "total_output_tokens": 9_340,
        "total_thought_tokens": 2_044,
        "total_tool_use_tokens": 18_500,
        "total_tokens": 282_194,
    },
    "upstream_expires_at": "2027-01-15T20:11:32.481Z",
    "data": [
        {
            **LISTED,
            "input_excerpt": "How do heat pumps perform in old buildings in cold climates? Cite field studies.",
            "output_excerpt": "# Heat pumps in old buildings\n\nField studies find seasonal factors near 3.1.",
        },
        {
            **RESEARCHING,
            "agent": None,
            "model": MODEL,
            "input_excerpt": "Sum that up in three sentences.",
            "output_excerpt": None,
        },
    ],
    "has_more": False,
    "next_cursor": None,
}
