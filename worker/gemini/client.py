"""Calls the API through the SDK, one HTTP request for each call: create, get, cancel, delete, and a free probe.

Blocking, for task threads, but for creates, of which many are under way. The calls run on the loop thread, each under a
total timeout that no dripping body outlives. No SDK or HTTP exception leaves this module, and no error's text carries
anything that the API or a prompt said.
"""

import concurrent.futures
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from worker.errors import CreateLost, CreateRefused, UpstreamError
from worker.gemini import clean
from worker.gemini.access import Access, segment
from worker.gemini.answer import ENDED
from worker.gemini.loop import LoopThread
from worker.gemini.refusal import Create503, create_error
from worker.gemini.request import CreateRequest
from worker.gemini.resource import Resource, is_id, read_resource
from worker.gemini.wire import Reply, sdk_client, talk

PROBE_ID = "v1_nightdesk-probe"
PAID_ID_MAX = 2048
"""Bytes of an id that was paid for and is kept, however odd: PostgreSQL's unique indexes take some more."""

CONNECTIONS = 64
SLACK_S = 5.0
"""How long a task thread waits beyond a call's own timeout before it gives the loop thread up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """The total time of each call, from the first byte to the last."""

    create_s: float = 30.0
    get_s: float = 10.0
    cancel_s: float = 10.0
    delete_s: float = 10.0
    probe_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Created:
    """An accepted create: the interaction's id, and its status word for word."""

    upstream_id: str
    status: str


class CancelKind(StrEnum):
    """What a cancel was answered with; but for `accepted`, a GET must tell how the run stands."""

    ACCEPTED = "accepted"
    ENDED = "ended"
    MISSING = "missing"
    DENIED = "denied"
    THROTTLED = "throttled"
    TROUBLE = "trouble"


@dataclass(frozen=True, slots=True)
class CancelAnswer:
    """The answer to a cancel."""

    kind: CancelKind
    http_status: int | None = None


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """Whether the key works: None when the answer does not tell. `status` is the HTTP status, if there was one."""

    key_works: bool | None
    status: int | None = None


