"""Folds the events of a stream into the steps that they tell, as far as they have come. Pure, for display only.

Whatever an event holds, nothing raises: what cannot be understood is left out, deltas of unknown kinds are kept aside.
"""

from dataclasses import dataclass, field
from typing import Any

import orjson

from worker.gemini.media import KINDS

MAX_BYTES = 512 * 1024
DATA_MAX = 16 * 1024
"""The longest inline media that is kept; the result has them all."""


@dataclass(slots=True)
class _Step:
    """One step as told so far; its latest text and its arguments are still in pieces."""

    value: dict[str, Any]
    text: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    size: int = 0

    def add(self, delta: dict[str, Any]) -> None:
        kind = delta.get("type")
        if kind == "text":
            self._say(delta.get("text"))
        elif kind == "text_annotation_delta":
            self._annotate(delta.get("annotations"))
        elif kind == "arguments_delta":
            self.arguments += [part] if isinstance(part := delta.get("arguments"), str) else []
        elif kind == "thought_summary":
            self._list("summary").append(delta.get("content"))
        elif kind == "thought_signature":
            self.value["signature"] = delta.get("signature")
        elif kind in KINDS:
            self.join()
            self._list("content").append(delta)
        elif kind == self.value.get("type"):
            self.value |= delta
        else:
            self._list("deltas").append(delta)

    def join(self) -> None:
        """Put the pieces together."""
        if self.text:
            self._content()["text"] += "".join(self.text)
            self.text.clear()
        if self.arguments:
            self.value["arguments"] = _read("".join(self.arguments))

    def _say(self, text: Any) -> None:
        if isinstance(text, str):
            self._content()
            self.text.append(text)

    def _annotate(self, annotations: Any) -> None:
        if isinstance(annotations, list):
            content = self._content()
            before = content.get("annotations")
            content["annotations"] = [*(before if isinstance(before, list) else ()), *annotations]

    def _content(self) -> dict[str, Any]:
        """The text that grows: the last content, if it is one."""
        contents = self._list("content")
        last = contents[-1] if contents else None
        if not (isinstance(last, dict) and last.get("type") == "text" and isinstance(last.get("text"), str)):
            last = {"type": "text", "text": ""}
            contents.append(last)
        return last

    def _list(self, name: str) -> list[Any]:
        found = self.value.get(name)
        if not isinstance(found, list):
            found = self.value[name] = []
        return found


class Steps:
    """The steps of one interaction so far; where there are too many, the oldest go."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._steps: dict[int, _Step] = {}
        self._size = 0
        self.is_truncated = False

    def add(self, event: dict[str, Any], size: int) -> None:
        """Take one event of this many bytes in; all but those of steps are passed over."""
        index, step, delta = event.get("index"), event.get("step"), event.get("delta")
        if not isinstance(index, int):
            return
        if event.get("event_type") == "step.start" and isinstance(step, dict):
            self._drop(index)
            self._steps[index] = _Step(dict(step))
        elif event.get("event_type") != "step.delta" or not isinstance(delta, dict) or index not in self._steps:
            return
        else:
            delta, left_out = _light(delta)
            self._steps[index].add(delta)
            size -= left_out
        self._steps[index].size += size
        self._size += size
        while self._size > self._max_bytes:
            self._drop(next(iter(self._steps)))
            self.is_truncated = True

    @property
    def has_begun(self) -> bool:
        """Whether any step was told."""
        return bool(self._steps) or self.is_truncated

    def tell(self) -> list[dict[str, Any]]:
        """The steps in the order in which they began."""
        for step in self._steps.values():
            step.join()
        return [step.value for step in self._steps.values()]

    def _drop(self, index: int) -> None:
        if index in self._steps:
            self._size -= self._steps.pop(index).size


def _read(arguments: str) -> Any:
    """Arguments are JSON once they are whole, till then a text."""
    try:
        return orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments


def _light(delta: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """The delta without long inline media, and how long these were."""
    data = delta.get("data")
    if isinstance(data, str) and len(data) > DATA_MAX:
        return {name: value for name, value in delta.items() if name != "data"}, len(data)
    return delta, 0
