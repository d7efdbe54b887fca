"""An interaction written down as the events of the upstream's stream, each with an id that says how far it is.

Ids are places in what the interaction gave, so that a stream goes on after any of them on any process: after what the
upstream told live, too, from what it gave in the end.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from worker.errors import Fault, Invalid
from worker.gemini.media import KINDS

Json = dict[str, Any]

CHUNK = 512
"""Characters of text in one delta."""

DONE = b"data: [DONE]\n\n"
BEGUN, UNDER_WAY, OVER = 0, 1, 2
LAST = 1_000_000
"""The step after all steps."""

_PART = re.compile(r"-?[0-9]{1,9}", re.ASCII)
_NAMES = ("type", "id", "call_id", "name")


class Place(NamedTuple):
    """How far a stream has come: in which run, which step, and what of it.

    A job is run anew where the upstream fails for a reason that passes; what was told of the run before is void then.
    """

    run: int
    step: int
    stage: int = BEGUN
    characters: int = 0
    """Of the step's text so far."""
    media: int = 0
    others: int = 0
    """Other deltas since the latest text or medium."""

    def __str__(self) -> str:
        return ".".join(map(str, self))

    def after(self, delta: Json) -> "Place":
        """The place behind this delta of the step."""
        kind, text = delta.get("type"), delta.get("text")
        if kind == "text" and isinstance(text, str):
            return self._replace(stage=UNDER_WAY, characters=self.characters + len(text), others=0)
        if isinstance(kind, str) and kind in KINDS:
            return self._replace(stage=UNDER_WAY, media=self.media + 1, others=0)
        return self._replace(stage=UNDER_WAY, others=self.others + 1)


START, CREATED, UPDATED = Place(0, -3), Place(0, -2), Place(0, -1)


def place(text: str | None) -> Place:
    """The place that an event's id names; the start where there is none. Raises Invalid."""
    if not text:
        return START
    parts = text.split(".")
    if len(parts) != len(Place._fields) or not all(map(_PART.fullmatch, parts)):
        raise Invalid(Fault("/last_event_id", "is not the id of an event of this stream"))
    return Place(*map(int, parts))


def in_run(after: Place, run: int) -> Place:
    """The same place in this run: the beginning of the steps where they were told of another one."""
    return after._replace(run=run) if after.run == run or after.step < 0 else UPDATED._replace(run=run)


def opening(head: Json) -> Iterator[tuple[Place, Json]]:
    """The events that begin a stream."""
    yield CREATED, {"interaction": head, "event_type": "interaction.created"}
    update = {"interaction_id": head["id"], "status": head["status"], "event_type": "interaction.status_update"}
    yield UPDATED, update


def played(steps: list[Any], after: Place) -> Iterator[tuple[Place, Json]]:
    """The events of the steps that come after a place in the same run."""
    for number, step in enumerate(steps):
        begun = Place(after.run, number)
        if number < after.step or not isinstance(step, dict):
            continue
        if begun > after:
            yield begun, {"index": number, "step": _opened(step), "event_type": "step.start"}
        at = begun
        for delta in _deltas(step):
            before, at = at, at.after(delta)
            rest = cut(delta, before, at, after)
            if rest is not None:
                yield at, {"index": number, "delta": rest, "event_type": "step.delta"}
        over = Place(after.run, number, OVER)
        if over > after:
            yield over, {"index": number, "event_type": "step.stop"}


def cut(delta: Json, before: Place, at: Place, after: Place) -> Json | None:
    """What of a delta between two places comes after a third: a text that was told in part goes on where it stopped."""
    if at <= after:
        return None
    told = after.characters - before.characters if after[:3] == at[:3] else 0
    return {**delta, "text": delta["text"][told:]} if told > 0 and at.characters > before.characters else delta


def closing(body: Json, run: int) -> Iterator[tuple[Place, Json]]:
    """The events that end a stream."""
    if body["status"] == "failed":
        errors = [error for error in _listed(body.get("errors")) if isinstance(error, dict)]
        error = errors[0] if errors else {"code": "api_error", "message": "the interaction failed"}
        yield Place(run, LAST), {"error": error, "event_type": "error"}
    ended = {name: value for name, value in body.items() if name not in {"steps", "outputs", "input"}}
    yield Place(run, LAST, OVER), {"interaction": ended, "event_type": "interaction.completed"}


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


def _deltas(step: Json) -> Iterator[Json]:
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
    text = content.get("text")
    if content.get("type") != "text" or not isinstance(text, str):
        yield content
        return
    for start in range(0, len(text), CHUNK):
        yield {"type": "text", "text": text[start : start + CHUNK]}
    if content.get("annotations"):
        yield {"type": "text_annotation_delta", "annotations": content["annotations"]}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