class Gemini:
    """The SDK behind a few calls; built once per process, after any fork."""

    def __init__(
        self,
        access: Access,
        loop: LoopThread,
        *,
        timeouts: Timeouts | None = None,
        create_503: Create503 = "refused",
    ) -> None:
        self._access = access
        self._loop = loop
        self._timeouts = timeouts or Timeouts()
        self._create_503: Create503 = create_503
        self._lock = threading.Lock()
        self._client: Any = None

    def create(self, request: CreateRequest) -> Future[Created]:
        """Send exactly one POST and return at once; the future gives the interaction that it made.

        Or it raises CreateRefused (surely not accepted: try again), CreateRejected (final), CreateLost (it may run).
        """
        client = self._connect()
        try:
            return self._loop.submit(self._create(client, request))
        except RuntimeError:
            unsent: Future[Created] = Future()
            unsent.set_exception(CreateRefused("create was not sent: the loop thread is not running"))
            return unsent

    async def _create(self, client: Any, request: CreateRequest) -> Created:
        def call(calls: Any) -> Awaitable[Any]:
            answer: Awaitable[Any] = calls.create(request=request.typed, extra_body=request.payload)
            return answer

        reply = await talk(client, call, self._timeouts.create_s)
        if reply.refusal is not None:
            raise create_error(reply.refusal, create_503=self._create_503)
        if reply.status is None:
            raise _unanswered(reply)
        created = created_by(reply.body) if 200 <= reply.status < 300 else None
        if created is None:
            raise CreateLost(f"create answered with HTTP {reply.status} and no interaction id", status=reply.status)
        return created

    def get(self, upstream_id: str) -> Resource | None:
        """Look at one interaction, once; None: the API has none of this id. Raises UpstreamError where that is unclear.

        A 403 is about the interaction, of another account perhaps, unless the key is refused everything.
        """
        reply = self._call(self._timeouts.get_s, lambda calls: calls.get(segment(upstream_id)))
        if reply.status in (400, 404) or (reply.status == 403 and self.probe().key_works):
            return None
        is_good = reply.status is not None and 200 <= reply.status < 300
        resource = read_resource(upstream_id, reply.body) if is_good else None
        if resource is None:
            told = f"HTTP {reply.status}" if reply.status else reply.trouble
            raise UpstreamError(f"the interaction cannot be read ({told})", status=reply.status)
        return resource

    def cancel(self, upstream_id: str) -> CancelAnswer:
        """Ask the API to cancel a run, once; never raises for remote trouble."""
        reply = self._call(self._timeouts.cancel_s, lambda calls: calls.cancel(segment(upstream_id)))
        if reply.status is None:
            return CancelAnswer(CancelKind.TROUBLE)
        if reply.refusal is not None:
            return CancelAnswer(_cancel_kind(reply.status), reply.status)
        if not 200 <= reply.status < 300:
            return CancelAnswer(CancelKind.TROUBLE, reply.status)
        has_ended = _text(clean.first_object(reply.body), "status") in ENDED
        return CancelAnswer(CancelKind.ENDED if has_ended else CancelKind.ACCEPTED, reply.status)

    def delete(self, upstream_id: str) -> bool:
        """Delete the stored interaction, once; never raises for remote trouble.

        True: it is gone, was gone (404), or the API has no delete (501) and retention will end it. False: try again.
        """
        reply = self._call(self._timeouts.delete_s, lambda calls: calls.delete(segment(upstream_id)))
        return reply.status is not None and (200 <= reply.status < 300 or reply.status in (404, 501))

    def probe(self) -> ProbeAnswer:
        """Ask for an interaction that does not exist, for free: 404 shows that the key works, 401, 402, 403 deny it."""
        reply = self._call(self._timeouts.probe_s, lambda calls: calls.get(PROBE_ID))
        verdicts = {404: True, 401: False, 402: False, 403: False}
        return ProbeAnswer(verdicts.get(reply.status) if reply.status else None, reply.status)

    def warm(self) -> ProbeAnswer:
        """Import the SDK, build its client and open a connection by a probe, so that the first create does not wait."""
        self._connect()
        return self.probe()

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()
            if self._loop.is_running:
                self._loop.run(client.aio.aclose(), SLACK_S)

    def _call(self, timeout_s: float, call: Callable[[Any], Awaitable[Any]]) -> Reply:
        client = self._connect()
        try:
            return self._loop.run(talk(client, call, timeout_s), timeout_s + SLACK_S)
        except (TimeoutError, concurrent.futures.CancelledError):
            return Reply(trouble="the loop thread gave up")
        except RuntimeError:
            return Reply(trouble="the loop thread is not running", was_sent=False)

    def _connect(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = sdk_client(self._access, CONNECTIONS)
            return self._client


def _unanswered(reply: Reply) -> UpstreamError:
    if reply.was_sent:
        return CreateLost(f"create was not answered: {reply.trouble}")
    return CreateRefused(f"create was not sent: {reply.trouble}")


def created_by(body: bytes) -> Created | None:
    """Return the interaction that a 2xx body names, whatever else is odd about it: a paid id is never thrown away."""
    answer = clean.first_object(body)
    name = answer.get("id")
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)
    if not is_id(name, most=PAID_ID_MAX):
        return None
    return Created(name, _text(answer, "status") or "in_progress")


def _cancel_kind(status: int) -> CancelKind:
    match status:
        case 404:
            return CancelKind.MISSING
        case 401 | 402 | 403:
            return CancelKind.DENIED
        case 429:
            return CancelKind.THROTTLED
        case 400 | 409 | 412 | 422:
            return CancelKind.ENDED
    return CancelKind.TROUBLE


def _text(value: dict[str, Any], name: str) -> str | None:
    found = value.get(name)
    return found if isinstance(found, str) else None
