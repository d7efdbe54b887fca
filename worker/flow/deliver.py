"""Deliver: claim the webhooks that are due, keep many under way at once, record each as it answers."""

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from worker import ids
from worker.app import DELIVER
from worker.context import Context
from worker.errors import Conflict, NotFound, Unavailable
from worker.flow import receivers, wake
from worker.flow.receivers import Admitted
from worker.flow.sending import BATCH, LOOK_AGAIN_S, MOST, Round, Sent
from worker.models import Delivery
from worker.retry import rung
from worker.settings import SLOT_WAIT_S, Settings
from worker.states import PING
from worker.store import audit, deliveries, endpoints
from worker.store.audit import Actor
from worker.store.deliveries import DELIVERED, EXHAUSTED, NOBODY, PENDING, Attempt, Outcome, Skip
from worker.telemetry import count, crashed, log, observe, tell
from worker.webhooks import signing
from worker.webhooks.reply import Reply, ReplyKind

RUN_S = 20.0
GROUP_S = 0.02
"""How long a reply waits for company before it is recorded."""

BUSY_S = 2.0


def held_s(settings: Settings) -> float:
    """How long a claimed delivery may wait for its host's turn: its claim must outlive the attempt that follows."""
    return (settings.claim_deliver_s - settings.talk_deliver_s - SLOT_WAIT_S) * 2 / 3


def run(context: Context) -> dict[str, int]:
    """Deliver while something is due, for about RUN_S; gives back how many were delivered and how many not."""
    sending = Round()
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


def _answered(sending: Round) -> list[tuple[Sent, Reply]]:
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
        sending.note(sent.due.lane, reply.kind)
        answered.append((sent, reply))
    sending.slow = set(sending.under_way)
    return answered


def _look(context: Context, sending: Round) -> None:
    """Claim what is due, but nothing more for a host or project that has enough."""
    free = min(BATCH, MOST - len(sending.under_way))
    sending.passed_over = enough = sending.busy()
    try:
        claimed, sent = _claim(context, free, enough) if free > 0 else (0, [])
    except Unavailable:
        # Replies come in meanwhile, and shall be recorded as soon as that is possible.
        log.warning("webhook.deliver", outcome="database_unavailable")
        claimed, sent, sending.passed_over = 0, [], NOBODY
    sending.held += sent
    sending.is_more_due = claimed == free
    sending.looked_at = monotonic()


def _send(context: Context, sending: Round) -> None:
    """Send what is claimed as far as each share goes, and give back what has waited too long for it."""
    late, most_s = [], held_s(context.settings)
    for sent in sending.take_held():
        if monotonic() >= sent.since + most_s:
            late.append(sent)
        elif sending.has_room_for(sent.due):
            due = sent.due
            post = context.egress.post(due.url, due.body, sent.headers, sent_at=sent.at, sender=due.project_id)
            sending.begin(context.loop.submit(post), sent)
        else:
            sending.hold(sent)
    _put_back(context, late)


def _claim(context: Context, limit: int, enough: Skip = NOBODY) -> tuple[int, list[Sent]]:
    """How many due deliveries were claimed, none of those that have enough; those that may go, with their headers."""
    claim = ids.token()
    with context.database.write() as session:
        # Begun first: a claim must not have run for as long as SQLite's lock was waited for.
        session.connection()
        now, since = context.clock(), monotonic()
        until = now + timedelta(seconds=context.settings.claim_deliver_s)
        claimed = deliveries.claim(session, claim=claim, now=now, until=until, limit=limit, skip=enough)
        admitted = receivers.admit(context, session, claimed, claim, now)
    sent = [Sent(one.due, _headers(one, now), claim, now, since, one.is_disabled) for one in admitted]
    return len(claimed), sent


def _headers(one: Admitted, now: datetime) -> dict[str, str]:
    signed = signing.sign(one.secrets, event_id=one.due.event_id, sent_at=now, body=one.due.body)
    return one.headers | signed


def _drop(context: Context, sending: Round, stopped: set[str]) -> None:
    """Give back at once what waits for its turn at an endpoint that has just been paused or disabled."""
    dropped = [one for one in sending.held if one.due.endpoint_id in stopped and not one.due.is_asked]
    if dropped:
        sending.held = [one for one in sending.held if one not in dropped]
        sending.is_more_due = True
        _put_back(context, dropped, wait_s=0)


def _put_back(context: Context, late: list[Sent], wait_s: float = BUSY_S) -> None:
    """Nothing was sent: their host or project has its share under way."""
    due_at = context.clock() + timedelta(seconds=wait_s)
    for claim in {sent.claim for sent in late}:
        names = [sent.due.id for sent in late if sent.claim == claim]
        try:
            with context.database.write() as session:
                deliveries.put_back(session, names, claim=claim, due_at=due_at)
        except Unavailable:
            # They are due again when their claims run out.
            log.warning("webhook.deliver", outcome="database_unavailable", deliveries=names)


def _record(context: Context, answered: Sequence[tuple[Sent, Reply]]) -> set[str]:
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


def _tell(sent: Sent, reply: Reply, *, is_held: bool) -> None:
    due = sent.due
    fields: dict[str, Any] = {"delivery_id": due.id, "event_id": due.event_id, "job_id": due.job_id or None}
    fields |= {"endpoint_id": due.endpoint_id, "request_id": due.request_id, "host": due.host}
    fields |= {"number": due.number, "http_status": reply.status}
    tell("webhook.deliver", sent.began, **fields, outcome=reply.kind)
    count("nightdesk_deliveries_total", outcome=reply.kind)
    if is_held and reply.kind is ReplyKind.OK:
        observe("nightdesk_delivery_seconds", reply.latency_ms / 1000)


def _outcome(context: Context, sent: Sent, reply: Reply, now: datetime) -> Outcome:
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


def _attempt(sent: Sent, reply: Reply) -> Attempt:
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
    wake.batch(context, DELIVER)
    return delivery
