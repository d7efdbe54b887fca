"""Files of the API: uploads by its resumable protocol, a piece at a time, and downloads; one pool on the loop thread.

Raw, because the SDK takes only whole files whose size it knows; paths, headers and the size of a piece are the SDK's.
No HTTP exception leaves this module, and no error's text carries anything that the API or a file said.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from threading import Lock
from typing import IO, Any, TypeVar

import aiohttp
import orjson
from yarl import URL

from worker.errors import UpstreamError
from worker.gemini.access import CONNECT_S, KEEPALIVE_S, Access, segment
from worker.gemini.loop import LoopThread
from worker.gemini.refusal import read_refusal

T = TypeVar("T")

PIECE_BYTES = 8 * 1024 * 1024
"""Of every piece but the last: the API takes multiples of this only."""
ANSWER_BYTES = 64 * 1024
FETCHED_BYTES = 1024 * 1024
CONNECTIONS = 32
SLACK_S = 5.0
PROCESSING, FAILED = "PROCESSING", "FAILED"


@dataclass(frozen=True, slots=True)
class Session:
    """An upload that the API waits for; its address is its permission."""

    url: URL


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that the API keeps; `size` and `expires_at` are None where it does not tell them."""

    name: str
    uri: str
    mime_type: str
    size: int | None
    expires_at: datetime | None
    state: str


