"""Deliver: claim the webhooks that are due, keep many under way at once, record each as it answers."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic, perf_counter
from typing import Any

from worker import ids
from worker.app import DELIVER
from worker.context import Context
from worker.errors import Conflict, NotFound, Unavailable
from worker.flow import receivers, wake
from worker.flow.receivers import Admitted
from worker.models import Delivery
from worker.retry import rung
from worker.states import PING
from worker.store import audit, deliveries, endpoints
from worker.store.audit import Actor
from worker.store.deliveries import DELIVERED, EXHAUSTED, PENDING, Attempt, Due, Outcome
from worker.telemetry import count, crashed, log, observe, tell
from worker.webhooks import signing
from worker.webhooks.reply import Reply, ReplyKind

BATCH = 64
"""Deliveries claimed at once."""

MOST, OF_PROJECT = 160, 128
"""Deliveries under way at once, and those of one project: each may take its full timeout, and others must not wait.

A worker has several such rounds; all of them together stay below the usual limit of 1,024 open files.
"""

PER_HOST = 8
"""Deliveries to one host that may be under way here: a slow receiver delays nobody but itself."""

AHEAD = 4 * PER_HOST
"""What a host that takes what it gets is given: so many at once are sent all the same, the others follow at once."""

FAILS_AT = 5
"""After so many failures in a row a host gets one attempt at a time, for as long as the round lasts."""

HELD_S = 2.0
"""How long a claimed delivery waits for its host's turn: its claim must outlive the attempt."""

RUN_S = 20.0
LOOK_AGAIN_S = 0.5
GROUP_S = 0.02
"""How long a reply waits for company before it is recorded."""

BUSY_S = 2.0


@dataclass(frozen=True, slots=True)
class _Sent:
    """One claimed delivery: its signed headers, the claim to record it under, when it was claimed and signed.

    `is_disabled`: its endpoint is, and it goes once because its owner asks.
    """

    due: Due
    headers: dict[str, str]
    claim: str
    at: datetime
    since: float
    is_disabled: bool = False
    began: float = field(default_factory=perf_counter)


@dataclass(slots=True)
class _Round:
    """What one run has under way, what waits for its host's turn, and what came of the rest."""

    under_way: dict[Future[Reply], _Sent] = field(default_factory=dict)
    hosts: Counter[str] = field(default_factory=Counter)
    projects: Counter[str] = field(default_factory=Counter)
    """How many of those under way go to a host, and how many are a project's."""

    slow: set[Future[Reply]] = field(default_factory=set)
    """Those under way that had not answered when others had."""

    held: list[_Sent] = field(default_factory=list)
    looked_at: float = 0.0
    is_more_due: bool = True
    passed_over: set[str] = field(default_factory=set)
    """Hosts and projects that the last look took nothing for."""

    failures: dict[str, int] = field(default_factory=dict)
    """In a row, by host: who does nothing but fail must not take from others what it costs to be tried."""

    tally: dict[str, int] = field(default_factory=lambda: {"delivered": 0, "failed": 0})

    def is_to_look(self) -> bool:
        """A claim for every delivery that is done would cost more than the deliveries."""
        is_more_due = self.is_more_due or bool(self.passed_over - self.busy())
        has_room = len(self.under_way) <= MOST - BATCH // 2
        return (is_more_due and has_room) or monotonic() >= self.looked_at + LOOK_AGAIN_S

    def begin(self, post: Future[Reply], sent: _Sent) -> None:
        """This one is under way."""
        self.under_way[post] = sent
        self.hosts[sent.due.host] += 1
        self.projects[sent.due.project_id] += 1

    def end(self, post: Future[Reply]) -> _Sent:
        """This one is no longer."""
        sent = self.under_way.pop(post)
        self.hosts[sent.due.host] -= 1
        self.projects[sent.due.project_id] -= 1
        return sent

    def has_room_for(self, due: Due) -> bool:
        """Whether its host and its project have not their share under way."""
        return self.hosts[due.host] < self._share(due.host) and self.projects[due.project_id] < OF_PROJECT

    def busy(self) -> set[str]:
        """Hosts and projects that have enough, under way or waiting here."""
        hosts = {host for host, number in self.hosts.items() if number >= self._share(host)}
        projects = {project_id for project_id, number in self.projects.items() if number >= OF_PROJECT}
        return hosts | projects | {sent.due.host for sent in self.held}

    def _share(self, host: str) -> int:
        failures = self.failures.get(host)
        if failures == 0:
            return AHEAD
        return PER_HOST if failures is None or failures < FAILS_AT else 1

    def note(self, host: str, kind: ReplyKind) -> None:
        """Count an attempt."""
        self.tally["delivered" if kind is ReplyKind.OK else "failed"] += 1
        if kind is not ReplyKind.BUSY:
            self.failures[host] = 0 if kind is ReplyKind.OK else self.failures.get(host, 0) + 1


