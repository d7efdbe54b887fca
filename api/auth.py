"""Who is calling and whether they may: the Bearer key, its project and its scopes."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Annotated

from fastapi import Depends, Request

from api import rates
from api.desk import Desk
from api.errors import RateLimited, request_id
from worker import keys
from worker.errors import Forbidden, NightdeskError, Unauthenticated
from worker.store.audit import Actor
from worker.store.holders import Holder
from worker.telemetry import count

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
    """Whoever holds the key of this request; raises Unauthenticated, RateLimited."""
    given = request.headers.get("authorization")
    if given is None:
        raise failure("missing", HINT)
    scheme, _, token = given.partition(" ")
    if scheme.lower() != "bearer":
        raise failure("malformed", f"not a Bearer key: {HINT}")
    return await holder(request, token.strip())


async def holder(request: Request, token: str) -> Caller:
    """Whoever holds this key; raises Unauthenticated, RateLimited."""
    desk: Desk = request.app.state.desk
    found = await _found(desk, token, address(request))
    request.state.project_id = found.project_id
    desk.threads.enter(found.project_id)
    kind = rates.READ if request.method == "GET" else rates.SUBMIT
    request.state.rate = desk.rates.take(found.key_id, kind, monotonic())
    by = Actor(found.key_id, address(request), request_id(request))
    return Caller(found.project_id, found.key_id, found.scopes, by)


async def _found(desk: Desk, token: str, place: str | None) -> Holder:
    """Raises Unauthenticated; RateLimited, without asking for this key, where too many unknown ones came before."""
    digest = keys.digest(token)
    is_known = desk.keyring.knows(digest)
    if not is_known:
        try:
            desk.strangers.admit(place, monotonic())
        except RateLimited:
            # Whoever guesses beside the holder of a good key, at one address or all over, must not lock him out.
            if not await desk.keyring.recalls(digest):
                count("nightdesk_auth_failures_total", reason="slowed")
                raise
            is_known = True
    try:
        found = await desk.keyring.find(digest) if token.startswith(keys.PREFIX) else None
    except NightdeskError:
        # Nobody can tell whether it was wrong.
        desk.strangers.pardon(place, monotonic())
        raise
    if found is None:
        raise failure("unknown", "this API key does not exist, was revoked or has expired")
    if not is_known:
        desk.strangers.pardon(place, monotonic())
    return found


def failure(reason: str, message: str) -> Unauthenticated:
    """Why nobody knows who calls, counted."""
    count("nightdesk_auth_failures_total", reason=reason)
    return Unauthenticated(message)


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
