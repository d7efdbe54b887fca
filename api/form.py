"""The one file of a multipart/form-data body, read as it arrives: no more than one piece of it is ever held."""

import asyncio
import re
from collections.abc import AsyncIterator
from mimetypes import guess_type
from typing import TYPE_CHECKING

from fastapi import Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from api.body import refuse_encoded
from api.errors import PayloadTooLarge
from worker.errors import BadRequest, Fault, Invalid

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FIELD = "file"
AT = f"/{FIELD}"
OVERHEAD_BYTES = 64 * 1024
"""What a body may have beside its file."""
NAME_MAX = 200
PLAIN = frozenset({"", "7bit", "8bit", "binary"})

_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,127}")


class FileForm:
    """Reads a request; `mime_type` and `display_name` are known as soon as the first piece is.

    Everything wrong with the body is raised before its last piece is given out: BadRequest, Invalid, PayloadTooLarge.
    """

    def __init__(self, request: Request, *, max_bytes: int, idle_s: float) -> None:
        self.mime_type = ""
        self.display_name: str | None = None
        self._request = request
        self._max_bytes = max_bytes
        self._idle_s = idle_s
        self._size = 0
        self._data = bytearray()
        self._headers: dict[str, str] = {}
        self._name, self._value = bytearray(), bytearray()
        self._has_file = False
        self._is_over = False
        self._parser = MultipartParser(_boundary(request), self._callbacks())

    async def pieces(self, size: int) -> AsyncIterator[tuple[bytes, bool]]:
        """The file in pieces of `size` bytes, and whether each is the last, which alone may be shorter."""
        async for chunk in self._chunks():
            self._feed(chunk)
            while len(self._data) > size:
                with memoryview(self._data) as view:
                    piece = bytes(view[:size])
                del self._data[:size]
                yield piece, False
        if not self._is_over:
            raise BadRequest("the body ends before its last boundary")
        if not self._has_file:
            raise Invalid(Fault(AT, "is required"))
        if not self._size:
            raise Invalid(Fault(AT, "is empty"))
        yield bytes(self._data), True

    async def _chunks(self) -> AsyncIterator[bytes]:
        stream = self._request.stream()
        while True:
            try:
                async with asyncio.timeout(self._idle_s):
                    chunk = await anext(stream, None)
            except TimeoutError:
                raise BadRequest(f"nothing came for {self._idle_s:g} seconds") from None
            if chunk is None:
                return
            yield chunk

    def _feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise BadRequest("the body is not the multipart/form-data that its Content-Type tells") from None

    def _callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._headers.clear,
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._on_header,
            "on_headers_finished": self._on_headers,
            "on_part_data": self._on_data,
            "on_end": self._on_end,
        }

    def _on_header(self) -> None:
        name, value = self._name.decode("latin-1").strip().lower(), self._value.decode("utf-8", "replace").strip()
        self._name.clear()
        self._value.clear()
        if name in self._headers:
            raise BadRequest("a part of the body has a header twice")
        self._headers[name] = value

    def _on_headers(self) -> None:
        kind, options = parse_options_header(self._headers.get("content-disposition", "").encode())
        if kind != b"form-data" or b"name" not in options:
            raise BadRequest("a part of the body has no name")
        if options[b"name"] != FIELD.encode():
            raise Invalid(Fault("", f"the form has one field, '{FIELD}'"))
        if self._has_file:
            raise Invalid(Fault(AT, "must be one file; send several one by one"))
        if self._headers.get("content-transfer-encoding", "").lower() not in PLAIN:
            raise Invalid(Fault(AT, "must be sent as it is, without a Content-Transfer-Encoding"))
        self._has_file = True
        filename = options.get(b"filename", b"").decode("utf-8", "replace")
        self.display_name = _display_name(filename)
        self.mime_type = _mime_type(self._headers.get("content-type", ""), filename)

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._size > self._max_bytes:
            raise PayloadTooLarge(f"a file may have at most {self._max_bytes} bytes")
        self._data += memoryview(data)[start:end]

    def _on_end(self) -> None:
        self._is_over = True


def _boundary(request: Request) -> bytes:
    refuse_encoded(request)
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary", b"")
    # RFC 2046 5.1.1; the parser would take any.
    if kind != b"multipart/form-data" or not 1 <= len(boundary) <= 70 or not boundary.decode("latin-1").isprintable():
        raise BadRequest("the body must be multipart/form-data, with its boundary in Content-Type")
    return boundary


def _display_name(filename: str) -> str | None:
    """The last part of a path, without what does not print."""
    name = re.split(r"[/\\]", filename)[-1]
    return "".join(char for char in name if char.isprintable()).strip()[:NAME_MAX] or None


def _mime_type(told: str, filename: str) -> str:
    """What the part says it is; where it does not, what its name tells."""
    kind = told.partition(";")[0].strip().lower()
    if kind in ("", "application/octet-stream"):
        kind = guess_type(filename, strict=False)[0] or ""
    if not _TYPE.fullmatch(kind):
        raise Invalid(Fault(AT, "its type is not known: give its part a Content-Type, such as application/pdf"))
    return kind
