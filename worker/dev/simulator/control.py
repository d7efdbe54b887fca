"""The `/_sim` calls: faults, interactions, counts, clock. For tests and demos on loopback; no key is asked for."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

import orjson
from aiohttp import web

from worker.dev.simulator.api import MACHINE
from worker.dev.simulator.directives import FAULT, SCRIPT
from worker.dev.simulator.failing import answer
from worker.dev.simulator.faults import KINDS, rule_from
from worker.dev.simulator.files import SHELF
from worker.dev.simulator.machine import Machine
from worker.dev.simulator.record import Record
from worker.dev.simulator.refusal import Refusal, invalid
from worker.dev.simulator.script import STUCK_S, Script

_PAGE = 1_000
_FIELDS = frozenset(field.name for field in fields(Script))


@dataclass(frozen=True, slots=True)
class Ask:
    """One control call: the machine, the HTTP request and its JSON body."""

    machine: Machine
    request: web.Request
    data: Any


Call = Callable[[Ask], Any]


def add_routes(app: web.Application) -> None:
    """Add the control calls to the application."""
    for route, (call, _) in ROUTES.items():
        method, path = route.split()
        app.router.add_route(method, path, _handler(call))


def _handler(call: Call) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handler(request: web.Request) -> web.StreamResponse:
        try:
            raw = await request.read()
            data = orjson.loads(raw) if raw else {}
            result = call(Ask(request.app[MACHINE], request, data))
        except orjson.JSONDecodeError:
            return answer(invalid("The request body is not valid JSON."))
        except Refusal as refusal:
            return answer(refusal)
        return web.Response(body=orjson.dumps(result), content_type="application/json")

    return handler


def _add_faults(ask: Ask) -> Any:
    now = ask.machine.store.now()
    rules = [rule_from(item, now) for item in (ask.data if isinstance(ask.data, list) else [ask.data])]
    ask.machine.faults.rules += rules
    return {"faults": [asdict(rule) for rule in rules]}


def _list_faults(ask: Ask) -> Any:
    return {"faults": [asdict(rule) for rule in ask.machine.faults.rules]}


def _clear_faults(ask: Ask) -> Any:
    ask.machine.faults.rules.clear()
    return {}


def _list_interactions(ask: Ask) -> Any:
    offset, limit = _number(ask.request, "offset", 0), _number(ask.request, "limit", _PAGE)
    now = ask.machine.store.now()
    page = [_entry(record, now) for record in ask.machine.store.page(offset, limit)]
    return {"interactions": page, "total": len(ask.machine.store), "now": now}


def _entry(record: Record, now: float) -> dict[str, Any]:
    request = record.request
    return {
        "id": record.id,
        "created_at": record.created_s,
        "ends_at": record.end_s,
        "target": record.target,
        "labels": request.get("labels", {}),
        "user_metadata": (request.get("webhook_config") or {}).get("user_metadata"),
        "background": record.is_background,
        "previous_interaction_id": request.get("previous_interaction_id"),
        "prompt_hash": record.prompt_hash,
        "status": record.status(now),
        "cancelled_at": record.cancelled_s,
        "deleted": record.is_deleted,
    }


def _direct(ask: Ask) -> Any:
    record = ask.machine.store.peek(ask.request.match_info["id"])
    now = ask.machine.store.now()
    changes = {name: ask.data[name] for name in ask.data if name in _FIELDS}
    unknown = set(ask.data) - _FIELDS - {"finish", "body"}
    if unknown:
        raise invalid(f"Unknown field '{min(unknown)}'; one of {', '.join(sorted(_FIELDS))}, finish, body.")
    if ask.data.get("finish") is True:
        changes |= {"queued_s": 0.0, "duration_s": max(0.0, now - record.created_s)}
    elif ask.data.get("finish") is False:
        changes["duration_s"] = STUCK_S
    ask.machine.store.direct(record, changes, ask.data.get("body"))
    ask.machine.announce()
    return _entry(record, now)


def _stats(ask: Ask) -> Any:
    counts = {
        "created": ask.machine.store.created,
        "interactions": len(ask.machine.store),
        "now": ask.machine.store.now(),
    }
    return counts | ask.machine.stats.as_json()


def _advance(ask: Ask) -> Any:
    seconds = ask.data.get("seconds")
    if not isinstance(seconds, int | float) or seconds < 0:
        raise invalid("'seconds' must be a number that is not negative.")
    ask.machine.store.advance(float(seconds))
    ask.machine.announce()
    return {"now": ask.machine.store.now()}


def _direct_events(ask: Ask) -> Any:
    kinds = {"deliver": bool, "copies": int, "metadata": bool}
    for name, value in ask.data.items():
        if name not in kinds or not isinstance(value, kinds[name]):
            raise invalid(f"Bad event field '{name}'; the fields are {', '.join(kinds)}.")
        setattr(ask.machine.courier.rules, name, value)
    return _events(ask)


def _events(ask: Ask) -> Any:
    courier = ask.machine.courier
    return {"rules": asdict(courier.rules), "sent": courier.sent}


def _files(ask: Ask) -> Any:
    now, shelf = ask.machine.store.now(), ask.request.app[SHELF]
    return {"under_way": len(shelf.uploads), "files": [file.as_json(now) for file in shelf.files.values()]}


def _request(ask: Ask) -> Any:
    return ask.machine.store.peek(ask.request.match_info["id"]).request


def _reset(ask: Ask) -> Any:
    ask.machine.reset()
    shelf = ask.request.app[SHELF]
    shelf.uploads.clear()
    shelf.files.clear()
    return {}


def _number(request: web.Request, name: str, default: int) -> int:
    try:
        return max(0, int(request.query.get(name, default)))
    except ValueError as error:
        raise invalid(f"'{name}' must be a whole number.") from error


def _guide(_: Ask) -> Any:
    return {
        "control": {route: does for route, (_, does) in ROUTES.items()},
        "faults": {name: kind.sees for name, kind in KINDS.items()},
        "directive": "[[sim: key=value ...]] in a prompt; a block that names a call is a fault, others direct the run",
        "run": {name: key.does for name, key in SCRIPT.items()},
        "fault": {name: key.does for name, key in FAULT.items()},
    }


ROUTES: dict[str, tuple[Call, str]] = {
    "GET /_sim": (_guide, "this guide"),
    "POST /_sim/faults": (_add_faults, "adds a rule or a list of rules: call, kind, target, prompt, count, for_s, ..."),
    "GET /_sim/faults": (_list_faults, "the rules, with their hits"),
    "DELETE /_sim/faults": (_clear_faults, "removes all rules"),
    "GET /_sim/interactions": (_list_interactions, "all interactions, oldest first; offset, limit"),
    "GET /_sim/interactions/{id}": (_request, "the body of its create, without nulls at its top"),
    "POST /_sim/interactions/{id}": (_direct, "changes a run: fields of its script, finish: true, body: {...}"),
    "GET /_sim/stats": (_stats, "calls by status, creates by prompt and label"),
    "POST /_sim/advance": (_advance, "moves the clock forward by seconds"),
    "POST /_sim/events": (_direct_events, "how events are sent: deliver, copies, metadata"),
    "GET /_sim/events": (_events, "the same, and how many were delivered, failed, withheld"),
    "GET /_sim/files": (_files, "the files, and how many uploads are under way"),
    "POST /_sim/reset": (_reset, "forgets everything"),
}
"""The control calls and what each does."""
