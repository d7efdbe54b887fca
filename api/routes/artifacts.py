"""The files that a job made: their bytes, whole or in part."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from sqlmodel import Session

from api import headers, mediatypes, ranges, view
from api.auth import Reader
from api.desk import AtDesk, Desk
from api.errors import RangeNotSatisfiable
from api.ids import JobId
from api.openapi import KEYED, Ok, answers, header
from api.threads import run_in_threadpool
from worker.errors import Fault, Gone, Invalid, NotFound

router = APIRouter(tags=["artifacts"], default_response_class=Response)

CHUNK_BYTES = 1024 * 1024
CSP = "default-src 'none'; media-src 'self'; img-src 'self'; style-src 'unsafe-inline'; sandbox"


@dataclass(frozen=True, slots=True)
class File:
    """One artifact as the store has it, and what is put before it."""

    key: str
    stored: int
    media_type: str
    name: str
    head: bytes = b""

    @property
    def size(self) -> int:
        """Of the whole."""
        return len(self.head) + self.stored

    @property
    def etag(self) -> str:
        """The bytes of a key never change."""
        told = f"{self.key}:{self.size}".encode() + self.head
        return f'"{hashlib.blake2b(told, digest_size=16).hexdigest()}"'


@router.get(
    "/v1/jobs/{job_id}/artifacts/{number}",
    summary="Read an artifact",
    responses=answers(
        Ok(
            about="The bytes.",
            media_type="image/png",
            example="(bytes)",
            others={"audio/wav": "(bytes)", "video/mp4": "(bytes)", "application/pdf": "(bytes)"},
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
        fails=(*KEYED, NotFound, Gone, RangeNotSatisfiable, Invalid),
    ),
    openapi_extra={
        "parameters": [
            header("Range", "One range of bytes.", "bytes=0-1023"),
            header("If-Range", "The range only if the artifact still has this ETag, else the whole.", '"3f2a"'),
        ]
    },
)
async def read_artifact(
    request: Request,
    who: Reader,
    job_id: JobId,
    desk: AtDesk,
    *,
    number: Annotated[str, Path(description="The artifact's `id` in the job.", examples=["0"])],
    as_format: Annotated[
        Literal["wav"] | None,
        Query(alias="format", description="`wav` makes raw sound (`audio/l16`, as speech models give it) playable."),
    ] = None,
) -> Response:
    """As the job made it: images, speech, music, video and documents, each with its own type."""
    file = await desk.read(partial(_find, desk, job_id, who.project_id, number))
    file = _playable(file) if as_format else file
    told = {
        "ETag": file.etag,
        "Cache-Control": view.REVALIDATE,
        "Accept-Ranges": "bytes",
        "Content-Security-Policy": CSP,
        "Content-Disposition": f'{mediatypes.disposition(file.media_type)}; filename="{file.name}"',
    }
    if headers.matches(request, file.etag):
        return Response(status_code=304, headers=told)
    # Ranges are for GET alone (RFC 9110 14.2).
    is_head = request.scope["state"]["is_head"]
    is_same = not is_head and request.headers.get("if-range") in {None, file.etag}
    part = ranges.parse(request.headers.get("range"), file.size) if is_same else None
    start, end = part or (0, file.size)
    told["Content-Length"] = str(end - start)
    if part:
        told["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
    status = 206 if part else 200
    if is_head:
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
            media_type = mediatypes.clean(str(artifact["mime_type"]))
            name = f"{job_id}-{number}{mediatypes.extension(media_type)}"
            return File(f"{outcome['folder']}/{number}", int(artifact["size"]), media_type, name)
    raise NotFound(f"no such artifact; the job is {seen.job.status}")


def _playable(file: File) -> File:
    head = mediatypes.wav_header(file.media_type, file.stored)
    if head is None:
        raise Invalid(Fault("/format", f"only raw sound ({mediatypes.RAW}) can be given as wav"))
    return replace(file, media_type="audio/wav", name=f"{file.name.removesuffix('.pcm')}.wav", head=head)


async def _read(desk: Desk, file: File, start: int, end: int) -> bytes:
    if start >= end:
        return b""
    if start < len(file.head):
        return file.head[start:end]
    before = len(file.head)
    stop = min(end, start + CHUNK_BYTES)
    return await run_in_threadpool(desk.context.artifacts.get, file.key, start - before, stop - before)


async def _rest(desk: Desk, file: File, chunk: bytes, start: int, end: int) -> AsyncIterator[bytes]:
    while chunk:
        yield chunk
        start += len(chunk)
        chunk = await _read(desk, file, start, end)
