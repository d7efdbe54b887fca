"""What the API's own tools leave in a run: a call and its result for each, signed, with a field that no type knows.

Functions, and the functions that `computer_use` brings along, are not played but called: see `functions`.
"""

from typing import Any

from worker.dev.simulator.beat import signature
from worker.dev.simulator.dice import Dice
from worker.dev.simulator.prompt import Step, question_of
from worker.dev.simulator.record import Record
from worker.dev.simulator.words import keywords_of

Tool = dict[str, Any]

COMPUTER = {"type": "function", "name": "open_web_browser", "parameters": {"type": "object"}}
"""What a model that may use a computer calls first."""

PLAYED = (
    *("code_execution", "url_context", "file_search", "google_maps", "mcp_server", "retrieval", "tool_search"),
    "google_search",
)
NAMES = {"mcp_server": "mcp_server_tool"}
"""How a tool's steps are called, where they are not called as the tool."""


def played(record: Record, seed: int, *, without: frozenset[str] = frozenset()) -> list[Step]:
    """Return the steps of the declared tools, in the tools' order."""
    steps: list[Step] = []
    for number, tool in enumerate(record.request.get("tools") or []):
        kind = tool.get("type")
        if kind in PLAYED and kind not in without:
            steps += _pair(record, tool, number, Dice(seed, kind, number))
    return steps


def _pair(record: Record, tool: Tool, number: int, dice: Dice) -> list[Step]:
    kind = str(tool["type"])
    name, call_id = NAMES.get(kind, kind), f"{kind}_{Dice(record.id, kind, number).bits():012x}"
    about, found = _told(kind, tool, keywords_of(question_of(record.steps))[:4] or ["news"])
    newer = {"signature": signature(dice), "x_newer": {"kept": [number, None, "as it came ✓", 1.5]}}
    call = {"type": f"{name}_call", "id": call_id, **about, **newer}
    return [call, {"type": f"{name}_result", "call_id": call_id, **found, **newer}]


def _told(kind: str, tool: Tool, words: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the call asks and what the result says."""
    query = " ".join(words)
    url = "https://example.com/" + words[0].lower()
    place = {"name": words[0], "place_id": "ChIJ-simulated", "url": "https://maps.example.com/1"}
    server = {"name": "look_up", "server_name": tool.get("name") or "server"}
    known = [{"type": "text", "text": f"what the server knows of {query}"}]
    queries = {"arguments": {"queries": [query]}}
    told: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "code_execution": (
            {"arguments": {"language": "python", "code": "print(6 * 7)"}},
            {"result": "42\n", "is_error": False},
        ),
        "url_context": ({"arguments": {"urls": [url]}}, {"result": [{"url": url, "status": "success"}]}),
        "google_search": (queries, {"result": [{"search_suggestions": "<div></div>"}]}),
        "google_maps": (queries, {"result": [{"places": [place]}]}),
        "retrieval": (queries | {"retrieval_type": "rag_store"}, {"is_error": False}),
        "tool_search": ({"arguments": {"function_names": words[:1]}}, {"result": []}),
        "mcp_server": (server | {"arguments": {"query": query}}, server | {"result": known}),
    }
    return told.get(kind, ({}, {}))
