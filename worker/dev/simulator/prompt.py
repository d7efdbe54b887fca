"""Reads the `input` of a create: its steps, its words, its function results. Refuses what is not an input."""

import re
from hashlib import sha256
from typing import Any

from worker.dev.simulator.refusal import Refusal, invalid

Step = dict[str, Any]

CONTENTS = frozenset({"text", "image", "audio", "video", "document"})
_CALLS = (
    "code_execution file_search google_maps google_search mcp_server_tool processing retrieval tool_search url_context"
)
STEPS = frozenset({"user_input", "model_output", "thought", "function_call", "function_result"}) | {
    f"{name}_{part}" for name in _CALLS.split() for part in ("call", "result")
}
_DIRECTIVE = re.compile(r"\[\[sim:.*?\]\]", re.DOTALL)


def steps_of(value: Any) -> list[Step]:
    """Return the input as steps, as the API stores it; raises Refusal for anything that is no input."""
    if isinstance(value, str):
        return [_user_input([{"type": "text", "text": value}])]
    items = [value] if isinstance(value, dict) else value
    if not isinstance(items, list) or not items:
        raise invalid("The value of 'input' must be a non-empty string, a content or a list of contents or steps.")
    kinds = [item.get("type") if isinstance(item, dict) else None for item in items]
    if all(kind in CONTENTS for kind in kinds):
        return [_user_input(items)]
    for index, kind in enumerate(kinds):
        if kind not in STEPS:
            raise invalid(f"The value '{kind}' is not supported for 'type' at 'input[{index}]'.")
    return items


def _user_input(contents: list[Step]) -> Step:
    for index, content in enumerate(contents):
        if content["type"] == "text" and not isinstance(content.get("text"), str):
            raise invalid(f"'text' is required at 'input[{index}]'.")
    return {"type": "user_input", "content": contents}


def words_of(steps: list[Step]) -> str:
    """Return everything that the caller wrote in these steps, directives included."""
    parts: list[str] = []
    for step in steps:
        if step["type"] == "user_input":
            parts += _texts(step.get("content"))
        elif step["type"] == "function_result":
            parts += _texts(step.get("result"))
    return "\n".join(parts)


def question_of(steps: list[Step]) -> str:
    """Return the user's own words without directives; empty when the input only carries function results."""
    texts = [text for step in steps if step["type"] == "user_input" for text in _texts(step.get("content"))]
    return plain("\n".join(texts))


def results_of(steps: list[Step]) -> dict[str, Step]:
    """Return the function results by the id of their call."""
    return {str(step.get("call_id")): step for step in steps if step["type"] == "function_result"}


def media_of(steps: list[Step]) -> list[str]:
    """Return the kinds of media (image, audio, video, document) in the user's input."""
    contents = [c for step in steps if step["type"] == "user_input" for c in step.get("content") or []]
    return [c["type"] for c in contents if isinstance(c, dict) and c.get("type") in CONTENTS - {"text"}]


def plain(text: str) -> str:
    """Return the text without simulator directives."""
    return _DIRECTIVE.sub("", text).strip()


def words_in(body: Any) -> str:
    """Return the caller's words in a create body, or nothing if they cannot be read."""
    try:
        return words_of(steps_of(body["input"])) if isinstance(body, dict) and "input" in body else ""
    except Refusal:
        return ""


def prompt_hash(words: str) -> str:
    """Return the short hash under which `/_sim/stats` counts the POSTs with these words."""
    return sha256(words.encode()).hexdigest()[:16]


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for text in value.values() if isinstance(text, str)]
    if not isinstance(value, list):
        return []
    return [item["text"] for item in value if isinstance(item, dict) and isinstance(item.get("text"), str)]
