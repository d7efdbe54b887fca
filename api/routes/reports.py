"""A job's output as a document to read."""

from functools import partial
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from sqlmodel import Session

from api import headers, report, view
from api.auth import Reader
from api.desk import AtDesk, Desk
from api.ids import JobId
from api.openapi import KEYED, Ok, answers
from worker.errors import Conflict, Gone, NotFound

router = APIRouter(tags=["jobs"], default_response_class=Response)

EXAMPLE = "# Heat pumps in old buildings\n\nField studies find seasonal factors near 3.1.[^1]\n\n[^1]: [Field study](https://example.com/heat-pumps)\n"


@router.get(
    "/v1/jobs/{job_id}/report",
    summary="Read a job's output as Markdown or HTML",
    responses=answers(
        Ok(
            about="The output, citations as footnotes; HTML with `Accept: text/html`.",
            media_type=report.MARKDOWN,
            example=EXAMPLE,
            others={report.HTML: "<!doctype html>…"},
        ),
        fails=(*KEYED, NotFound, Conflict, Gone),
    ),
)
async def read_report(request: Request, who: Reader, job_id: JobId, desk: AtDesk) -> Response:
    """The HTML is sanitised: neither script nor foreign images survive."""
    wanted = headers.preferred(request, [report.MARKDOWN, report.HTML])
    text = await desk.read(partial(_write, desk, job_id, who.project_id, wanted))
    told = {"Cache-Control": view.REVALIDATE, "Vary": "Accept"}
    if wanted == report.HTML:
        told["Content-Security-Policy"] = report.CSP
    else:
        told["Content-Disposition"] = f'inline; filename="{quote(job_id)}.md"'
    return Response(text, headers=told, media_type=wanted)


def _write(desk: Desk, job_id: str, project_id: str, wanted: str, session: Session) -> str:
    seen = view.load(session, job_id, project_id, desk.context.clock())
    if seen.is_past_retention:
        raise Gone("the job's result is past its retention")
    found = report.of(seen.outcome or {})
    if found.is_empty:
        raise Conflict(f"the job is {seen.job.status}: it has no output")
    return report.html(found, job_id) if wanted == report.HTML else report.markdown(found)
