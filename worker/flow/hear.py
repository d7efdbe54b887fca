"""Hear: what an event of the upstream's brings about. It is a hint: a poll happens now, or a lost create is found.

Whatever an event says is looked up before anything changes, within limits: a copied or forged one costs nothing.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import Lock

from worker.context import Context
from worker.errors import EventRefused, Unavailable, UpstreamError
from worker.flow import lost, wake
from worker.gemini.jwks import KeySet
from worker.gemini.name import read_name
from worker.gemini.push import TOLERANCE, Event, Verifier
from worker.gemini.resource import Resource
from worker.store import hints, interactions
from worker.telemetry import count, step

APART = timedelta(seconds=1)
"""How long after a poll an event may ask for another."""

LOOKS, LOOKS_WITHIN, LOOK_AGAIN = 60, timedelta(minutes=1), timedelta(seconds=5)
"""How many interactions that nobody knows a process asks for, however many events speak of them; one, how often."""

REMEMBERED = 10_000


def poll_now(context: Context, job_id: str, upstream_id: str) -> str:
    """Let a running interaction be asked now, because something was heard of it; gives back the outcome in a word."""
    now = context.clock()
    with context.database.write() as session:
        is_due = hints.poll_now(session, job_id, upstream_id, now=now, unless_since=now - APART)
    if not is_due:
        return "idle"
    wake.polls(context)
    return "polled"


class Listener:
    """One process's ear for upstream events; shared by its threads."""

    def __init__(self, context: Context) -> None:
        settings = context.settings
        self._context = context
        self._is_dynamic = settings.gemini_webhooks == "dynamic"
        keys = KeySet(settings.gemini, context.loop) if self._is_dynamic else None
        self._verifier = Verifier(
            [secret.get_secret_value() for secret in settings.gemini_webhook_secrets],
            keys,
            settings.upstream_events_url if self._is_dynamic else None,
        )
        self._heard = _Heard()
        self._looks = _Looks()

    def hear(self, headers: Mapping[str, str], body: bytes) -> str:
        """Follow one event; gives back the outcome in a word. Raises EventRefused, and Unavailable: send it again."""
        with step("upstream.event") as line:
            try:
                line["outcome"] = self._hear(headers, body, line)
            except (EventRefused, Unavailable) as error:
                line["outcome"] = error.outcome if isinstance(error, EventRefused) else "unavailable"
                raise
            finally:
                count("nightdesk_upstream_events_total", outcome=str(line.get("outcome", "error")))
            return str(line["outcome"])

    def _hear(self, headers: Mapping[str, str], body: bytes, line: dict[str, object]) -> str:
        now = self._context.clock()
        event = self._verifier.verify(headers, body, now)
        if event is None:
            return "ignored"
        line["interaction_id"] = event.upstream_id
        with self._heard.first(event.marks, now) as is_first:
            return self._follow(event) if is_first else "duplicate"

    def _follow(self, event: Event) -> str:
        with self._context.database.read() as session:
            known = interactions.by_upstream_id(session, event.upstream_id)
        if known is not None:
            return poll_now(self._context, known.job_id, event.upstream_id)
        return self._find(event) if self._is_dynamic else "unknown"

    def _find(self, event: Event) -> str:
        """An interaction that no job has: ask whose it is, if it can be anybody's."""
        context = self._context
        with context.database.read() as session:
            is_ours = lost.is_missing(session, event.name) if event.name else hints.awaits_any(session)
        if not is_ours:
            return "foreign" if event.name else "unknown"
        resource = self._look(event)
        name = read_name(resource.user_metadata)
        if name is None or event.name not in {None, name}:
            return "foreign"
        with context.database.read() as session:
            if not lost.is_missing(session, name):
                return "foreign"
        outcome = lost.attach(context, resource, name)
        if outcome != "started":
            return outcome
        count("nightdesk_adopted_total", by="event")
        poll_now(context, name.job_id, resource.upstream_id)
        return "adopted"

    def _look(self, event: Event) -> Resource:
        if not self._looks.may(event.upstream_id, self._context.clock()):
            raise Unavailable("too many events about unknown interactions; send it again later")
        try:
            resource = self._context.gemini.get(event.upstream_id)
        except UpstreamError:
            raise Unavailable("the Gemini API does not say whose interaction this is; send it again") from None
        if resource is None:
            # The API may not know a new interaction for minutes (`upstream.md` 4.4), and somebody misses one.
            raise Unavailable("the Gemini API does not know the interaction yet; send it again")
        return resource


class _Heard:
    """The events of late, so that a copy changes nothing; one that could not be followed is forgotten again."""

    def __init__(self) -> None:
        self._marks: OrderedDict[str, datetime] = OrderedDict()
        self._lock = Lock()

    @contextmanager
    def first(self, marks: tuple[str, ...], now: datetime) -> Iterator[bool]:
        """Whether none of these marks was seen before."""
        with self._lock:
            self._forget(now)
            is_first = not any(mark in self._marks for mark in marks)
            self._marks.update(dict.fromkeys(marks, now) if is_first else {})
        try:
            yield is_first
        except BaseException:
            with self._lock:
                for mark in marks if is_first else ():
                    self._marks.pop(mark, None)
            raise

    def _forget(self, now: datetime) -> None:
        """What is older than any event that is still let in, and the oldest of too many."""
        while self._marks:
            mark, at = next(iter(self._marks.items()))
            if len(self._marks) < REMEMBERED and at >= now - 2 * TOLERANCE:
                return
            del self._marks[mark]


class _Looks:
    """When unknown interactions were asked for."""

    def __init__(self) -> None:
        self._done: deque[tuple[str, datetime]] = deque(maxlen=LOOKS)
        self._lock = Lock()

    def may(self, upstream_id: str, now: datetime) -> bool:
        """Whether this one may be asked for now; if so, it is counted."""
        with self._lock:
            is_full = len(self._done) == LOOKS and self._done[0][1] > now - LOOKS_WITHIN
            if is_full or any(name == upstream_id and at > now - LOOK_AGAIN for name, at in self._done):
                return False
            self._done.append((upstream_id, now))
            return True
