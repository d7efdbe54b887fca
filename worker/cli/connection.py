"""A connection to a Nightdesk API: its address and key, one request at a time, faults as one readable message.

Knows nothing of jobs and imports nothing of the engine.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep
from types import TracebackType
from typing import Any, Self

import httpx2
from dotenv import dotenv_values

from worker.cli.text import line
from worker.errors import NightdeskError, SettingsError

URL, KEY, DATA_DIR = "NIGHTDESK_URL", "NIGHTDESK_API_KEY", "NIGHTDESK_DATA_DIR"
LOCAL_KEY = "NIGHTDESK_BOOTSTRAP_API_KEY"
DEFAULT_URL = "http://127.0.0.1:8000"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
PASSING = frozenset({502, 503, 504})
"""Statuses of a service, or the proxy before it, that will soon be back."""
ANSWER_S, CONNECT_S, STREAM_S = 30.0, 5.0, 60.0
NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.UnsupportedProtocol)


class Unreachable(NightdeskError):
    """No answer, or none that decides anything. `is_in_doubt`: the request may have been obeyed all the same."""

    def __init__(self, message: str, *, is_in_doubt: bool) -> None:
        super().__init__(message)
        self.is_in_doubt = is_in_doubt


class Refused(NightdeskError):
    """The API answered that it will not; the message has its reasons."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API is, and the key for it."""

    url: httpx2.URL
    key: str = field(repr=False)

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine."""
        return self.url.host in LOOPBACK


def access(environment: Mapping[str, str]) -> Access:
    """What the environment and `.env` say; the key that `nightdesk up` made is for this machine only."""
    found = {**dotenv_values(".env"), **environment}
    url = _address(found.get(URL) or DEFAULT_URL)
    key = found.get(KEY) or (_local_key(found) if url.host in LOOPBACK else "")
    if not key:
        raise SettingsError(f"{KEY}: must be set; `nightdesk up` shows a key, `nightdesk keys create` makes one")
    if not key.isascii() or not key.isprintable():
        raise SettingsError(f"{KEY}: is not a key")
    return Access(url, key)


def _address(text: str) -> httpx2.URL:
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL:
        url = httpx2.URL()
    if url.scheme not in {"http", "https"} or not url.host or url.userinfo or url.query or url.fragment:
        raise SettingsError(f"{URL}: must be an address like {DEFAULT_URL}")
    return url


def _local_key(found: Mapping[str, str | None]) -> str:
    kept = Path(found.get(DATA_DIR) or ".nightdesk") / "secrets.env"
    made = dotenv_values(kept, interpolate=False) if kept.is_file() else {}
    return found.get(LOCAL_KEY) or made.get(LOCAL_KEY) or ""


class Connection:
    """For `with`. Every failure is raised as Unreachable or Refused."""

    def __init__(self, to: Access) -> None:
        self._to = to
        self._client = httpx2.Client(
            base_url=to.url,
            headers={"Authorization": f"Bearer {to.key}", "User-Agent": "nightdesk-cli"},
            # A proxy of the environment is meant for other machines.
            trust_env=not to.is_here,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def request(
        self, method: str, path: str, *, again_s: Sequence[float] = (), within_s: float = ANSWER_S, **options: Any
    ) -> httpx2.Response:
        """The successful answer; where there is none yet, tried again after each pause of `again_s`."""
        timeout = httpx2.Timeout(within_s, connect=CONNECT_S)
        failures: list[Unreachable] = []
        for pause_s in (0.0, *again_s):
            sleep(pause_s)
            try:
                return self._once(method, path, timeout=timeout, **options)
            except Unreachable as failure:
                failures.append(failure)
        raise Unreachable(str(failures[-1]), is_in_doubt=any(failure.is_in_doubt for failure in failures))

    def json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """The JSON object in the answer."""
        content = _parsed(self.request(method, path, **options))
        if content is None:
            raise Refused(f"{self._to.url} does not answer as Nightdesk does; is {URL} right?")
        return content

    def lines(self, path: str, **options: Any) -> Iterator[str]:
        """The lines of a stream as they come, until it ends; raises Refused, and what the client raises."""
        with self._client.stream("GET", path, timeout=httpx2.Timeout(STREAM_S, connect=CONNECT_S), **options) as answer:
            if not answer.is_success:
                answer.read()
                raise Refused(self._told(answer))
            yield from answer.iter_lines()

    def _once(self, method: str, path: str, **options: Any) -> httpx2.Response:
        try:
            answer = self._client.request(method, path, **options)
        except httpx2.RequestError as error:
            hint = f"start it with `nightdesk up`, or set {URL} to where it runs"
            raise Unreachable(
                f"no answer from {self._to.url} ({type(error).__name__}): {hint}",
                is_in_doubt=not isinstance(error, NEVER_SENT),
            ) from None
        if answer.is_success:
            return answer
        if answer.status_code in PASSING:
            raise Unreachable(self._told(answer), is_in_doubt=True)
        raise Refused(self._told(answer))

    def _told(self, answer: httpx2.Response) -> str:
        problem = _parsed(answer)
        if problem is None or "code" not in problem:
            return f"{self._to.url} answered HTTP {answer.status_code}, and not as Nightdesk does; is {URL} right?"
        told = [f"{line(problem.get('title'))}: {line(problem.get('detail'))} ({line(problem['code'])})"]
        faults = problem.get("errors") or []
        told += [f"  {line(fault.get('pointer')) or '/'}: {line(fault.get('detail'), 500)}" for fault in faults]
        if answer.status_code == 401:
            told.append(f"  set {KEY} to a key of {self._to.url}")
        if wait_s := answer.headers.get("Retry-After"):
            told.append(f"  try again in {line(wait_s)} s")
        return "\n".join([*told, f"  request id {line(problem.get('request_id'))}"])


def _parsed(answer: httpx2.Response) -> dict[str, Any] | None:
    try:
        content = answer.json()
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
