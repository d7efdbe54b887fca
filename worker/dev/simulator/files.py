"""The Files API as far as uploads need it: resumable upload, get, list, delete. Keeps what a file is, not its bytes."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from secrets import token_hex
from typing import Any

import orjson
from aiohttp import web

from worker.dev.simulator.machine import Machine
from worker.dev.simulator.refusal import Refusal
from worker.dev.simulator.view import timestamp

_KEPT = timedelta(hours=48)
_MOST = 10_000


@dataclass(slots=True)
class Upload:
    """An upload under way."""

    mime_type: str
    display_name: str | None
    size_b: int = 0
    digest: Any = field(default_factory=sha256)


@dataclass(slots=True)
class Shelf:
    """The uploads under way and the files that exist, by name."""

    uploads: dict[str, Upload] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)


SHELF = web.AppKey("shelf", Shelf)


async def upload(_: Machine, request: web.Request) -> web.StreamResponse:
    """`POST /upload/{v}/files`: begins an upload, or takes bytes of one that has begun."""
    return await (_take(request) if "upload_id" in request.query else _begin(request))


async def get(_: Machine, request: web.Request) -> web.StreamResponse:
    """`GET /{v}/files/{name}`."""
    return _answer(_found(request))


async def listed(_: Machine, request: web.Request) -> web.StreamResponse:
    """`GET /{v}/files`."""
    return _answer({"files": list(request.app[SHELF].files.values())})


async def delete(_: Machine, request: web.Request) -> web.StreamResponse:
    """`DELETE /{v}/files/{name}`."""
    _found(request)
    del request.app[SHELF].files[request.match_info["name"]]
    return _answer({})


async def _begin(request: web.Request) -> web.StreamResponse:
    if request.headers.get("X-Goog-Upload-Command") != "start":
        raise Refusal(400, "Only resumable uploads are supported.", shape="platform")
    raw = await request.read()
    about = (orjson.loads(raw) if raw else {}).get("file") or {}
    shelf = request.app[SHELF]
    if len(shelf.uploads) + len(shelf.files) >= _MOST:
        raise Refusal(429, "Too many files.", shape="platform")
    upload_id = token_hex(12)
    mime_type = (
        request.headers.get("X-Goog-Upload-Header-Content-Type") or about.get("mimeType") or about.get("mime_type")
    )
    name = about.get("displayName") or about.get("display_name") or request.headers.get("X-Goog-Upload-File-Name")
    shelf.uploads[upload_id] = Upload(mime_type or "application/octet-stream", name)
    url = request.url.with_query(upload_id=upload_id)
    return _answer({}, {"X-Goog-Upload-URL": str(url), "X-Goog-Upload-Status": "active"})


async def _take(request: web.Request) -> web.StreamResponse:
    shelf, upload_id = request.app[SHELF], request.query["upload_id"]
    under_way = shelf.uploads.get(upload_id)
    if under_way is None:
        raise Refusal(404, "The upload does not exist.", shape="platform")
    data = await request.read()
    under_way.digest.update(data)
    under_way.size_b += len(data)
    if "finalize" not in request.headers.get("X-Goog-Upload-Command", ""):
        return _answer({}, {"X-Goog-Upload-Status": "active"})
    del shelf.uploads[upload_id]
    made = _file(upload_id, under_way, str(request.url.origin()), request.match_info["version"])
    shelf.files[upload_id] = made
    return _answer({"file": made}, {"X-Goog-Upload-Status": "final"})


def _found(request: web.Request) -> dict[str, Any]:
    found = request.app[SHELF].files.get(request.match_info["name"])
    if found is None:
        raise Refusal(403, "You do not have permission to access the File or it may not exist.", shape="platform")
    return found


def _file(name: str, made: Upload, origin: str, version: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "name": f"files/{name}",
        "displayName": made.display_name,
        "mimeType": made.mime_type,
        "sizeBytes": str(made.size_b),
        "createTime": timestamp(now.timestamp()),
        "updateTime": timestamp(now.timestamp()),
        "expirationTime": timestamp((now + _KEPT).timestamp()),
        "sha256Hash": made.digest.hexdigest(),
        "uri": f"{origin}/{version}/files/{name}",
        "state": "ACTIVE",
        "source": "UPLOADED",
    }


def _answer(data: dict[str, Any], headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(data), content_type="application/json", headers=headers)
