"""The metrics of all processes, for Prometheus."""

from functools import partial

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from api import auth, examples, exposition
from api.desk import AtDesk
from api.openapi import KEYED, Ok, answers
from worker.errors import Forbidden
from worker.store import projects, stats

router = APIRouter(tags=["operations"], default_response_class=Response)


async def _allowed(request: Request, desk: AtDesk) -> None:
    if desk.context.settings.metrics_public:
        return
    who = await auth.permitted(request, auth.ADMIN)
    project = await desk.read(partial(projects.get, project_id=who.project_id))
    if project is None or project.name != projects.DEFAULT:
        raise Forbidden(f"these numbers are of all projects: they are for admins of the project {projects.DEFAULT}")


@router.get(
    "/metrics",
    summary="Read the metrics",
    dependencies=[Depends(_allowed)],
    responses=answers(Ok(about="Prometheus text.", media_type="text/plain", example=examples.METRICS), fails=KEYED),
)
async def read_metrics(desk: AtDesk) -> Response:
    """Of all projects: needs scope `admin` in the project `default`, unless the settings make it public."""
    await run_in_threadpool(exposition.flush, desk.context)
    tallies = await desk.memo.get("tallies", partial(desk.read, stats.tallies))
    known = {name for _, name in desk.context.catalog.known}
    now = desk.context.clock()
    text = await desk.read(partial(exposition.text, tallies=tallies, known=known, now=now))
    return Response(text, headers={"Content-Type": exposition.MEDIA_TYPE})
