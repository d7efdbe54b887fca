"""A job's output as a document to read."""

from base64 import b64encode
from functools import partial
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from sqlmodel import Session

from api import headers, mediatypes, page, report, view
from api.auth import Reader
from api.desk import AtDesk, Desk
from api.ids import JobId
from api.openapi import KEYED, Ok, answers
from api.report import Report
from api.threads import run_in_threadpool
from worker.errors import ArtifactStoreError, Conflict, Gone, NotFound

router = APIRouter(tags=["jobs"], default_response_class=Response)

PICTURES_MAX_BYTES = 16 * 1024 * 1024
"""How many bytes of pictures a page carries in itself; the others are linked."""

EXAMPLE = """# Heat pumps in old buildings

Field studies find seasonal factors near 3.1.[^1]

![image](/v1/jobs/job_01kqzv7m3e8f4x2c9t5b6n0hyd/artifacts/0)

[^1]: [Field study](https://example.com/heat-pumps)
"""
HTML_EXAMPLE = """<!doctype html>
<html><head><meta charset="utf-8"><title>Heat pumps in old buildings</title>…</head>
<body>
<h1>Heat pumps in old buildings</h1>
<p>Field studies find seasonal factors near 3.1.<sup><a href="#source-1">[1]</a></sup></p>
<p><img src="data:image/png;base64,iVBORw0KGgo…" alt="image"></p>
<section><h2>Footnotes</h2><ol>
<li id="source-1"><a href="https://example.com/heat-pumps">Field study</a></li>
</ol></section>
</body></html>
"""


@router.get(
    "/v1/jobs/{job_id}/report",
    summary="Read a job's output as Markdown or HTML",
    responses=answers(
        Ok(
            about="The output, citations as footnotes; HTML with `Accept: text/html`.",
            media_type=report.MARKDOWN,
            example=EXAMPLE,
            others={report.HTML: HTML_EXAMPLE},
        ),
        fails=(*KEYED, NotFound, Conflict, Gone),
    ),
)
async def read_report(request: Request, who: Reader, job_id: JobId, desk: AtDesk) -> Response:
    """The HTML is sanitised, and carries the job's own pictures in itself: it can be saved, sent and printed."""
    wanted = headers.preferred(request, [report.MARKDOWN, report.HTML])
    found, folder = await desk.read(partial(_find, desk, job_id, who.project_id))
    told = {"Cache-Control": view.REVALIDATE, "Vary": "Accept"}
    if wanted == report.HTML:
        told["Content-Security-Policy"] = page.CSP
        text = await desk.pages.take(who.project_id, partial(_html, desk, job_id, found, folder))
    else:
        told["Content-Disposition"] = f'inline; filename="{quote(job_id)}.md"'
        text = await run_in_threadpool(report.markdown, found)
    return Response(text, headers=told, media_type=wanted)


def _find(desk: Desk, job_id: str, project_id: str, session: Session) -> tuple[Report, str]:
    seen = view.load(session, job_id, project_id, desk.context.clock())
    if seen.is_past_retention:
        raise Gone("the job's result is past its retention")
    outcome = seen.outcome or {}
    found = report.of(outcome)
    if found.is_empty:
        raise Conflict(f"the job is {seen.job.status}: it has no output")
    return found, str(outcome.get("folder") or "")


def _html(desk: Desk, job_id: str, found: Report, folder: str) -> str:
    return page.html(found, job_id, _pictures(desk, found, folder))


def _pictures(desk: Desk, found: Report, folder: str) -> dict[str, str]:
    """A browser sends no key for pictures, and what is saved has no address of its own: so they are in the page."""
    pictures, room = {}, PICTURES_MAX_BYTES
    for artifact in found.artifacts:
        media_type = mediatypes.clean(str(artifact["mime_type"]))
        is_shown = artifact["kind"] == "image" and mediatypes.disposition(media_type) == "inline"
        if not is_shown or artifact["size"] > room:
            continue
        room -= artifact["size"]
        try:
            data = desk.context.artifacts.get(f"{folder}/{artifact['id']}")
        except (ArtifactStoreError, NotFound):
            continue
        pictures[artifact["url"]] = f"data:{media_type};base64,{b64encode(data).decode()}"
    return pictures
