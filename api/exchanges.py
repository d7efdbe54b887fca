"""The examples of what goes to and fro with a job: function calls and their results, plans, conversations."""

from typing import Any

from api.examples import AT, CITY_TOOLS, MODEL, QUEUED

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
