"""Request bodies: the limit, counted while they stream in, and their JSON."""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import PayloadTooLarge
from worker.errors import BadRequest, Fault, Invalid

SMALL_BYTES = 64 * 1024
"""Bodies up to this size are read and checked on the event loop; a hop to a thread costs more than they do."""


class BodyLimit:
    """Refuses to take in more than `limit` bytes, whatever Content-Length says or whether there is one.

    Paths of their own limit are in `apart`.
    """

    def __init__(self, app: ASGIApp, limit: int, apart: Mapping[str, int] | None = None) -> None:
        self.app = app
        self.limit = limit
        self.apart = apart or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a handler read up to the limit; its next read raises PayloadTooLarge."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.apart.get(scope["path"], self.limit)
        announced = Headers(scope=scope).get("content-length", "")
        is_over = announced.isdecimal() and int(announced[:20]) > limit
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            if is_over:
                raise PayloadTooLarge(f"the body may have at most {limit} bytes")
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:
                raise PayloadTooLarge(f"the body may have at most {limit} bytes")
            return message

        await self.app(scope, counted, send)


async def read(request: Request) -> bytes:
    """The whole body; raises PayloadTooLarge."""
    return await request.body()


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object in a body; raises BadRequest for what is not JSON and Invalid for what is no object."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    if not isinstance(content, dict):
        raise Invalid(Fault("", "the body must be a JSON object"))
    return content


def digest(content: object) -> str:
    """The same for two bodies that mean the same: for telling a replay from a reused key."""
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
