"""Upload: one file passed on to the Files API as it comes in, and remembered as its project's."""

import asyncio
from concurrent.futures import Future
from dataclasses import replace
from time import monotonic
from typing import TypeVar

from worker.context import Context
from worker.errors import Fault, Invalid, NightdeskError, Unavailable, UpstreamError
from worker.flow.owned import FILE_KEPT
from worker.gemini.files import FAILED, PROCESSING, Session, Stored
from worker.gemini.references import FILE
from worker.store import audit, holdings
from worker.store.audit import Actor
from worker.store.holdings import Held

T = TypeVar("T")

READY_S = 60.0
"""How long a video may take to become usable before the upload is answered all the same."""
LOOK_EVERY_S = 1.0
REFUSED = frozenset({400, 409, 413, 415, 416, 422})
"""Answers of the API that are about the file."""


class Upload:
    """One file under way. Call `take` with each piece but the last, then `finish`; or `give_up`, at any time."""

    def __init__(self, context: Context, mime_type: str, display_name: str | None) -> None:
        self._files = context.files
        self._mime_type = mime_type
        self._display_name = display_name
        self._session: Session | None = None
        self._offset = 0
        self._stored: Stored | None = None

    async def take(self, piece: bytes) -> None:
        """Pass a piece on; raises Unavailable, Invalid."""
        await _done(self._files.send(await self._begun(), self._offset, piece))
        self._offset += len(piece)

    async def finish(self, piece: bytes) -> Stored:
        """Pass the last piece on and wait until the file can be used; raises Unavailable, Invalid."""
        self._stored = await _done(self._files.finish(await self._begun(), self._offset, piece))
        give_up = monotonic() + READY_S
        while self._stored.state == PROCESSING and monotonic() < give_up:
            await asyncio.sleep(LOOK_EVERY_S)
            self._stored = await _done(self._files.get(self._stored.name))
        if self._stored.state == FAILED:
            raise Invalid(Fault("/file", "the Files API could not process it"))
        return self._stored

    def give_up(self) -> None:
        """Leave nothing behind upstream, as far as it can be reached; returns at once."""
        try:
            if self._stored is not None:
                self._files.delete(self._stored.name)
            elif self._session is not None:
                self._files.abandon(self._session)
        except UpstreamError:
            return

    async def _begun(self) -> Session:
        if self._session is None:
            self._session = await _done(self._files.begin(self._mime_type, self._display_name))
        return self._session


def keep(context: Context, project_id: str, stored: Stored, by: Actor | None = None) -> Stored:
    """Remember whose file it is, before its URI is told to anybody; gives it back with its end."""
    now = context.clock()
    expires_at = stored.expires_at or now + FILE_KEPT
    with context.database.write() as session:
        holdings.hold(session, [Held(stored.name, FILE, project_id, expires_at)], now)
        audit.note(session, by, audit.UPLOADED, project_id=project_id, subject=stored.name, now=now)
    return replace(stored, expires_at=expires_at)


async def _done(call: Future[T]) -> T:
    try:
        return await asyncio.wrap_future(call)
    except UpstreamError as error:
        raise _meaning(error) from None


def _meaning(error: UpstreamError) -> NightdeskError:
    if error.status in REFUSED:
        code = f", {error.code}" if error.code else ""
        return Invalid(Fault("/file", f"the Files API refused it (HTTP {error.status}{code})"))
    return Unavailable(f"{error}; try again")
