"""A project's jobs in numbers."""

from collections import defaultdict
from functools import partial
from typing import Any

from fastapi import APIRouter, Response
from sqlmodel import Session

from api import examples, figures, view
from api.auth import Reader
from api.desk import AtDesk, Desk
from api.openapi import KEYED, Ok, answers
from worker.store import stats

router = APIRouter(tags=["operations"], default_response_class=Response)


@router.get(
    "/v1/stats",
    summary="Count the project's jobs",
    responses=answers(Ok(about="The counts.", schema=figures.Stats, example=examples.STATS), fails=KEYED),
)
async def read_stats(who: Reader, desk: AtDesk) -> Response:
    """May be some seconds old where there are very many jobs."""
    read = partial(_count, desk, who.project_id)
    return view.answer(await desk.memo.get(f"stats {who.project_id}", partial(desk.read, read), min_s=0))


def _count(desk: Desk, project_id: str, session: Session) -> dict[str, Any]:
    now = desk.context.clock()
    by_status: defaultdict[str, int] = defaultdict(int)
    by_target: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for tally in stats.tallies(session, project_id):
        by_status[tally.status] += tally.jobs
        by_target[tally.target][tally.status] = tally.jobs
    load = stats.load(session, now, project_id)
    age = None if load.oldest_queued_at is None else max(0.0, (now - load.oldest_queued_at).total_seconds())
    return {
        "object": "stats",
        "by_status": by_status,
        "by_target": by_target,
        "oldest_queued_seconds": age,
        "in_flight": load.in_flight,
        "due": load.due,
        "delivery_backlog": load.deliveries,
    }
