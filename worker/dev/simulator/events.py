"""Streams an interaction as server-sent events: what was said so far at once, the rest as it comes.

Events and their ids are computed from the record, so that any stream resumes after any event, also after a restart.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
from aiohttp import web

from worker.dev.simulator.failing import fail, until_gone
from worker.dev.simulator.faults import STREAM_KINDS, Rule
from worker.dev.simulator.machine import Machine
from worker.dev.simulator.record import ENDED, Record
from worker.dev.simulator.refusal import invalid
from worker.dev.simulator.score import closing, score

_LOOK_S = 1.0
_SOON_S = 0.01
_DONE = b"data: [DONE]\n\n"
_DRIBBLE_B, _DRIBBLE_S = 16, 0.01
_NAMELESS = 3
"""Where some events have no id, it is one in so many."""
_BREAKS = ("cut", "drop", "stall")
_CUT = b'[{"error": {"code": 503, "message": "The service is currently unavailable.", "status": "UNAVAILABLE"}}]\n'


async def stream(
    machine: Machine, request: web.Request, record: Record, last_event_id: str | None
) -> web.StreamResponse:
    """Answer with the events of an interaction, after the given one, until it ends."""
    rule = machine.fault("stream", record) if record.rules or machine.faults.rules else None
    if rule is not None and rule.kind not in STREAM_KINDS:
        return await fail(request, rule, lambda: _stream(machine, request, record, last_event_id, None))
    return await _stream(machine, request, record, last_event_id, rule)


async def _stream(
    machine: Machine, request: web.Request, record: Record, last_event_id: str | None, rule: Rule | None
) -> web.StreamResponse:
    start = max(0, _position(last_event_id) - (rule.back if rule else 0))
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    try:
        async with asyncio.timeout(rule.delay_s if rule and rule.kind == "cut" else None):
            is_whole = await _tell(machine, record, start, response, rule)
        if not is_whole and rule is not None:
            return await _break(request, response, rule)
        await response.write(_DONE)
        await response.write_eof()
    except TimeoutError:
        assert rule is not None, "only a rule has a time"
        return await _break(request, response, rule)
    except (ConnectionError, asyncio.CancelledError):
        if request.transport is not None and not request.transport.is_closing():
            raise
    return response


async def _tell(machine: Machine, record: Record, start: int, response: web.StreamResponse, rule: Rule | None) -> bool:
    """Send the events; false where the rule breaks the stream off before its end."""
    most = rule.after if rule is not None and rule.kind in _BREAKS and rule.delay_s is None else None
    sent = 0
    async for number, data in _events(machine, record):
        if number < start:
            continue
        if sent == most:
            return False
        frame = _frame(number, data, record.script.event_ids)
        if rule is not None and rule.kind == "dribble":
            await _dribble(response, frame, _DRIBBLE_S if rule.delay_s is None else rule.delay_s)
        else:
            await response.write(frame)
        sent += 1
    return True


async def _dribble(response: web.StreamResponse, frame: bytes, pause_s: float) -> None:
    for place in range(0, len(frame), _DRIBBLE_B):
        await response.write(frame[place : place + _DRIBBLE_B])
        await asyncio.sleep(pause_s)


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
    elif rule.kind == "stall":
        await until_gone(request)
    elif request.transport is not None:
        request.transport.close()
    return response


def _frame(number: int, data: dict[str, Any], event_ids: str) -> bytes:
    is_named = event_ids == "all" or (event_ids == "some" and number % _NAMELESS)
    body = orjson.dumps({**data, "event_id": f"e{number}"} if is_named else data)
    return b"event: %b\ndata: %b\n\n" % (str(data["event_type"]).encode(), body)


def _position(last_event_id: str | None) -> int:
    if last_event_id is None:
        return 0
    number = last_event_id.removeprefix("e")
    if not number.isdecimal():
        raise invalid("The value of 'last_event_id' is not valid.")
    return int(number) + 1