def run(context: Context) -> dict[str, int]:
    """Deliver while something is due, for about RUN_S; gives back how many were delivered and how many not."""
    sending = _Round()
    give_up = monotonic() + RUN_S
    while monotonic() < give_up + context.settings.claim_deliver_s:
        may_take = monotonic() < give_up and not context.leaving.is_set()
        if may_take and sending.is_to_look():
            _look(context, sending)
        _send(context, sending)
        if not sending.under_way:
            # Where all that was claimed had to be put aside, there may be others.
            if may_take and sending.is_to_look():
                continue
            break
        answered = _answered(sending)
        if answered:
            _drop(context, sending, _record(context, answered))
    return sending.tally


def _answered(sending: _Round) -> list[tuple[_Sent, Reply]]:
    """Wait for a reply, and a moment for its company: not for those who let the last reply wait already."""
    if wait(sending.under_way, timeout=LOOK_AGAIN_S, return_when=FIRST_COMPLETED).done:
        wait(sending.under_way.keys() - sending.slow or sending.under_way, timeout=GROUP_S)
    answered = []
    for future in [future for future in sending.under_way if future.done()]:
        sent = sending.end(future)
        try:
            reply = future.result()
        except Exception as error:  # noqa: BLE001 - recorded, and tried again when the claim runs out
            crashed("webhook.deliver", error, delivery_id=sent.due.id)
            continue
        sending.note(sent.due.host, reply.kind)
        answered.append((sent, reply))
    sending.slow = set(sending.under_way)
    return answered


def _look(context: Context, sending: _Round) -> None:
    """Claim what is due, but nothing more for a host or project that has enough."""
    free = min(BATCH, MOST - len(sending.under_way))
    enough = sending.busy()
    claimed, sent = _claim(context, free, enough) if free > 0 else (0, [])
    sending.held += sent
    sending.is_more_due = claimed == free
    sending.passed_over = enough
    sending.looked_at = monotonic()


def _send(context: Context, sending: _Round) -> None:
    """Send what is claimed as far as each share goes, and give back what has waited too long for it."""
    held, sending.held = sending.held, []
    late = []
    for sent in held:
        if sending.has_room_for(sent.due):
            post = context.egress.post(sent.due.url, sent.due.body, sent.headers, sent_at=sent.at)
            sending.begin(context.loop.submit(post), sent)
        elif monotonic() < sent.since + HELD_S:
            sending.held.append(sent)
        else:
            late.append(sent)
    _put_back(context, late)


def _claim(context: Context, limit: int, enough: set[str]) -> tuple[int, list[_Sent]]:
    """How many due deliveries were claimed, none of those that have enough; those that may go, with their headers."""
    now, claim, since = context.clock(), ids.token(), monotonic()
    until = now + timedelta(seconds=context.settings.claim_deliver_s)
    with context.database.write() as session:
        claimed = deliveries.claim(session, claim=claim, now=now, until=until, limit=limit, skip=enough)
        admitted = receivers.admit(context, session, claimed, claim, now)
    sent = [_Sent(one.due, _headers(one, now), claim, now, since, one.is_disabled) for one in admitted]
    return len(claimed), sent


def _headers(one: Admitted, now: datetime) -> dict[str, str]:
    signed = signing.sign(one.secrets, event_id=one.due.event_id, sent_at=now, body=one.due.body)
    return one.headers | signed


def _drop(context: Context, sending: _Round, stopped: set[str]) -> None:
    """Give back at once what waits for its turn at an endpoint that has just been paused or disabled."""
    dropped = [one for one in sending.held if one.due.endpoint_id in stopped and not one.due.is_asked]
    if dropped:
        sending.held = [one for one in sending.held if one not in dropped]
        sending.is_more_due = True
        _put_back(context, dropped, wait_s=0)


def _put_back(context: Context, late: list[_Sent], wait_s: float = BUSY_S) -> None:
    """Nothing was sent: their host or project has its share under way."""
    due_at = context.clock() + timedelta(seconds=wait_s)
    for claim in {sent.claim for sent in late}:
        names = [sent.due.id for sent in late if sent.claim == claim]
        with context.database.write() as session:
            deliveries.put_back(session, names, claim=claim, due_at=due_at)


