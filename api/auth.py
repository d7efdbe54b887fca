"""Who is calling and whether they may: the Bearer key, its project and its scopes."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.desk import Desk
from api.errors import request_id
from worker import keys
from worker.errors import Forbidden, Unauthenticated
from worker.store.audit import Actor

ADMIN = "admin"
READ, WRITE, WEBHOOKS = "jobs:read", "jobs:write", "webhooks:write"
HINT = "an API key goes into the header 'Authorization: Bearer nd_…'"


@dataclass(frozen=True, slots=True)
class Caller:
    """The project that a request acts for."""

    project_id: str
    key_id: str
    scopes: frozenset[str]
    by: Actor
    """The same for the audit log."""

    @property
    def is_admin(self) -> bool:
        """Whether the key has the scope `admin`."""
        return ADMIN in self.scopes


async def caller(request: Request) -> Caller:
    """Whoever holds the key of this request; raises Unauthenticated."""
    given = request.headers.get("authorization")
    if given is None:
        raise Unauthenticated(HINT)
    scheme, _, token = given.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated(f"not a Bearer key: {HINT}")
    return await holder(request, token.strip())


async def holder(request: Request, token: str) -> Caller:
    """Whoever holds this key; raises Unauthenticated."""
    desk: Desk = request.app.state.desk
    found = await desk.keyring.find(keys.digest(token)) if token.startswith(keys.PREFIX) else None
    if found is None:
        raise Unauthenticated("this API key does not exist, was revoked or has expired")
    by = Actor(found.key_id, address(request), request_id(request))
    return Caller(found.project_id, found.key_id, found.scopes, by)


def address(request: Request) -> str | None:
    """Where a request comes from: the peer, or what a trusted proxy says; None on a Unix socket."""
    return None if request.client is None else request.client.host or None


async def permitted(request: Request, scope: str) -> Caller:
    """The caller, whose key has the scope; raises Unauthenticated, Forbidden."""
    return entitled(await caller(request), scope)


def entitled(who: Caller, scope: str) -> Caller:
    """The same caller, whose key has the scope; raises Forbidden."""
    if scope not in who.scopes:
        raise Forbidden(f"this API key lacks the scope {scope}")
    return who


def _needs(scope: str) -> Callable[[Request], Awaitable[Caller]]:
    async def check(request: Request) -> Caller:
        return await permitted(request, scope)

    return check


AnyKey = Annotated[Caller, Depends(caller)]
Reader = Annotated[Caller, Depends(_needs(READ))]
Author = Annotated[Caller, Depends(_needs(WRITE))]
Postmaster = Annotated[Caller, Depends(_needs(WEBHOOKS))]
Admin = Annotated[Caller, Depends(_needs(ADMIN))]
