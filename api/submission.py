"""From a request to an order: reading bodies into drafts, and handing them to the writer."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from fastapi import Request

from api import body, bulk, headers
from api.auth import Caller
from api.bulk import Hold
from api.desk import Desk
from api.errors import request_id
from api.threads import run_in_threadpool
from worker.errors import Fault, Invalid, NightdeskError
from worker.flow.draft import Draft, prepare
from worker.flow.submit import Accepted, Order, replay
from worker.store import audit

T = TypeVar("T")

MAX_BATCH = 1000
MAX_FAULTS = 1000


@dataclass(frozen=True, slots=True)
class Intake:
    """One request that may spend: who asks, and under which idempotency key."""

    who: Caller
    path: str
    key: str | None
    digest: str
    request_id: str
    hold: Hold
    """What is held of its body."""
    is_light: bool = True
    """Whether so little came that nobody is held up by what is made of it."""


async def read(request: Request, who: Caller, path: str) -> tuple[Intake, dict[str, Any]]:
    """What identifies a submission, and its body; raises BadRequest, PayloadTooLarge, RateLimited, Invalid."""
    key = headers.idempotency_key(request)
    raw = await body.read(request)
    if is_light := bulk.is_light(raw):
        content, digest = _parse(raw, key)
    else:
        await body.measure(request, raw)
        desk: Desk = request.app.state.desk
        content, digest = await desk.turn.take(who.project_id, partial(_parse, raw, key))
    return Intake(who, path, key, digest, request_id(request), request.state.hold, is_light), content


def _parse(raw: bytes, key: str | None) -> tuple[dict[str, Any], str]:
    content = body.parse(raw)
    return content, body.digest(content) if key else ""


def bare(request: Request, who: Caller, path: str) -> Intake:
    """What identifies a submission that has no body; raises BadRequest."""
    return Intake(who, path, headers.idempotency_key(request), "", request_id(request), request.state.hold)


async def work(desk: Desk, given: Intake, do: Callable[[], T]) -> T:
    """What a function gives, in a thread, and in its turn where the body is heavy; raises RateLimited, too."""
    return await (run_in_threadpool(do) if given.is_light else desk.turn.take(given.who.project_id, do))


async def work_brief(desk: Desk, given: Intake, do: Callable[[], T]) -> T:
    """The same for what is quick where the body is light, and asks nobody: a hop to a thread would cost more."""
    return do() if given.is_light else await work(desk, given, do)


async def take(
    desk: Desk,
    given: Intake,
    drafting: Awaitable[Sequence[Draft]],
    *,
    is_once: bool = False,
    action: str = audit.SUBMITTED,
) -> Accepted:
    """Draft and write an order; raises what refuses it."""
    try:
        drafts = await drafting
    except NightdeskError:
        # A replay is answered as the first time, though the same body might be refused today.
        known = await desk.read(partial(replay, order=order(given))) if given.key else None
        if known is None:
            raise
        return known
    return await desk.writer.submit(order(given, drafts, is_once=is_once, action=action))


def order(
    given: Intake, drafts: Sequence[Draft] = (), *, is_once: bool = False, action: str = audit.SUBMITTED
) -> Order:
    """What the writer is handed of a request."""
    who = given.who
    return Order(who.project_id, drafts, given.path, given.key, given.digest, is_once=is_once, by=who.by, action=action)


def one(desk: Desk, given: Intake, fields: dict[str, Any]) -> list[Draft]:
    """The draft of a body that is one job; raises Invalid."""
    return [_prepare(desk, given, fields, "")]


def many(desk: Desk, given: Intake, content: dict[str, Any]) -> list[Draft]:
    """The drafts of a batch; raises Invalid with the faults of all its items."""
    faults = [Fault(f"/{name[:64]}", "unknown field; a batch has only 'jobs'") for name in content if name != "jobs"]
    items = content.get("jobs")
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_BATCH:
        raise Invalid(*faults, Fault("/jobs", f"must be a list of 1 to {MAX_BATCH} jobs"))
    drafts: list[Draft] = []
    for number, fields in enumerate(items):
        if len(faults) >= MAX_FAULTS:
            break
        at = f"/jobs/{number}"
        if not isinstance(fields, dict):
            faults.append(Fault(at, "must be an object"))
            continue
        try:
            drafts.append(_prepare(desk, given, fields, at))
        except Invalid as error:
            faults += error.faults
    if faults:
        raise Invalid(*faults[:MAX_FAULTS])
    return drafts


def _prepare(desk: Desk, given: Intake, fields: dict[str, Any], at: str) -> Draft:
    who = given.who
    told: dict[str, Any] = {"key_id": who.key_id, "request_id": given.request_id, "at": at}
    return prepare(desk.context, fields, project_id=who.project_id, is_admin=who.is_admin, **told)
