"""Carries a fault out on the wire: each kind of `faults.KINDS` that is not a plain answer has its function here."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from worker.dev.simulator.faults import KINDS, STREAM_KINDS, Rule
from worker.dev.simulator.refusal import CODES, Refusal


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that is to fail: its request, the rule, and its proper answer if the call took effect."""

    request: web.Request
    rule: Rule
    made: web.StreamResponse | None


Act = Callable[[], Awaitable[web.StreamResponse]]

_SLOW_S = 5.0
_LOOK_S = 0.1
_DROPPED = "dropped"


async def fail(request: web.Request, rule: Rule, act: Act) -> web.StreamResponse:
    """Answer a call as the rule wants it; `act` is the call itself, made only if the fault lets it take effect."""
    made = await act() if rule.acts else None
    wire = _WIRE.get(rule.kind)
    if wire is None:
        return refuse(rule)
    return await wire(Failure(request, rule, made))


def refuse(rule: Rule) -> web.Response:
    """Return the error answer that the rule describes."""
    code = rule.code or CODES.get(rule.status, "api_error")
    message = rule.message or f"Simulated fault: {code}."
    return answer(Refusal(rule.status, message, code, rule.shape, rule.retry_after_s))


def answer(refusal: Refusal) -> web.Response:
    """Turn a refusal into an HTTP answer."""
    body, content_type = refusal.body()
    response = web.Response(status=refusal.status, body=body, content_type=content_type)
    if refusal.retry_after_s is not None:
        response.headers["Retry-After"] = f"{refusal.retry_after_s:g}"
    return response


def was_dropped(response: web.StreamResponse) -> bool:
    """Whether the client never saw this answer."""
    return response.reason == _DROPPED


def _dropped() -> web.Response:
    return web.Response(status=500, reason=_DROPPED)


async def _close(failure: Failure) -> web.StreamResponse:
    if failure.request.transport is not None:
        failure.request.transport.close()
    return _dropped()


async def _reset(failure: Failure) -> web.StreamResponse:
    if failure.request.transport is not None:
        connection = failure.request.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        failure.request.transport.abort()
    return _dropped()


async def until_gone(request: web.Request) -> None:
    """Return when the client has hung up: nobody is told, so the transport is looked at."""
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_S)


async def _hang(failure: Failure) -> web.StreamResponse:
    await until_gone(failure.request)
    return _dropped()


async def _slow(failure: Failure) -> web.StreamResponse:
    await asyncio.sleep(_SLOW_S if failure.rule.delay_s is None else failure.rule.delay_s)
    return failure.made or refuse(failure.rule)


async def _broken(failure: Failure) -> web.StreamResponse:
    body = _bytes(failure.made)
    return web.Response(body=body[: len(body) // 2], content_type="application/json")


async def _truncated(failure: Failure) -> web.StreamResponse:
    body = _bytes(failure.made)
    if failure.request.transport is not None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        failure.request.transport.write(head.encode() + body[: len(body) // 2])
    return await _close(failure)


async def _accepted(failure: Failure) -> web.StreamResponse:
    return web.Response(status=202, body=_bytes(failure.made), content_type="application/json")


async def _made(failure: Failure) -> web.StreamResponse:
    return failure.made or refuse(failure.rule)


def _bytes(made: web.StreamResponse | None) -> bytes:
    body = made.body if isinstance(made, web.Response) else None
    return body if isinstance(body, bytes) else b'{"id": "v1_broken", "status": "in_progress"}'


_WIRE: dict[str, Callable[[Failure], Awaitable[web.StreamResponse]]] = {
    "lost": _close,
    "close": _close,
    "reset": _reset,
    "hang": _hang,
    "slow": _slow,
    "broken": _broken,
    "truncated": _truncated,
    "accepted": _accepted,
    "ignored": _made,
    **dict.fromkeys(STREAM_KINDS, _made),
}
assert set(_WIRE) | {"status", "html"} == set(KINDS)