class Files:
    """One pool of connections for the uploads of a process; every call is one request and raises UpstreamError."""

    def __init__(self, access: Access, loop: LoopThread, *, call_s: float) -> None:
        self._access = access
        self._loop = loop
        self._call_s = call_s
        self._http: aiohttp.ClientSession | None = None
        self.turn = Lock()
        """Held by the thread that fetches: one may wait for a file, and others shall not."""

    def begin(self, mime_type: str, display_name: str | None) -> Future[Session]:
        """Tell the API that a file will come."""
        return self._submit(self._begin(mime_type, display_name))

    def send(self, session: Session, offset: int, piece: bytes) -> Future[None]:
        """Send a piece of PIECE_BYTES that is not the last."""
        return self._submit(self._send(session, offset, piece))

    def finish(self, session: Session, offset: int, piece: bytes) -> Future[Stored]:
        """Send the last piece."""
        return self._submit(self._finish(session, offset, piece))

    def abandon(self, session: Session) -> Future[None]:
        """Give an upload up: what was sent is forgotten."""
        return self._submit(self._abandon(session))

    def get(self, name: str) -> Future[Stored]:
        """Look at a file (`files/…`)."""
        return self._submit(self._get(name))

    def delete(self, name: str) -> Future[None]:
        """Forget a file (`files/…`)."""
        return self._submit(self._delete(name))

    def fetch(self, name: str, into: IO[bytes], most_bytes: int) -> Future[int]:
        """Write the bytes of a file that the API made (`files/…`) where they are wanted; gives back how many."""
        return self._submit(self._fetch(name, into, most_bytes))

    def close(self) -> None:
        """Close the connections; the next call opens others."""
        if self._loop.is_running:
            self._loop.run(self._close(), SLACK_S)

    def _submit(self, call: Coroutine[Any, Any, T]) -> Future[T]:
        try:
            return self._loop.submit(call)
        except RuntimeError:
            raise UpstreamError("the Files API cannot be asked: the loop thread is not running") from None

    async def _begin(self, mime_type: str, display_name: str | None) -> Session:
        headers = {
            **self._key(),
            "X-Goog-Upload-Protocol": "resumable",
            "X-Goog-Upload-Command": "start",
            "X-Goog-Upload-Header-Content-Type": mime_type,
        }
        about = {"mimeType": mime_type, **({"displayName": display_name} if display_name else {})}
        answer = await self._call("POST", self._url("upload/", ""), headers, json={"file": about})
        try:
            return Session(self._here(URL(answer.headers["X-Goog-Upload-URL"], encoded=True)))
        except (KeyError, ValueError):
            raise UpstreamError("the upload was begun and has no address", status=answer.status) from None

    async def _send(self, session: Session, offset: int, piece: bytes) -> None:
        answer = await self._put(session, offset, piece, "upload")
        if answer.headers.get("X-Goog-Upload-Status") != "active":
            raise UpstreamError("the upload was ended before its time", status=answer.status)

    async def _finish(self, session: Session, offset: int, piece: bytes) -> Stored:
        answer = await self._put(session, offset, piece, "upload, finalize")
        if answer.headers.get("X-Goog-Upload-Status") != "final":
            raise UpstreamError("the upload was not finished by its last piece", status=answer.status)
        return _stored(answer, answer.json().get("file"))

    async def _put(self, session: Session, offset: int, piece: bytes, command: str) -> "_Answer":
        headers = {"X-Goog-Upload-Command": command, "X-Goog-Upload-Offset": str(offset)}
        return await self._call("POST", session.url, headers, data=BytesIO(piece))

    async def _abandon(self, session: Session) -> None:
        await self._call("POST", session.url, {"X-Goog-Upload-Command": "cancel"})

    async def _get(self, name: str) -> Stored:
        answer = await self._call("GET", self._url("", name), self._key())
        return _stored(answer, answer.json())

    async def _delete(self, name: str) -> None:
        await self._call("DELETE", self._url("", name), self._key())

    async def _fetch(self, name: str, into: IO[bytes], most_bytes: int) -> int:
        url = URL(f"{self._url('', name)}:download?alt=media", encoded=True)
        loop, size = asyncio.get_running_loop(), 0
        try:
            async with self._opened().get(url, headers=self._key(), allow_redirects=False) as response:
                if response.status != 200:
                    raise _refused(_Answer(response.status, response.headers, await _body(response)))
                async for chunk in response.content.iter_chunked(FETCHED_BYTES):
                    size += len(chunk)
                    if size > most_bytes:
                        raise UpstreamError(f"the file is over {most_bytes} bytes", status=413)
                    # A disk may take its time, and all polls share this thread.
                    await loop.run_in_executor(None, into.write, chunk)
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            raise UpstreamError(f"the Files API cannot be reached ({type(error).__name__})") from None
        return size

    def _key(self) -> dict[str, str]:
        return {"x-goog-api-key": self._access.api_key}

    def _url(self, prefix: str, name: str) -> URL:
        path = f"{prefix}{self._access.api_version}/files"
        if name:
            path += "/" + segment(name.removeprefix("files/"))
        return URL(f"{self._access.base_url.rstrip('/')}/{path}", encoded=True)

    def _here(self, url: URL) -> URL:
        """The API names itself in an upload's address: where it is reached through something else, so is the upload."""
        base = URL(self._access.base_url)
        assert base.host is not None, "checked with the settings"
        return url.with_scheme(base.scheme).with_host(base.host).with_port(base.explicit_port)

    async def _call(self, method: str, url: URL, headers: dict[str, str], **content: Any) -> "_Answer":
        try:
            http = self._opened()
            async with http.request(method, url, headers=headers, allow_redirects=False, **content) as response:
                answer = _Answer(response.status, response.headers, await _body(response))
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            raise UpstreamError(f"the Files API cannot be reached ({type(error).__name__})") from None
        if 200 <= answer.status < 300:
            return answer
        raise _refused(answer)

    def _opened(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEEPALIVE_S),
                timeout=aiohttp.ClientTimeout(total=self._call_s, sock_connect=CONNECT_S),
                headers={"Accept": "application/json", "User-Agent": "nightdesk"},
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=True,
            )
        return self._http

    async def _close(self) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.close()


@dataclass(frozen=True, slots=True)
class _Answer:
    """An HTTP answer that was read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        try:
            value = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            value = None
        return value if isinstance(value, dict) else {}


def _refused(answer: _Answer) -> UpstreamError:
    refusal = read_refusal(answer.status, answer.headers, answer.body)
    return UpstreamError(
        f"the Files API answered with HTTP {refusal.status}",
        status=refusal.status,
        code=refusal.code,
        retry_after_s=refusal.retry_after_s,
        detail=refusal.detail,
    )


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = b""
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > ANSWER_BYTES:
            break
    return body


def _stored(answer: _Answer, about: Any) -> Stored:
    told = about if isinstance(about, dict) else {}
    name, uri, mime_type = (told.get(field) for field in ("name", "uri", "mimeType"))
    if not (isinstance(name, str) and isinstance(uri, str) and isinstance(mime_type, str)):
        raise UpstreamError("the Files API's answer names no file", status=answer.status)
    state = told.get("state")
    return Stored(
        name=name,
        uri=uri,
        mime_type=mime_type,
        size=_whole(told.get("sizeBytes")),
        expires_at=_moment(told.get("expirationTime")),
        state=state if isinstance(state, str) else "",
    )


def _whole(value: Any) -> int | None:
    text = str(value)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None


def _moment(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
