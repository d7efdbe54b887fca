"""The Interactions API's own calls: create, get, cancel, delete. Speaks HTTP; what a run does is computed elsewhere."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web

from worker.dev.simulator import chain, director
from worker.dev.simulator.checks import check_create
from worker.dev.simulator.events import stream
from worker.dev.simulator.failing import answer, fail, was_dropped
from worker.dev.simulator.machine import Machine
from worker.dev.simulator.prompt import prompt_hash, words_in
from worker.dev.simulator.record import ENDED, Record
from worker.dev.simulator.refusal import Refusal, invalid
from worker.dev.simulator.stats import DROPPED

MACHINE = web.AppKey("machine", Machine)

_JSON = "application/json"
_SLOW_CANCEL_S = 10.0
_LOOK_S = 0.001

Call = Callable[[Machine, web.Request], Awaitable[web.StreamResponse]]


def endpoint(name: str, call: Call) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Wrap a call of the API: latency, API key, refusals, counting."""

    async def handler(request: web.Request) -> web.StreamResponse:
        machine = request.app[MACHINE]
        if machine.options.latency_s:
            await asyncio.sleep(machine.options.latency_s)
        try:
            _check_key(request, machine.options.api_key)
            response = await call(machine, request)
        except Refusal as refusal:
            response = answer(refusal)
        machine.stats.answered(name, DROPPED if was_dropped(response) else response.status)
        return response

    return handler


async def create(machine: Machine, request: web.Request) -> web.StreamResponse:
    """`POST /{v}/interactions`."""
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise invalid("The request body is not valid JSON.") from error
    words = words_in(body)
    machine.stats.posted(prompt_hash(words), body.get("labels") if isinstance(body, dict) else None)
    rule = machine.create_fault(body, words)
    if rule is None:
        return await _create(machine, request, body)
    is_unseen = rule.kind != "slow"
    return await fail(request, rule, lambda: _create(machine, request, body, is_unseen=is_unseen))


async def get(machine: Machine, request: web.Request) -> web.StreamResponse:
    """`GET /{v}/interactions/{id}`."""
    record = machine.store.find(request.match_info["id"])
    query = request.query
    if query.get("stream") == "true":
        return await stream(machine, request, record, query.get("last_event_id"))
    _check_query(query)
    if record.rules or machine.faults.rules:
        rule = machine.fault("get", record)
        if rule is not None:
            return await fail(request, rule, lambda: _get(machine, record, query))
    return await _get(machine, record, query)


async def cancel(machine: Machine, request: web.Request) -> web.StreamResponse:
    """`POST /{v}/interactions/{id}/cancel`; the answer says cancelled, GET follows a little later."""
    record = machine.store.find(request.match_info["id"])
    rule = machine.fault("cancel", record)
    if rule is None:
        return _cancel(machine, record, record.script.cancel_lag_s)
    if rule.kind == "ignored":
        return _resource(machine, record)
    if rule.kind == "slow":
        lag_s = _SLOW_CANCEL_S if rule.delay_s is None else rule.delay_s
        _cancel(machine, record, lag_s / machine.options.speed)
        return _resource(machine, record)

    async def act() -> web.StreamResponse:
        return _cancel(machine, record, record.script.cancel_lag_s)

    return await fail(request, rule, act)


async def delete(machine: Machine, request: web.Request) -> web.StreamResponse:
    """`DELETE /{v}/interactions/{id}`; the run goes on unseen."""
    record = machine.store.find(request.match_info["id"])
    rule = machine.fault("delete", record)
    if rule is None:
        return _delete(machine, record)
    if rule.kind == "ignored":
        return _answer(b"{}")

    async def act() -> web.StreamResponse:
        return _delete(machine, record)

    return await fail(request, rule, act)


