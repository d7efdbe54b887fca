"""The API's calls about registered webhooks: create, list, get, update, delete, rotate."""

from typing import Any

import orjson
from aiohttp import web

from worker.dev.simulator.api import endpoint
from worker.dev.simulator.machine import Machine
from worker.dev.simulator.refusal import invalid
from worker.dev.simulator.registry import Hook, view

_PATH = "/{version:v1|v1beta}/webhooks"
_ONE = _PATH + "/{id:[^:/]+}"
_CHANGES = {"uri": "uri", "name": "name", "state": "state", "subscribed_events": "events"}


def add_routes(app: web.Application) -> None:
    """Add the calls to the application."""
    app.router.add_post(_PATH, endpoint("webhooks", _create))
    app.router.add_get(_PATH, endpoint("webhooks", _list))
    app.router.add_get(_ONE, endpoint("webhooks", _get))
    app.router.add_patch(_ONE, endpoint("webhooks", _update))
    app.router.add_delete(_ONE, endpoint("webhooks", _delete))
    app.router.add_post(_ONE + ":rotateSigningSecret", endpoint("webhooks", _rotate))


async def _create(machine: Machine, request: web.Request) -> web.StreamResponse:
    asked = await _body(request)
    uri, events = asked.get("uri"), asked.get("subscribed_events")
    if not isinstance(uri, str) or "://" not in uri:
        raise invalid("'uri' must be a URL.")
    if not isinstance(events, list) or not events:
        raise invalid("'subscribed_events' must not be empty.")
    hook = machine.courier.registry.add(uri, events, name=asked.get("name"))
    (secret,) = hook.secrets
    return _answer(_seen(machine, hook) | {"new_signing_secret": secret})


async def _list(machine: Machine, _: web.Request) -> web.StreamResponse:
    return _answer({"webhooks": [_seen(machine, hook) for hook in machine.courier.registry]})


async def _get(machine: Machine, request: web.Request) -> web.StreamResponse:
    return _answer(_seen(machine, _found(machine, request)))


async def _update(machine: Machine, request: web.Request) -> web.StreamResponse:
    hook, asked = _found(machine, request), await _body(request)
    for name, attribute in _CHANGES.items():
        if asked.get(name) is not None:
            setattr(hook, attribute, asked[name])
    return _answer(_seen(machine, hook))


async def _delete(machine: Machine, request: web.Request) -> web.StreamResponse:
    machine.courier.registry.remove(request.match_info["id"])
    return _answer({})


async def _rotate(machine: Machine, request: web.Request) -> web.StreamResponse:
    hook, asked = _found(machine, request), await _body(request)
    at_once = asked.get("revocation_behavior") == "revoke_previous_secrets_immediately"
    return _answer({"secret": machine.courier.registry.rotate(hook, at_once=at_once)})


def _found(machine: Machine, request: web.Request) -> Hook:
    return machine.courier.registry.find(request.match_info["id"])


def _seen(machine: Machine, hook: Hook) -> dict[str, Any]:
    return view(hook, machine.store.now())


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        value = orjson.loads(await request.read() or b"{}")
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise invalid("The request body is not a JSON object.")
    return value


def _answer(content: dict[str, Any]) -> web.Response:
    return web.Response(body=orjson.dumps(content), content_type="application/json")
