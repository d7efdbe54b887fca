"""The files that a job made: their bytes, whole or in part."""

import hashlib
import mimetypes
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse
from sqlmodel import Session
from starlette.concurrency import run_in_threadpool

from api import headers, ranges, view
from api.auth import Reader
from api.desk import AtDesk, Desk
from api.errors import RangeNotSatisfiable
from api.ids import JobId
from api.openapi import KEYED, Ok, answers, header
from worker.errors import Gone, NotFound

router = APIRouter(tags=["artifacts"], default_response_class=Response)

CHUNK_BYTES = 1024 * 1024
OPAQUE = "application/octet-stream"
MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]{1,80}", re.ASCII)
SHOWN = re.compile(r"image/(png|jpeg|gif|webp|avif)|(audio|video)/[a-z0-9.+-]+|text/plain", re.ASCII)
"""What a browser may show in its window; everything else it saves, because it may hold script."""

CSP = "default-src 'none'; media-src 'self'; img-src 'self'; style-src 'unsafe-inline'; sandbox"


@dataclass(frozen=True, slots=True)
class File:
    """One artifact as the store has it."""

    key: str
    size: int
    media_type: str
    name: str

    @property
    def disposition(self) -> str:
        """Whether a browser may show it."""
        return "inline" if SHOWN.fullmatch(self.media_type) else "attachment"

    @property
    def etag(self) -> str:
        """The bytes of a key never change."""
        return f'"{hashlib.blake2b(f"{self.key}:{self.size}".encode(), digest_size=16).hexdigest()}"'


@router.get(
    "/v1/jobs/{job_id}/artifacts/{number}",
    summary="Read an artifact",
    responses=answers(
        Ok(
            about="The bytes.",
            media_type="image/png",
            example="(bytes)",
            headers={"ETag": "Never changes.", "Accept-Ranges": "`bytes`", "Content-Disposition": "A file name."},
        ),
        Ok(
            about="The part that `Range` asks for.",
            status=206,
            media_type="image/png",
            example="(bytes)",
            headers={"Content-Range": "Which bytes of how many."},
        ),
        Ok(about="The client has it already.", status=304),
        fails=(*KEYED, NotFound, Gone, RangeNotSatisfiable),
    ),
    openapi_extra={"parameters": [header("Range", "One range of bytes.", "bytes=0-1023")]},
)
async def read_artifact(
    request: Request,
    who: Reader,
    job_id: JobId,
    desk: AtDesk,
    number: Annotated[str, Path(description="The artifact's `id` in the job.", examples=["0"])],
) -> Response:
    """As the job made it."""
    file = await desk.read(partial(_find, desk, job_id, who.project_id, number))
    told = {
        "ETag": file.etag,
        "Cache-Control": view.REVALIDATE,
        "Accept-Ranges": "bytes",
        "Content-Security-Policy": CSP,
        "Content-Disposition": f'{file.disposition}; filename="{file.name}"',
    }
    if headers.matches(request, file.etag):
        return Response(status_code=304, headers=told)
    is_same = request.headers.get("if-range") in {None, file.etag}
    part = ranges.parse(request.headers.get("range"), file.size) if is_same else None
    start, end = part or (0, file.size)
    told["Content-Length"] = str(end - start)
    if part:
        told["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
    status = 206 if part else 200
    if request.scope["state"]["is_head"]:
        return Response(status_code=status, headers=told, media_type=file.media_type)
    # The first bytes are read before the answer begins, while it can still become an error.
    first = await _read(desk, file, start, end)
    content = _rest(desk, file, first, start, end)
    return StreamingResponse(content, status_code=status, headers=told, media_type=file.media_type)


def _find(desk: Desk, job_id: str, project_id: str, number: str, session: Session) -> File:
    seen = view.load(session, job_id, project_id, desk.context.clock())
    if seen.is_past_retention:
        raise Gone("the job's artifacts are past their retention")
    outcome: dict[str, Any] = seen.outcome or {}
    for artifact in outcome.get("artifacts") or ():
        if str(artifact["id"]) == number:
            media_type = str(artifact["mime_type"]).lower()
            media_type = media_type if MEDIA_TYPE.fullmatch(media_type) else OPAQUE
            name = f"{job_id}-{number}{mimetypes.guess_extension(media_type) or '.bin'}"
            return File(f"{outcome['folder']}/{number}", int(artifact["size"]), media_type, name)
    raise NotFound(f"no such artifact; the job is {seen.job.status}")


async def _read(desk: Desk, file: File, start: int, end: int) -> bytes:
    if start >= end:
        return b""
    return await run_in_threadpool(desk.context.artifacts.get, file.key, start, min(end, start + CHUNK_BYTES))


async def _rest(desk: Desk, file: File, chunk: bytes, start: int, end: int) -> AsyncIterator[bytes]:
    while chunk:
        yield chunk
        start += len(chunk)
        chunk = await _read(desk, file, start, end)
