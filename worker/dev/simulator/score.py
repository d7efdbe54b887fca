"""Writes a run down as the events of its stream, each with its moment. Pure: nothing is sent from here."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from worker.dev.simulator import play
from worker.dev.simulator.prompt import Step
from worker.dev.simulator.record import Record
from worker.dev.simulator.view import error_of, head

_CHUNK = 48
_MOST_CHUNKS = 100
_STARTED = 1e-9
_STRANGE: tuple[dict[str, Any], ...] = (
    {"event_type": "step.novelty", "index": 0, "novelty": {"level": 3}},
    {"event_type": "weather.changed", "sky": "clear"},
    {"event_type": "step.delta", "index": 999, "delta": {"type": "novelty"}},
)


@dataclass(frozen=True, slots=True)
class Event:
    """One event and the part of the run (0 to 1) after which it is sent."""

    at: float
    data: dict[str, Any]


def score(record: Record, seed: int) -> list[Event]:
    """Return the events from the creation up to the end of the output; what closes the stream is not among them."""
    begun = "queued" if record.script.queued_s else record.script.running
    opening = {"interaction": head(record, begun, record.created_s), "event_type": "interaction.created"}
    update = {"interaction_id": record.id, "status": record.script.running, "event_type": "interaction.status_update"}
    events = [Event(0.0, opening), Event(_STARTED, update)]
    index, at = 0, 0.1
    for beat in play.working(record, seed) if not record.script.silent else []:
        events += [Event(beat.at, data) for data in _step(index, beat.step)]
        index, at = index + 1, beat.at
    if record.script.strange:
        events += [Event(at, data) for data in _STRANGE]
    if record.script.status in ("failed", "cancelled"):
        return events
    written = [
        data
        for number, step in enumerate(play.finish(record, seed).output, start=index)
        for data in _step(number, step)
    ]
    return events + [Event(min(1.0, at + (1 - at) * i / len(written)), data) for i, data in enumerate(written, start=1)]


def closing(record: Record, seed: int, now: float) -> list[dict[str, Any]]:
    """Return the events that end the stream of an ended interaction."""
    status = record.status(now)
    ended = head(record, status, now)
    if status == "requires_continuation":
        ended["continuation_token"] = play.token_of(record)
    if not record.script.usage_late_s:
        ended["usage"] = play.finish(record, seed).usage
    events: list[dict[str, Any]] = [{"interaction": ended, "event_type": "interaction.completed"}]
    if status == "failed":
        events.insert(0, {"error": error_of(record), "event_type": "error"})
    return events


def _step(index: int, step: Step) -> Iterator[dict[str, Any]]:
    yield {"index": index, "step": _opened(step), "event_type": "step.start"}
    for delta in _deltas(step):
        yield {"index": index, "delta": delta, "event_type": "step.delta"}
    yield {"index": index, "event_type": "step.stop"}


def _opened(step: Step) -> Step:
    """Return the step as it begins: identified, still empty."""
    kind = step["type"]
    known: Step = {name: step[name] for name in ("type", "id", "call_id", "name") if name in step}
    if kind.endswith("_call"):
        return known | {"arguments": {}}
    if kind.endswith("_result"):
        return known | {"result": "" if isinstance(step.get("result"), str) else []}
    return known


def _deltas(step: Step) -> Iterator[dict[str, Any]]:
    kind = step["type"]
    if kind == "thought":
        for content in step.get("summary") or []:
            yield {"type": "thought_summary", "content": content}
        yield {"type": "thought_signature", "signature": step["signature"]}
    elif kind == "function_call":
        yield {"type": "arguments_delta", "arguments": orjson.dumps(step["arguments"]).decode()}
    elif kind == "model_output":
        for content in step["content"]:
            yield from _content_deltas(content)
    else:
        yield {name: value for name, value in step.items() if name not in ("id", "call_id", "name")}


def _content_deltas(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if content["type"] != "text":
        yield content
        return
    text = content["text"]
    size = max(_CHUNK, len(text) // _MOST_CHUNKS + 1)
    for start in range(0, len(text), size):
        yield {"type": "text", "text": text[start : start + size]}
    if content.get("annotations"):
        yield {"type": "text_annotation_delta", "annotations": content["annotations"]}