async def keys(request: web.Request) -> web.StreamResponse:
    """`GET /.well-known/jwks.json`: the key that dynamic events are signed with; no API key is asked for."""
    machine = request.app[MACHINE]
    machine.stats.answered("jwks", 200)
    return _answer(orjson.dumps(machine.courier.signer.jwks()))


async def unknown(_request: web.Request) -> web.StreamResponse:
    """Answer every other path, as the platform does."""
    return answer(Refusal(404, "Method not found.", shape="list"))


async def _create(machine: Machine, request: web.Request, body: Any, *, is_unseen: bool = False) -> web.StreamResponse:
    """Make the interaction and answer; at once if nobody is going to see the whole answer."""
    options, store = machine.options, machine.store
    check_create(body, request.match_info["version"], options.custom_agents)
    now = store.now()
    past = chain.past_of(body, store, now, options.seed)
    rest = chain.rest_of(body, store, options.seed)
    commission = director.Commission(body=body, past=past, rest=rest, number=store.created, now=now)
    record = director.record_for(commission, options)
    store.add(record)
    machine.stats.took(record.prompt_hash)
    machine.courier.watch(record)
    if body.get("stream") and not is_unseen:
        response = await stream(machine, request, record, None)
    elif record.is_background or is_unseen:
        response = _answer(orjson.dumps(machine.views.resource(record, now, is_fresh=True)))
    else:
        response = await _foreground(machine, record)
    if body.get("store") is False:
        store.delete(record)
    return response


async def _foreground(machine: Machine, record: Record) -> web.StreamResponse:
    limit_s = record.created_s + machine.options.foreground_limit_s
    while record.status(now := machine.store.now()) not in ENDED:
        if now >= limit_s:
            raise Refusal(504, "The interaction did not end in time; use background=true.", "deadline_exceeded")
        due_s = record.end_s if record.end_s > now else limit_s
        await machine.wait(max(min(due_s, limit_s) - now, _LOOK_S))
    return _answer(orjson.dumps(machine.views.resource(record, now, is_fresh=True)))


async def _get(machine: Machine, record: Record, query: Any) -> web.StreamResponse:
    include_input = bool(query) and query.get("include_input") == "true"
    return _answer(machine.views.get(record, machine.store.now(), include_input=include_input))


def _cancel(machine: Machine, record: Record, lag_s: float) -> web.Response:
    now = machine.store.now()
    status = record.status(now)
    if not record.is_background or status in ENDED:
        why = f"it is {status}" if status in ENDED else "it does not run in the background"
        raise invalid(f"The interaction cannot be cancelled: {why}.", "failed_precondition")
    if record.cancelled_s is None or now + lag_s < record.cancelled_s:
        machine.store.cancel(record, now + lag_s)
        machine.announce()
    return _answer(orjson.dumps(machine.views.resource(record, now, is_fresh=False, status="cancelled")))


def _resource(machine: Machine, record: Record) -> web.Response:
    return _answer(orjson.dumps(machine.views.resource(record, machine.store.now(), is_fresh=False)))


def _delete(machine: Machine, record: Record) -> web.Response:
    machine.store.delete(record)
    return _answer(b"{}")


def _answer(body: bytes) -> web.Response:
    return web.Response(body=body, content_type=_JSON)


def _check_key(request: web.Request, wanted: str | None) -> None:
    key = request.headers.get("x-goog-api-key") or request.query.get("key")
    if not key and "upload_id" in request.query:
        return  # the URL of an upload under way is its own permission
    if not key:
        message = (
            "Method doesn't allow unregistered callers. Please use API Key or other form of API consumer identity."
        )
        raise Refusal(403, message, shape="platform")
    if wanted is not None and key != wanted:
        raise Refusal(401, "API key not valid. Please pass a valid API key.", "authentication")


def _check_query(query: Any) -> None:
    if not query:
        return
    if query.get("fields", "*") != "*":
        raise invalid("The value of 'fields' is not supported.")
    if "last_event_id" in query:
        raise invalid("'last_event_id' can only be used if 'stream' is true.")
