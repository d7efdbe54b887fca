"""Who is calling: a Nightdesk key where the clients put a Gemini key, or as a Bearer token."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request

from api import auth
from api.auth import Caller

HEADER = "x-goog-api-key"


async def caller(request: Request) -> Caller:
    """Whoever holds the key of this request; raises Unauthenticated."""
    given = request.headers.get(HEADER)
    if given is not None:
        return await auth.holder(request, given.strip())
    if "key" in request.query_params and "authorization" not in request.headers:
        raise auth.failure("malformed", f"a key in a URL ends in logs: send it in the header {HEADER}")
    return await auth.caller(request)


def _needs(scope: str) -> Callable[[Request], Awaitable[Caller]]:
    async def check(request: Request) -> Caller:
        return auth.entitled(await caller(request), scope)

    return check


Reader = Annotated[Caller, Depends(_needs(auth.READ))]
Author = Annotated[Caller, Depends(_needs(auth.WRITE))]
