"""What the upstream tells live of a running interaction, in this door's own numbers. Pure, and best effort.

Only what can be told exactly: whatever comes in another order is left to what the interaction gives in the end.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from api.gemini import score
from api.gemini.score import BEGUN, OVER, Place
from api.history import Piece
from worker.gemini import clean

Json = dict[str, Any]


class LostError(Exception):
    """The upstream told something that does not follow from what it told before."""


class Relay:
    """The places of one interaction's live events; its first step is the act's step number `offset`."""

    def __init__(self, run: int, offset: int) -> None:
        self._offset = offset
        self._at = Place(run, offset - 1, OVER)
        self._arguments = ""

    def take(self, piece: Piece, after: Place) -> Iterator[tuple[Place, Json]]:
        """What of an upstream event comes after a place; raises LostError."""
        event = _read(piece.data)
        kind = event.get("event_type") if isinstance(event, dict) else None
        if kind not in {"step.start", "step.delta", "step.stop"}:
            return
        number = event.get("index")
        if not isinstance(number, int):
            raise LostError
        event["index"] = number + self._offset
        if kind == "step.start":
            yield from self._start(event, after)
            return
        if event["index"] != self._at.step or self._at.stage == OVER:
            raise LostError
        yield from self._delta(event, after) if kind == "step.delta" else self._stop(event, after)

    def _start(self, event: Json, after: Place) -> Iterator[tuple[Place, Json]]:
        if event["index"] != self._at.step + 1 or self._at.stage != OVER:
            raise LostError
        self._at = Place(self._at.run, event["index"], BEGUN)
        if self._at > after:
            yield self._at, event

    def _delta(self, event: Json, after: Place) -> Iterator[tuple[Place, Json]]:
        delta = event.get("delta")
        if not isinstance(delta, dict):
            raise LostError
        if delta.get("type") == "arguments_delta":
            # Told at once at the end: in pieces they could not be taken up from what the interaction gives.
            self._arguments += str(delta.get("arguments") or "")
            return
        before, self._at = self._at, self._at.after(delta)
        rest = score.cut(delta, before, self._at, after)
        if rest is not None:
            yield self._at, {**event, "delta": rest}

    def _stop(self, event: Json, after: Place) -> Iterator[tuple[Place, Json]]:
        if self._arguments:
            delta = {"type": "arguments_delta", "arguments": self._arguments}
            self._at, self._arguments = self._at.after(delta), ""
            if self._at > after:
                yield self._at, {"index": event["index"], "delta": delta, "event_type": "step.delta"}
        self._at = Place(self._at.run, event["index"], OVER)
        if self._at > after:
            yield self._at, event


def _read(data: bytes) -> Any:
    """An event as its interaction will show it; raises LostError where that may be written otherwise."""
    try:
        event = {"told": orjson.loads(data)}
    except orjson.JSONDecodeError:
        raise LostError from None
    if clean.tidy(event, has_nul=b"\\u0000" in data):
        raise LostError
    return event["told"]