def _record(context: Context, answered: Sequence[tuple[_Sent, Reply]]) -> set[str]:
    """Write down what a group of attempts came to; one that cannot be written must not hurt its neighbours.

    Gives back the endpoints that shall not be sent more for now.
    """
    now = context.clock()
    stopped: set[str] = set()
    try:
        with context.database.write() as session:
            held = deliveries.record(session, [_outcome(context, sent, reply, now) for sent, reply in answered])
            made = [(sent, reply) for sent, reply in answered if reply.kind is not ReplyKind.BUSY]
            deliveries.log(session, [_attempt(sent, reply) for sent, reply in made if sent.due.id in held])
            learnt = receivers.learn(session, [(sent.due, reply) for sent, reply in made if sent.due.id in held], now)
    except Unavailable:
        # The claims run out and the events are delivered once more, under the same ids.
        log.warning("webhook.deliver", outcome="database_unavailable", deliveries=[sent.due.id for sent, _ in answered])
    except Exception as error:  # noqa: BLE001 - recorded, and tried again when the claims run out
        crashed("webhook.deliver", error, deliveries=[sent.due.id for sent, _ in answered])
        for one in answered if len(answered) > 1 else ():
            stopped |= _record(context, [one])
    else:
        for sent, reply in answered:
            _tell(sent, reply, is_held=sent.due.id in held)
        receivers.tell(learnt.disabled)
        stopped = learnt.stopped
    return stopped


def _tell(sent: _Sent, reply: Reply, *, is_held: bool) -> None:
    due = sent.due
    fields: dict[str, Any] = {"delivery_id": due.id, "event_id": due.event_id, "job_id": due.job_id or None}
    fields |= {"endpoint_id": due.endpoint_id, "request_id": due.request_id, "host": due.host}
    fields |= {"number": due.number, "http_status": reply.status}
    tell("webhook.deliver", sent.began, **fields, outcome=reply.kind)
    count("nightdesk_deliveries_total", outcome=reply.kind)
    if is_held and reply.kind is ReplyKind.OK:
        observe("nightdesk_delivery_seconds", reply.latency_ms / 1000)


def _outcome(context: Context, sent: _Sent, reply: Reply, now: datetime) -> Outcome:
    """What the delivery becomes: delivered, exhausted, or due again by the ladder, never before a Retry-After."""
    due, claim = sent.due, sent.claim
    if reply.kind is ReplyKind.BUSY:
        busy_until = now + timedelta(seconds=BUSY_S)
        return Outcome(due.id, claim, PENDING, due.number - 1, busy_until, is_asked=due.is_asked)
    if reply.kind is ReplyKind.OK:
        return Outcome(due.id, claim, DELIVERED, due.number, None, now)
    is_gone = reply.status == receivers.GONE
    if due.endpoint_id and (sent.is_disabled or is_gone) and due.event_type != PING:
        # Whoever claims it next sees whether it is to be held: its endpoint may have moved or been enabled since.
        return Outcome(due.id, claim, PENDING, due.number, now)
    again = rung(context.settings.webhook_retry_s, due.tries + 1, now, context.chance())
    if again is None or is_gone or sent.is_disabled or reply.kind is ReplyKind.REFUSED:
        return Outcome(due.id, claim, EXHAUSTED, due.number, None)
    if reply.retry_after_s is not None:
        again = max(again, now + timedelta(seconds=reply.retry_after_s))
    return Outcome(due.id, claim, PENDING, due.number, again)


def _attempt(sent: _Sent, reply: Reply) -> Attempt:
    return Attempt(
        delivery_id=sent.due.id,
        number=sent.due.number,
        at=sent.at,
        outcome=reply.kind,
        http_status=reply.status,
        latency_ms=reply.latency_ms,
        snippet=reply.snippet,
        error=reply.detail or None,
    )


def again(context: Context, project_id: str, delivery_id: str, by: Actor | None = None) -> Delivery:
    """Send a delivery once more, now; raises NotFound, and Conflict where there is nothing left to send."""
    now = context.clock()
    with context.database.write() as session:
        known = deliveries.get(session, delivery_id, project_id)
        if known is None:
            raise NotFound("no such delivery")
        if known.endpoint_id and not endpoints.several(session, {known.endpoint_id}):
            raise Conflict("the endpoint of this delivery was deleted")
        delivery = deliveries.again(session, delivery_id, now)
        if delivery is not None:
            audit.note(session, by, audit.REDELIVERED, project_id=project_id, subject=delivery_id, now=now)
    if delivery is None:
        raise Conflict("the delivery was cancelled or its payload is past its retention")
    wake.batches(context, DELIVER, 1)
    return delivery
