"""The JSON of an interaction at a moment, as create, get and cancel answer it. Recently asked bodies are kept."""

from bisect import bisect_right
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

import orjson

from worker.dev.simulator import play
from worker.dev.simulator.prompt import Step
from worker.dev.simulator.record import ENDED, Record

_BUDGET_B = 64 * 1024 * 1024
_ECHOED = ("previous_interaction_id", "labels", "webhook_config")
_WITH_OUTPUT = ENDED - {"failed", "cancelled"}


class Views:
    """Builds bodies and keeps the latest, up to a number of bytes."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._kept: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self._kept_b = 0

    def get(self, record: Record, now: float, *, include_input: bool = False) -> bytes:
        """Return the body of a GET."""
        if record.replaced is not None:
            return orjson.dumps({"id": record.id, **record.replaced})
        status = record.status(now)
        is_ended = status in ENDED
        done = 0 if is_ended else self._done(record, now)
        is_billed = is_ended and now >= record.end_s + record.script.usage_late_s
        key = (record.id, record.script, record.cancelled_s, status, done, is_billed, include_input)
        body = self._kept.get(key)
        if body is None:
            body = orjson.dumps(self.resource(record, now, is_fresh=False, include_input=include_input))
            self._keep(key, body)
        else:
            self._kept.move_to_end(key)
        return body

    def resource(
        self, record: Record, now: float, *, is_fresh: bool, include_input: bool = False, status: str | None = None
    ) -> dict[str, Any]:
        """Return an interaction; a fresh one (the answer of a create) lacks the user's input."""
        status = status or record.status(now)
        is_ended = status in ENDED and record.status(now) in ENDED
        body = head(record, status, now)
        body |= {name: record.request[name] for name in _ECHOED if name in record.request}
        if "environment" in record.request:
            body["environment_id"] = play.environment_of(record)
        if include_input:
            body["input"] = record.request.get("input")
        outcome = play.finish(record, self._seed) if is_ended else None
        steps = self._steps(record, now, outcome if status in _WITH_OUTPUT else None)
        if steps or is_ended:
            body["steps"] = steps if is_fresh else [*record.steps, *steps]
        if outcome is not None and now >= record.end_s + record.script.usage_late_s:
            body["usage"] = outcome.usage
        if status == "failed":
            body["errors"] = [error_of(record)]
        if status == "requires_continuation":
            body["continuation_token"] = play.token_of(record)
        return body

    def _steps(self, record: Record, now: float, outcome: play.Outcome | None) -> list[Step]:
        steps: list[Step] = []
        if self._done(record, now):
            progress = record.progress(now)
            steps = [beat.step for beat in play.working(record, self._seed) if beat.at <= progress]
        return steps + outcome.output if outcome is not None else steps

    def _done(self, record: Record, now: float) -> int:
        if not record.is_agent or record.script.silent:
            return 0
        return bisect_right(play.pace(record), record.progress(now))

    def _keep(self, key: tuple[object, ...], body: bytes) -> None:
        self._kept[key] = body
        self._kept_b += len(body)
        while self._kept_b > _BUDGET_B and len(self._kept) > 1:
            self._kept_b -= len(self._kept.popitem(last=False)[1])


def head(record: Record, status: str, now: float) -> dict[str, Any]:
    """Return the fields that every form of an interaction carries, also in events."""
    is_ended = record.status(now) in ENDED
    stamp = timestamp(record.end_s if is_ended else record.created_s)
    return {
        "id": record.id,
        "object": "interaction",
        "status": status,
        "agent" if record.is_agent else "model": record.target,
        "created": stamp,
        "updated": stamp,
        "service_tier": record.request.get("service_tier", "standard"),
    }


def error_of(record: Record) -> dict[str, str]:
    """Return the reason why a run failed."""
    code = record.script.code or "api_error"
    return {"code": code, "message": record.script.message or f"The interaction ended with {code}."}


def timestamp(seconds: float) -> str:
    """Return a moment as the API writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
