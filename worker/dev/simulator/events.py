"""Streams an interaction as server-sent events: what was said so far at once, the rest as it comes.

Events and their ids are computed from the record, so that any stream resumes after any event, also after a restart.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
from aiohttp import web

from worker.dev.simulator.failing import fail
from worker.dev.simulator.faults import Rule
from worker.dev.simulator.machine import Machine
from worker.dev.simulator.record import ENDED, Record
from worker.dev.simulator.refusal import invalid
from worker.dev.simulator.score import closing, score

_LOOK_S = 1.0
_SOON_S = 0.01
_DONE = b"data: [DONE]\n\n"
_CUT = b'[{"error": {"code": 503, "message": "The service is currently unavailable.", "status": "UNAVAILABLE"}}]\n'


async def stream(
    machine: Machine, request: web.Request, record: Record, last_event_id: str | None
) -> web.StreamResponse:
    """Answer with the events of an interaction, after the given one, until it ends."""
    rule = machine.fault("stream", record) if record.rules or machine.faults.rules else None
    if rule is not None and rule.kind not in ("cut", "drop"):
        return await fail(request, rule, lambda: _stream(machine, request, record, last_event_id, None))
    return await _stream(machine, request, record, last_event_id, rule)


async def _stream(
    machine: Machine, request: web.Request, record: Record, last_event_id: str | None, rule: Rule | None
) -> web.StreamResponse:
    start = _position(last_event_id)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    sent = 0
    try:
        async for number, data in _events(machine, record):
            if number < start:
                continue
            if rule is not None and sent >= rule.after:
                return await _break(request, response, rule)
            await response.write(_frame(number, data))
            sent += 1
        await response.write(_DONE)
        await response.write_eof()
    except (ConnectionError, asyncio.CancelledError):
        if request.transport is not None and not request.transport.is_closing():
            raise
    return response


async def _events(machine: Machine, record: Record) -> AsyncIterator[tuple[int, dict[str, Any]]]:
    """Yield the events with their numbers, each when its time has come."""
    seed, number = machine.options.seed, 0
    script, planned = record.script, score(record, seed)
    while True:
        if record.script is not script:
            script, planned = record.script, score(record, seed)
        now = machine.store.now()
        progress = record.progress(now)
        while number < len(planned) and planned[number].at <= progress:
            yield number, planned[number].data
            number += 1
        if record.status(now) in ENDED:
            for data in closing(record, seed, now):
                yield number, data
                number += 1
            return
        await machine.wait(_pause_s(record, planned[number].at if number < len(planned) else 1.0, now))


def _pause_s(record: Record, at: float, now: float) -> float:
    """Return how long to wait for the next event; past the end of an unknown status only the control calls help."""
    due_s = min(record.end_s, record.created_s + record.script.queued_s + at * record.script.duration_s)
    return min(due_s - now, _LOOK_S) if due_s > now else _SOON_S if at < 1.0 else _LOOK_S


async def _break(request: web.Request, response: web.StreamResponse, rule: Rule) -> web.StreamResponse:
    if rule.kind == "cut":
        await response.write(_CUT)
        await response.write_eof()
    elif request.transport is not None:
        request.transport.close()
    return response


def _frame(number: int, data: dict[str, Any]) -> bytes:
    body = orjson.dumps({**data, "event_id": f"e{number}"})
    return b"event: %b\ndata: %b\n\n" % (str(data["event_type"]).encode(), body)


def _position(last_event_id: str | None) -> int:
    if last_event_id is None:
        return 0
    number = last_event_id.removeprefix("e")
    if not number.isdecimal():
        raise invalid("The value of 'last_event_id' is not valid.")
    return int(number) + 1
