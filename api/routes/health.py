"""Whether the process answers, and whether the service can work. Open without a key."""

from functools import partial

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from api import errors, examples, figures, view
from api.desk import AtDesk
from api.openapi import Ok, answers
from worker.errors import Unavailable

router = APIRouter(tags=["operations"], default_response_class=Response)


@router.get(
    "/healthz",
    summary="The process answers",
    responses=answers(Ok(about="It does.", schema=figures.Health, example={"status": "ok"})),
)
async def live() -> Response:
    """Asks nobody: for restarting a process that hangs."""
    return view.answer({"status": "ok"})


@router.get(
    "/readyz",
    summary="The service can take and do work",
    responses=answers(
        Ok(
            about="It can take work; `degraded` where it may not do it now.",
            schema=figures.Readiness,
            example=examples.READY,
        ),
        fails=(Unavailable,),
    ),
)
async def ready(request: Request, desk: AtDesk) -> Response:
    """503 only when the database or its migrations fail; `checks` tells of everything else."""
    is_able, report = await desk.memo.get("readiness", partial(run_in_threadpool, desk.readiness.report), factor=0)
    if is_able:
        return view.answer(report)
    failed = ", ".join(name for name, check in report["checks"].items() if check["status"] == "failed")
    problem = errors.document(
        errors.UNAVAILABLE, f"failed: {failed}", request_id=errors.request_id(request), checks=report["checks"]
    )
    return errors.response(problem, {"Retry-After": str(errors.UNAVAILABLE_RETRY_S)})
