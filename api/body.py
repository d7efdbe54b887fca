"""Request bodies: the limit, counted while they stream in, and their JSON."""

import asyncio
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

import orjson
from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import bulk
from api.bulk import Hold
from api.errors import PayloadTooLarge
from api.places import Places
from api.threads import run_in_threadpool
from worker.errors import MAX_FAULTS, BadRequest, Fault, Invalid, pointer_to

LONG_NUMBER = re.compile(rb"\d{19}")
"""Without so many digits in a row no whole number needs more than 64 bits."""

MAX_DEPTH = 128
"""Levels of a body: JSON is read deeper than it is written, and what cannot be written cannot be kept."""

_INEXACT = object()


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a body may take to come."""

    idle_s: float = 30.0
    """Nothing of it."""
    grace_s: float = 30.0
    slowest: float = 4096
    """All of it: the grace, and a second for every so many bytes that have come."""


class TooSlow(BadRequest):
    """The body does not come."""


class BodyLimit:
    """Refuses to take in more than `limit` bytes, whatever Content-Length says or whether there is one.

    And to wait for a body that does not come, or to hold more of all bodies than there is room for. Paths of their own
    limit are in `apart`: they have times of their own, and hold nothing.
    """

    def __init__(
        self,
        app: ASGIApp,
        limit: int,
        apart: Mapping[str, int] | None = None,
        patience: Patience | None = None,
        held: Places | None = None,
    ) -> None:
        self.app = app
        self.limit = limit
        self.patience = patience or Patience()
        self.apart = apart or {}
        self.held = held or bulk.held()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a handler read up to the limit; its next read raises PayloadTooLarge."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.apart.get(scope["path"], self.limit)
        announced = Headers(scope=scope).get("content-length", "")
        is_over = announced.isdecimal() and int(announced[:20]) > limit
        is_apart, state = scope["path"] in self.apart, scope.setdefault("state", {})
        taken, is_whole, began = 0, is_apart, monotonic()
        hold = state["hold"] = Hold(self.held, state)

        async def counted() -> Message:
            nonlocal taken, is_whole
            if is_over:
                raise PayloadTooLarge(f"the body may have at most {limit} bytes")
            message = await (receive() if is_whole else self._soon(receive, monotonic() - began, taken))
            is_whole = is_whole or not message.get("more_body", False)
            taken += len(message.get("body", b""))
            if taken > limit:
                raise PayloadTooLarge(f"the body may have at most {limit} bytes")
            if not is_apart and taken > bulk.UNCOUNTED_BYTES and (came := len(message.get("body", b""))):
                hold.grow(came)
            return message

        try:
            await self.app(scope, counted, send)
        finally:
            hold.end()

    async def _soon(self, receive: Receive, since_s: float, taken: int) -> Message:
        left_s = self.patience.grace_s + taken / self.patience.slowest - since_s
        try:
            async with asyncio.timeout(min(self.patience.idle_s, max(0.0, left_s))):
                return await receive()
        except TimeoutError:
            raise TooSlow("the body comes too slowly") from None


async def read(request: Request, limit: float = math.inf) -> bytes:
    """The whole body, once; raises PayloadTooLarge, RateLimited, and BadRequest where it is compressed."""
    refuse_encoded(request)
    chunks, taken = list[bytes](), 0
    # The request itself would keep it until its answer is out.
    async for chunk in request.stream():
        chunks.append(chunk)
        taken += len(chunk)
        if taken > limit:
            raise PayloadTooLarge(f"the body may have at most {limit} bytes here")
    return b"".join(chunks)


async def read_small(request: Request) -> dict[str, Any]:
    """The JSON object in a body that can only be small; raises as `read` and `parse` do."""
    return parse(await read(request, bulk.LIGHT_BYTES))


async def measure(request: Request, raw: bytes) -> None:
    """Make room for what is made of a body that is not light; raises RateLimited, and Invalid for too many parts."""
    parts = await run_in_threadpool(bulk.parts, raw)
    if parts > bulk.MAX_PARTS:
        raise Invalid(Fault("", f"the body must not have more than {bulk.MAX_PARTS:,} values and names"))
    request.state.hold.grow(parts * bulk.PART_BYTES)


def refuse_encoded(request: Request) -> None:
    """Raise BadRequest for a compressed body: a few bytes of it may be gigabytes."""
    if request.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise BadRequest("the body must be sent without a Content-Encoding")


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object in a body.

    Raises BadRequest for what is not JSON, Invalid for what is no object, nested too deep or not exact.
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    if not isinstance(content, dict):
        raise Invalid(Fault("", "the body must be a JSON object"))
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deep(content):
        raise Invalid(Fault("", f"the body must not be nested deeper than {MAX_DEPTH} levels"))
    if LONG_NUMBER.search(body):
        _refuse_inexact(body)
    return content


def _is_deep(content: dict[str, Any]) -> bool:
    level: list[Any] = [content]
    for _ in range(MAX_DEPTH):
        inner = (node.values() if isinstance(node, dict) else node for node in level)
        level = [child for children in inner for child in children if isinstance(child, (dict, list))]
    return bool(level)


def _refuse_inexact(body: bytes) -> None:
    """Raise Invalid for whole numbers that were read as doubles: they would be passed on as others."""
    exact = json.loads(body, parse_int=lambda text: None if -(2**63) <= int(text) < 2**64 else _INEXACT)
    faults, stack = list[Fault](), [("", exact)]
    while stack and len(faults) < MAX_FAULTS:
        pointer, value = stack.pop()
        if value is _INEXACT:
            faults.append(Fault(pointer, "a whole number beyond 64 bits cannot be passed on as it is"))
        elif isinstance(value, (dict, list)):
            inner = value.items() if isinstance(value, dict) else enumerate(value)
            stack += [(pointer + pointer_to([key]), child) for key, child in inner]
    if faults:
        raise Invalid(*faults)


def digest(content: object) -> str:
    """The same for two bodies that mean the same: for telling a replay from a reused key."""
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
