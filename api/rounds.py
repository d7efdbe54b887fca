"""Reads the next events of jobs for all streams that ask at the same time: one look at the database for all of them.

A thousand streams of fifty jobs that all move would be a thousand looks else. Who asks while a look is under way waits
for the next one: what it asks for may have come after.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson
from sqlmodel import Session
from starlette.concurrency import run_in_threadpool

from worker.context import Context
from worker.document import stamp
from worker.models import Event
from worker.states import EVENTS, TERMINAL, Status
from worker.store import events
from worker.store.events import Glance

EVENTS_AT_ONCE = 500
JOBS_AT_ONCE = 100
STARTED = EVENTS[Status.IN_PROGRESS]

Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Seen:
    """The next events of a job on the wire, and how it stands after them."""

    frames: Sequence[bytes]
    last: int
    """The sequence number of the last of them."""
    has_started: bool
    """Whether they tell the start of an interaction."""
    has_more: bool
    is_over: bool
    """None will follow: the job has ended and they are its last, or it is deleted."""
    runs: str | None
    """The interaction that runs, unless there are more events to be told first."""


class Rounds:
    """All streams of a process; to be used on its event loop."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._asked: dict[Key, asyncio.Future[Seen]] = {}
        self._round: asyncio.Task[None] | None = None

    async def next(self, job_id: str, after: int) -> Seen:
        """The events after this one; raises Unavailable."""
        answer = self._asked.get((job_id, after))
        if answer is None:
            answer = self._asked[job_id, after] = asyncio.get_running_loop().create_future()
            # Whoever asked may have gone when it fails.
            answer.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._round = self._round or asyncio.create_task(self._run())
        return await asyncio.shield(answer)

    async def _run(self) -> None:
        while self._asked:
            asked = dict(islice(self._asked.items(), JOBS_AT_ONCE))
            for key in asked:
                del self._asked[key]
            try:
                found = await run_in_threadpool(self._read, list(asked))
            except Exception as error:  # noqa: BLE001 - raised where it was asked for
                for answer in asked.values():
                    answer.set_exception(error)
            else:
                for answer, seen in zip(asked.values(), found, strict=True):
                    answer.set_result(seen)
        self._round = None

    def _read(self, keys: Sequence[Key]) -> list[Seen]:
        with self._context.database.read() as session:
            glances = events.glances(session, {job_id for job_id, _ in keys})
            return [_next(session, glances.get(job_id), job_id, after) for job_id, after in keys]


def _next(session: Session, glance: Glance | None, job_id: str, after: int) -> Seen:
    if glance is None:
        return Seen((), after, has_started=False, has_more=False, is_over=True, runs=None)
    found = events.of_job(session, job_id, after=after, limit=EVENTS_AT_ONCE) if glance.sequence > after else []
    last = found[-1].sequence if found else after
    # It may have moved on between the two queries.
    has_more = bool(found) and last != glance.sequence
    return Seen(
        frames=[frame(event) for event in found],
        last=last,
        has_started=any(event.type == STARTED for event in found),
        has_more=has_more,
        is_over=glance.status in TERMINAL and last >= glance.sequence,
        runs=glance.interaction_id if glance.status == Status.IN_PROGRESS and last >= glance.sequence else None,
    )


def render(event: Event) -> dict[str, Any]:
    """An event as its owner sees it."""
    return {
        "id": event.id,
        "object": "event",
        "type": event.type,
        "job_id": event.job_id,
        "sequence": event.sequence,
        "created_at": stamp(event.created_at),
        "data": event.data,
    }


def frame(event: Event) -> bytes:
    """An event on the wire; its id is what a client resumes after."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.sequence, event.type.encode(), orjson.dumps(render(event)))
