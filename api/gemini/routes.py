"""The calls of the Interactions API: create, get, cancel, delete."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from sqlmodel import Session

from api import submission
from api.auth import Caller
from api.desk import AtDesk, Desk
from api.gemini import act, hold, making, manners, manual, media, resource, score, stream, wish
from api.gemini.act import Act
from api.gemini.guard import Author, Reader
from api.gemini.media import Part
from api.gemini.names import Name, Named
from api.gemini.owed import Account
from api.gemini.wish import Wish
from api.stream import MEDIA_TYPE, EventStream
from api.threads import run_in_threadpool
from worker.errors import Conflict, NotFound
from worker.flow import cancel, remove
from worker.states import TERMINAL

VERSIONS = ("v1", "v1beta")
CANCEL_WAIT_S = 5.0
"""How long a cancel waits for its end, before it says what the upstream would."""


async def _version(
    version: Annotated[str, Path(description="`v1` or `v1beta`: both are the same here.", examples=["v1"])],
) -> None:
    if version not in VERSIONS:
        raise NotFound(manners.ELSEWHERE)


async def _account(desk: AtDesk) -> AsyncIterator[Account]:
    """What a create owes: settled when its answer is out, owed to whoever asks again where it never went out."""
    account = Account()
    try:
        yield account
    finally:
        if account.debt is not None and account.is_answered:
            desk.owed.settle(account.debt)
        else:
            await _give_up(desk, account)


async def _give_up(desk: Desk, account: Account) -> None:
    if account.debt is not None:
        debt, account.debt = account.debt, None
        await desk.owed.give_up(debt)


router = APIRouter(
    prefix="/gemini/{version}/interactions",
    tags=["gemini"],
    default_response_class=Response,
    dependencies=[Depends(_version)],
)


@router.post("", summary="Create an interaction", responses=manual.CREATE, openapi_extra=manual.CREATE_BODY)
async def create_interaction(
    request: Request, who: Author, desk: AtDesk, account: Annotated[Account, Depends(_account)]
) -> Response:
    """Without `background` the answer comes when the job has ended; what a client sends again is not bought again."""
    wished, name = await _made(request, who, desk, account)
    if wished.is_streamed:
        return EventStream(_heard(stream.follow(desk, name, who, score.START), account), desk.streams.send_s)
    if wished.is_background:
        answer = await _shown(desk, name, who.project_id, is_fresh=True)
    else:
        answer = await _held(desk, request, name, who, account)
    if isinstance(answer, StreamingResponse):
        answer.body_iterator = _to_the_end(answer.body_iterator, account)
    else:
        account.is_answered = answer.status_code < 500
    return answer


async def _made(request: Request, who: Caller, desk: Desk, account: Account) -> tuple[Wish, Name]:
    """What was wished for, without what was sent, and what came of it: nothing of the body is kept any longer."""
    given, content = await submission.read(request, who, making.PATH)
    given, wished = await submission.work_brief(
        desk, given, lambda: (making.intake(given, content), wish.read(content, desk.context.policy))
    )
    if wished.is_streamed or not wished.is_background:
        desk.streams.places.check(who.project_id)
    name = await making.make(desk, given, wished, account)
    given.hold.end()
    return replace(wished, fields={}), name


async def _held(desk: Desk, request: Request, name: Name, who: Caller, account: Account) -> Response:
    within_s = desk.context.settings.hold_s
    with desk.streams.places.place(who.project_id):
        seen = await hold.until_ended(desk, request, name, who, within_s)
    if seen is None:
        # Before the answer is out: the same create may come again at once.
        await _give_up(desk, account)
        message = f"the interaction {name} is still in progress after {within_s:g} seconds: get it, or ask once more"
        return manners.error(504, "deadline_exceeded", message)
    refused = hold.refusal(seen)
    return refused or await _sent(desk, await run_in_threadpool(_pieces, seen, is_fresh=True))


@router.get("/{interaction_id}", summary="Read an interaction, or stream it", responses=manual.GET)
async def read_interaction(
    request: Request,
    who: Reader,
    interaction_id: Named,
    desk: AtDesk,
    *,
    stream_it: Annotated[bool, Query(alias="stream", description="As events, from the beginning.")] = False,
    last_event_id: Annotated[str | None, Query(description="With `stream`: go on after this event.")] = None,
    include_input: Annotated[bool, Query(description="Also the `input` of its create.")] = False,
) -> Response:
    """Asked as often as you like: no answer costs a request upstream."""
    if not stream_it:
        return await _shown(desk, interaction_id, who.project_id, with_input=include_input)
    after = score.place(last_event_id)
    await desk.read(partial(act.glance, name=interaction_id, project_id=who.project_id))
    desk.streams.places.check(who.project_id)
    if request.scope["state"]["is_head"]:
        return Response(media_type=MEDIA_TYPE)
    return EventStream(stream.follow(desk, interaction_id, who, after), desk.streams.send_s)


@router.post("/{interaction_id}/cancel", summary="Cancel an interaction", responses=manual.CANCEL)
async def cancel_interaction(who: Author, interaction_id: Named, desk: AtDesk) -> Response:
    """Not yet sent: cancelled at once. Running: cancelled upstream; if it finishes before, the result stands."""
    seen = await desk.read(partial(act.glance, name=interaction_id, project_id=who.project_id))
    _check_present(seen)
    await run_in_threadpool(cancel.request, desk.context, who.project_id, interaction_id.job_id, who.by)
    seen = await hold.until_over(desk, interaction_id, who, CANCEL_WAIT_S)
    return await _sent(desk, await run_in_threadpool(_pieces, seen, is_cancelled=seen.job.status not in TERMINAL))


@router.delete("/{interaction_id}", summary="Delete an interaction", responses=manual.DELETE)
async def delete_interaction(who: Author, interaction_id: Named, desk: AtDesk) -> Response:
    """The job with all its turns, its artifacts, and what the upstream keeps of it."""
    seen = await desk.read(partial(act.glance, name=interaction_id, project_id=who.project_id))
    _check_present(seen)
    await run_in_threadpool(remove.job, desk.context, who.project_id, interaction_id.job_id, who.by)
    return Response(b"{}", media_type=manners.JSON)


def _check_present(seen: Act) -> None:
    if not seen.is_present:
        raise Conflict(f"the interaction {seen.name} has ended and was gone on from")


async def _shown(
    desk: Desk, name: Name, project_id: str, *, is_fresh: bool = False, with_input: bool = False
) -> Response:
    def read(session: Session) -> list[bytes | Part]:
        seen = act.load(session, name, project_id, desk.context.clock(), with_input=with_input)
        return _pieces(seen, is_fresh=is_fresh, with_input=with_input)

    return await _sent(desk, await desk.read(read))


def _pieces(
    seen: Act, *, is_fresh: bool = False, with_input: bool = False, is_cancelled: bool = False
) -> list[bytes | Part]:
    media.mark(seen)
    body = resource.render(seen, is_fresh=is_fresh, with_input=with_input)
    return media.pieces({**body, "status": "cancelled"} if is_cancelled else body)


async def _sent(desk: Desk, found: list[bytes | Part]) -> Response:
    """A body, with its media read while it is sent."""
    if len(found) == 1 and isinstance(found[0], bytes):
        return Response(found[0], media_type=manners.JSON)
    told = {"Content-Length": str(media.length(found))}
    chunks = media.sent(found, desk.context)
    # The text and the first bytes are read before the answer begins, while it can still become an error.
    begun = [await anext(chunks), await anext(chunks)]
    return StreamingResponse(_rest(begun, chunks), headers=told, media_type=manners.JSON)


async def _rest(begun: list[bytes], chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in begun:
        yield chunk
    async for chunk in chunks:
        yield chunk


async def _to_the_end(chunks: AsyncIterable[Any], account: Account) -> AsyncIterator[Any]:
    async for chunk in chunks:
        yield chunk
    account.is_answered = True


async def _heard(events: AsyncGenerator[bytes], account: Account) -> AsyncGenerator[bytes]:
    """The same events; with the first of them the client has the id and can come back."""
    async with aclosing(events):
        async for chunk in events:
            yield chunk
            account.is_answered = True
