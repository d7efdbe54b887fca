"""Uploading a file for use in `input`: passed on to the Gemini Files API as it comes in."""

import asyncio
from functools import partial

from fastapi import APIRouter, Request, Response

from api import examples, schemas, view
from api.auth import Author, Caller
from api.desk import AtDesk, Desk
from api.errors import PayloadTooLarge
from api.form import FIELD, FileForm
from api.openapi import KEYED, Ok, answers
from api.threads import run_in_threadpool
from worker.document import stamp
from worker.errors import BadRequest, Invalid
from worker.flow import upload
from worker.flow.upload import Upload
from worker.gemini.files import PIECE_BYTES, Stored
from worker.telemetry import step

router = APIRouter(tags=["files"], default_response_class=Response)

PATH = "/v1/files"
IDLE_S = 60.0
"""How long a client may send nothing."""
FORM = {
    "type": "object",
    "required": [FIELD],
    "properties": {
        FIELD: {"type": "string", "contentMediaType": "application/octet-stream", "description": "The file's bytes."}
    },
    "additionalProperties": False,
}


@router.post(
    PATH,
    status_code=201,
    summary="Upload a file",
    responses=answers(
        Ok(about="The API keeps it, for two days.", status=201, schema=schemas.File, example=examples.FILE),
        fails=(*KEYED, BadRequest, PayloadTooLarge, Invalid),
    ),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": FORM, "example": {FIELD: "…the bytes of report.pdf…"}}},
        }
    },
)
async def upload_file(request: Request, who: Author, desk: AtDesk) -> Response:
    """`curl -F 'file=@report.pdf;type=application/pdf'`. Name the answer's `uri` in `input`; only this project may."""
    settings = desk.context.settings
    desk.uploads.check(who.project_id)
    with desk.uploads.place(who.project_id), step("file.upload") as line:
        try:
            async with asyncio.timeout(settings.upload_timeout_s):
                stored = await _pass_on(request, desk, who)
        except TimeoutError:
            raise BadRequest(f"the file was not here within {settings.upload_timeout_s:g} seconds") from None
        line.update(mime_type=stored.mime_type, size_bytes=stored.size)
    return view.answer(_shown(stored), 201)


async def _pass_on(request: Request, desk: Desk, who: Caller) -> Stored:
    form = FileForm(request, max_bytes=desk.context.settings.max_file_bytes, idle_s=IDLE_S)
    under_way: Upload | None = None
    try:
        async for piece, is_last in form.pieces(PIECE_BYTES):
            under_way = under_way or Upload(desk.context, form.mime_type, form.display_name)
            if is_last:
                stored = await under_way.finish(piece)
                return await run_in_threadpool(partial(upload.keep, desk.context, who.project_id, stored, who.by))
            await under_way.take(piece)
    except BaseException:
        if under_way is not None:
            under_way.give_up()
        raise
    raise AssertionError("the last piece is always given out")


def _shown(stored: Stored) -> dict[str, object]:
    return {
        "object": "file",
        "name": stored.name,
        "uri": stored.uri,
        "mime_type": stored.mime_type,
        "size": stored.size,
        "expires_at": stamp(stored.expires_at),
    }
