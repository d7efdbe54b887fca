"""An interaction written down as the events of the upstream's stream, each with an id that says how far it is.

Ids are places in what the interaction gave, so that a stream goes on after any of them on any process: step, stage
(0 begun, 1 under way, 2 done), characters of its text so far, other deltas so far.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from worker.errors import Fault, Invalid

Json = dict[str, Any]

CHUNK = 512
"""Characters of text in one delta."""

DONE = b"data: [DONE]\n\n"
_PART = re.compile(r"-?[0-9]{1,9}", re.ASCII)
_NAMES = ("type", "id", "call_id", "name")


class Place(NamedTuple):
    """How far a stream has come."""

    step: int
    stage: int = 0
    characters: int = 0
    others: int = 0

    def __str__(self) -> str:
        return ".".join(map(str, self))


START = Place(-3)
CREATED, UPDATED = Place(-2), Place(-1)
BEGUN, UNDER_WAY, OVER = 0, 1, 2
LAST = 1_000_000
"""The step after all steps."""


def place(text: str | None) -> Place:
    """The place that an event's id names; the start where there is none. Raises Invalid."""
    if not text:
        return START
    parts = text.split(".")
    if len(parts) != len(Place._fields) or not all(map(_PART.fullmatch, parts)):
        raise Invalid(Fault("/last_event_id", "is not the id of an event of this stream"))
    return Place(*map(int, parts))


def opening(head: Json) -> Iterator[tuple[Place, Json]]:
    """The events that begin a stream."""
    yield CREATED, {"interaction": head, "event_type": "interaction.created"}
    update = {"interaction_id": head["id"], "status": head["status"], "event_type": "interaction.status_update"}
    yield UPDATED, update


def played(steps: list[Any], after: Place) -> Iterator[tuple[Place, Json]]:
    """The events of the steps that come after a place; a text that was sent in part goes on where it stopped."""
    for number, step in enumerate(steps):
        if number < after.step or not isinstance(step, dict):
            continue
        begun = after if number == after.step else Place(number, -1)
        if begun.stage < BEGUN:
            yield Place(number, BEGUN), {"index": number, "step": _opened(step), "event_type": "step.start"}
        if begun.stage < OVER:
            for at, delta in _deltas(step, Place(number, UNDER_WAY), begun):
                yield at, {"index": number, "delta": delta, "event_type": "step.delta"}
            yield Place(number, OVER), {"index": number, "event_type": "step.stop"}


def closing(body: Json) -> Iterator[tuple[Place, Json]]:
    """The events that end a stream."""
    if body["status"] == "failed":
        error = (body.get("errors") or [{}])[0]
        yield Place(LAST), {"error": error, "event_type": "error"}
    ended = {name: value for name, value in body.items() if name not in {"steps", "outputs", "input"}}
    yield Place(LAST, 1), {"interaction": ended, "event_type": "interaction.completed"}


def _opened(step: Json) -> Json:
    """A step as it begins: identified, still empty. One of an unknown kind is whole from the start."""
    kind = str(step.get("type"))
    if kind in {"thought", "model_output"}:
        return {"type": kind}
    if kind == "function_call":
        return {**step, "arguments": {}}
    known = {name: step[name] for name in _NAMES if name in step}
    if kind.endswith("_call"):
        return known | {"arguments": {}}
    if kind.endswith("_result"):
        return known | {"result": "" if isinstance(step.get("result"), str) else []}
    return step


def _deltas(step: Json, at: Place, after: Place) -> Iterator[tuple[Place, Json]]:
    """The deltas of a step after a place in it."""
    for delta in _all_deltas(step):
        if isinstance(delta.get("text"), str) and delta.get("type") == "text":
            text, begins = delta["text"], at.characters
            at = at._replace(characters=begins + len(text))
            for start in range(max(0, after.characters - begins), len(text), CHUNK):
                piece = text[start : start + CHUNK]
                yield at._replace(characters=begins + start + len(piece)), {**delta, "text": piece}
        else:
            at = at._replace(others=at.others + 1)
            if at.others > after.others:
                yield at, delta


def _all_deltas(step: Json) -> Iterator[Json]:
    kind = str(step.get("type"))
    if kind == "thought":
        for content in _listed(step.get("summary")):
            yield {"type": "thought_summary", "content": content}
        if "signature" in step:
            yield {"type": "thought_signature", "signature": step["signature"]}
    elif kind == "function_call":
        yield {"type": "arguments_delta", "arguments": orjson.dumps(step.get("arguments")).decode()}
    elif kind == "model_output":
        for content in _listed(step.get("content")):
            yield from _content_deltas(content)
    elif kind.endswith(("_call", "_result")):
        yield {name: value for name, value in step.items() if name not in {"id", "call_id", "name"}}


def _content_deltas(content: Any) -> Iterator[Json]:
    if not isinstance(content, dict):
        return
    if content.get("type") != "text" or not isinstance(content.get("text"), str):
        yield content
        return
    yield {"type": "text", "text": content["text"]}
    if content.get("annotations"):
        yield {"type": "text_annotation_delta", "annotations": content["annotations"]}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
