"""The Files API as far as uploads need it: resumable upload, get, list, delete. Keeps what a file is, not its bytes.

A video is `PROCESSING` for a while; a file is forgotten after 48 hours of the simulator's clock.
"""

from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from secrets import token_hex
from typing import Any

import orjson
from aiohttp import web

from worker.dev.simulator import media
from worker.dev.simulator.failing import fail
from worker.dev.simulator.faults import Subject
from worker.dev.simulator.machine import Machine
from worker.dev.simulator.refusal import Refusal
from worker.dev.simulator.view import timestamp

_KEPT_S = 48 * 3600
_PROCESSING_S = 2.0
_MOST = 10_000
_GRANULARITY_B = 256 * 1024
_MOST_B = 2 * 1024**3


@dataclass(slots=True)
class Upload:
    """An upload under way."""

    mime_type: str
    display_name: str | None
    size_b: int = 0
    digest: Any = field(default_factory=sha256)


@dataclass(frozen=True, slots=True)
class File:
    """A file that exists; times are of the simulator's clock."""

    name: str
    uri: str
    made: Upload
    created_s: float
    ready_s: float

    @property
    def end_s(self) -> float:
        """When it is forgotten."""
        return self.created_s + _KEPT_S

    def as_json(self, now: float) -> dict[str, Any]:
        """As the API answers it."""
        return {
            "name": f"files/{self.name}",
            "displayName": self.made.display_name,
            "mimeType": self.made.mime_type,
            "sizeBytes": str(self.made.size_b),
            "createTime": timestamp(self.created_s),
            "updateTime": timestamp(self.created_s),
            "expirationTime": timestamp(self.end_s),
            "sha256Hash": self.made.digest.hexdigest(),
            "uri": self.uri,
            "state": "ACTIVE" if now >= self.ready_s else "PROCESSING",
            "source": "UPLOADED",
        }


@dataclass(slots=True)
class Shelf:
    """The uploads under way and the files that exist, by name."""

    uploads: dict[str, Upload] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)


SHELF = web.AppKey("shelf", Shelf)


async def upload(machine: Machine, request: web.Request) -> web.StreamResponse:
    """`POST /upload/{v}/files`: begins an upload, or takes bytes of one that has begun."""
    act = partial(_take if "upload_id" in request.query else _begin, machine, request)
    rule = machine.strike("upload", Subject(words=request.headers.get("X-Goog-Upload-Command", "")))
    return await act() if rule is None else await fail(request, rule, act)


async def get(machine: Machine, request: web.Request) -> web.StreamResponse:
    """`GET /{v}/files/{name}`."""
    return _answer(_found(machine, request))


async def download(machine: Machine, request: web.Request) -> web.StreamResponse:
    """`GET /{v}/files/{name}:download?alt=media`: of files that a run made; uploaded ones are not given back."""
    made = media.made(request.match_info["name"], machine.options.seed)
    if made is None:
        raise Refusal(400, "Only generated files can be downloaded.", shape="platform")
    mime_type, data = made
    return web.Response(body=data, content_type=mime_type)


async def listed(machine: Machine, request: web.Request) -> web.StreamResponse:
    """`GET /{v}/files`."""
    now = machine.store.now()
    return _answer({"files": [file.as_json(now) for file in request.app[SHELF].files.values() if now < file.end_s]})


async def delete(machine: Machine, request: web.Request) -> web.StreamResponse:
    """`DELETE /{v}/files/{name}`."""
    _found(machine, request)
    del request.app[SHELF].files[request.match_info["name"]]
    return _answer({})


async def _begin(_: Machine, request: web.Request) -> web.StreamResponse:
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


async def _take(machine: Machine, request: web.Request) -> web.StreamResponse:
    shelf, upload_id = request.app[SHELF], request.query["upload_id"]
    command = request.headers.get("X-Goog-Upload-Command", "")
    under_way = shelf.uploads.get(upload_id)
    if under_way is None:
        raise Refusal(404, "The upload does not exist.", shape="platform")
    if command == "cancel":
        del shelf.uploads[upload_id]
        return _answer({}, {"X-Goog-Upload-Status": "cancelled"})
    data = await request.read()
    _check(request, under_way, len(data), is_last="finalize" in command)
    under_way.digest.update(data)
    under_way.size_b += len(data)
    if "finalize" not in command:
        return _answer({}, {"X-Goog-Upload-Status": "active"})
    del shelf.uploads[upload_id]
    now = machine.store.now()
    uri = f"{request.url.origin()}/{request.match_info['version']}/files/{upload_id}"
    is_slow = under_way.mime_type.startswith("video/")
    ready_s = now + (_PROCESSING_S / machine.options.speed if is_slow else 0)
    shelf.files[upload_id] = File(upload_id, uri, under_way, now, ready_s)
    return _answer({"file": shelf.files[upload_id].as_json(now)}, {"X-Goog-Upload-Status": "final"})


def _check(request: web.Request, under_way: Upload, size_b: int, *, is_last: bool) -> None:
    if request.headers.get("X-Goog-Upload-Offset") != str(under_way.size_b):
        raise Refusal(400, "The offset is not where the upload stands.", shape="platform")
    if size_b % _GRANULARITY_B and not is_last:
        raise Refusal(400, f"A chunk must be a multiple of {_GRANULARITY_B} bytes.", shape="platform")
    if under_way.size_b + size_b > _MOST_B:
        raise Refusal(400, "The file is too large.", shape="platform")


def _found(machine: Machine, request: web.Request) -> dict[str, Any]:
    found, now = request.app[SHELF].files.get(request.match_info["name"]), machine.store.now()
    if found is None or now >= found.end_s:
        raise Refusal(403, "You do not have permission to access the File or it may not exist.", shape="platform")
    return found.as_json(now)


def _answer(data: dict[str, Any], headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(data), content_type="application/json", headers=headers)
