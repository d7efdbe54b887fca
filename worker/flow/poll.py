"""Poll: claim what is due, ask the upstream for all of it at once, record who still runs, settle who ended."""

from collections import Counter
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from worker import ids
from worker.context import Context
from worker.flow import cancel, ending, gate, settle, usage, wake
from worker.flow.end import end, failure
from worker.gemini.answer import Answer, AnswerKind, short
from worker.models import Job
from worker.retry import UNREACHABLE
from worker.states import STALLED, Status
from worker.store import claims, gates, interactions, moments, moves, outbox
from worker.store.claims import Polled
from worker.telemetry import count, observe, step

BATCH = 500
RUN_S = 20.0
LOOK_AGAIN_S = 0.1
COMPANY_S, ROW_S = 0.5, 0.005
"""A crowd of n rows keeps the next claim waiting for n times ROW_S, COMPANY_S at most: few large batches are cheap."""

NOTE_EVERY_S = 1.0
SOON = timedelta(seconds=1)
MISSING_TIMES = 5
MISSING_FOR = timedelta(minutes=5)
MISSING_AFTER = timedelta(minutes=10)
LINGER = timedelta(seconds=120)
UNASKABLE = timedelta(hours=24)
"""How long a job stays `cancelling`, or keeps a result that was seen, while its interaction cannot be asked."""

MAY_STILL_RUN = "upstream_may_still_run"
MARK_MAX = 100
HEARD = {AnswerKind.RUNNING, AnswerKind.ENDED}
KNOWN = {"queued", "in_progress"}
"""What the upstream calls a run that goes on; every other word is waited on as well, and counted."""


@dataclass(slots=True)
class _Tally:
    """What a run of batches came to, as Flower shows it."""

    claimed: int = 0
    running: int = 0
    ended: int = 0
    trouble: int = 0
    throttled_s: float | None = None
    note_at: float = 0.0

    def is_to_note(self) -> bool:
        """Whether that the upstream was heard is worth a write: once in a while."""
        is_due, now = monotonic() >= self.note_at, monotonic()
        self.note_at = now + NOTE_EVERY_S if is_due else self.note_at
        return is_due

    def shown(self) -> dict[str, int]:
        return {"claimed": self.claimed, "running": self.running, "ended": self.ended, "trouble": self.trouble}


def run(context: Context) -> dict[str, int]:
    """Poll while rows are due, for about RUN_S; gives back how many were claimed, still ran, ended, had trouble."""
    tally = _Tally()
    with step("job.poll") as line:
        may_go_on = _poll(context, tally)
        line.update(tally.shown())
    if may_go_on:
        # Last, for nobody waits for it.
        usage.look(context)
    return tally.shown()


def _poll(context: Context, tally: _Tally) -> bool:
    """One batch after the other; gives back whether the upstream may be asked for more."""
    give_up = monotonic() + RUN_S
    while monotonic() < give_up and tally.throttled_s is None and not context.leaving.is_set():
        shut = gate.polls(context)
        if shut is not None and gates.is_shut(shut, context.clock()):
            return False
        began, claimed = monotonic(), _batch(context, tally)
        if shut is not None and shut.reason is not None and tally.running + tally.ended:
            gate.unthrottle_polls(context)
        company_s = min(COMPANY_S, claimed * ROW_S) - (monotonic() - began)
        if claimed < BATCH and not _wait(context, company_s):
            break
    return tally.throttled_s is None and not context.leaving.is_set()


def _wait(context: Context, company_s: float) -> bool:
    """Wait for the next row, and for its company, if it falls due soon; False: nothing will, the sweep calls again."""
    with context.database.read() as session:
        due_at = claims.next_poll(session)
    now = context.clock()
    if due_at is None or due_at > now + SOON:
        return False
    # Never zero: a row may be due and held by somebody else.
    alone_s = min(LOOK_AGAIN_S, max(LOOK_AGAIN_S / 10, (due_at - now).total_seconds()))
    context.pause(max(company_s, alone_s))
    return True


def _batch(context: Context, tally: _Tally) -> int:
    """Claim, ask, record one batch; gives back how many rows were due."""
    now, claim = context.clock(), ids.token()
    until = now + timedelta(seconds=context.settings.claim_poll_s)
    with context.database.write() as session:
        rows = claims.polls(session, claim=claim, now=now, until=until, limit=BATCH)
    if not rows:
        return 0
    tally.claimed += len(rows)
    observe("nightdesk_poll_lag_seconds", *((now - row.was_due_at).total_seconds() for row in rows if row.was_due_at))
    with closing(_ask(context, rows)) as groups:
        for answers in groups:
            _record(context, claim, answers, tally)
            if tally.throttled_s is not None:
                break
    if tally.throttled_s is not None:
        shut_until = gate.throttle_polls(context, tally.throttled_s)
        with context.database.write() as session:
            claims.put_back(session, claim=claim, until=until, due_at=shut_until)
    return len(rows)


def _ask(context: Context, rows: list[Polled]) -> Generator[list[tuple[Polled, Answer]]]:
    by_id = {row.interaction_id: row for row in rows}
    for answers in context.poller.fetch(list(by_id)):
        yield [(by_id[answer.upstream_id], answer) for answer in answers]


def _record(context: Context, claim: str, answers: list[tuple[Polled, Answer]], tally: _Tally) -> None:
    now = context.clock()
    running, ended, moved = [], [], []
    kinds = Counter(answer.kind for _, answer in answers)
    for kind, number in kinds.items():
        count("nightdesk_polls_total", number, answer=kind)
    for row, answer in answers:
        if answer.kind is AnswerKind.THROTTLED:
            tally.throttled_s = max(tally.throttled_s or 0, answer.retry_after_s or 0)
        if answer.kind in {AnswerKind.ENDED, AnswerKind.TOO_LARGE}:
            ended.append((row, answer))
            continue
        if answer.kind is AnswerKind.RUNNING and answer.status not in KNOWN:
            count("nightdesk_unknown_statuses_total")
        tally.running += answer.kind is AnswerKind.RUNNING
        tally.trouble += answer.kind is not AnswerKind.RUNNING
        decided = _decide(context, row, claim, answer, now)
        if decided is None:
            running.append(_next(context, row, answer, now))
        else:
            moved += decided
    is_heard = bool(kinds.keys() & HEARD) and tally.is_to_note()
    if running or is_heard:
        with context.database.write() as session:
            recorded = claims.record_polls(session, claim=claim, now=now, rows=running) if running else set()
            if is_heard:
                moments.note(session, moments.UPSTREAM, now)
        count("nightdesk_lost_races_total", len(running) - len(recorded), move="poll")
    # Last, for it may take long: the claims of those who run on are given back by now.
    tally.ended += len(ended)
    moved += settle.settle(context, claim, ended) if ended else []
    wake.moved(context, moved)


def _next(context: Context, row: Polled, answer: Answer, now: datetime) -> dict[str, Any]:
    """The row of a job that goes on running."""
    is_running, is_missing = answer.kind is AnswerKind.RUNNING, answer.kind is AnswerKind.MISSING
    mark = answer.mark[-MARK_MAX:]
    if row.status == Status.CANCELLING and not is_running:
        due_at = UNREACHABLE.next_time(0, now, context.chance())
    else:
        due_at = context.schedule(row.kind, row.target).next_time(row.polls + 1, now, context.chance())
    if row.deadline_at is not None and row.deadline_at > now:
        due_at = min(due_at, row.deadline_at)
    return {
        "id": row.id,
        "due_at": due_at,
        "upstream_status": short(answer.status or "") if is_running else row.upstream_status,
        "thought": (answer.thought or row.thought) if is_running else row.thought,
        "mark": mark if is_running else row.mark,
        "changed_at": now if is_running and mark != row.mark else row.changed_at,
        "missing": row.missing + 1 if is_missing else row.missing if not is_running else 0,
        "missing_since": (row.missing_since or now) if is_missing else None if is_running else row.missing_since,
    }


def _decide(context: Context, row: Polled, claim: str, answer: Answer, now: datetime) -> list[Job] | None:
    """What a job that has not ended comes to beside waiting on; None: it waits on."""
    if row.status == Status.CANCELLING:
        return _decide_cancelling(context, row, claim, answer, now)
    if _is_lost(row, answer, now):
        return _lose(context, row, claim, now)
    if _is_overdue(row, answer, now):
        with context.database.write() as session:
            job = cancel.to_cancelling(session, row.id, now, {"cancel_cause": cancel.DEADLINE}, claim)
        return [job] if job else []
    if _is_stalled(context, row, answer, now):
        _tell_stalled(context, row, claim, now)
    return None


def _is_overdue(row: Polled, answer: Answer, now: datetime) -> bool:
    """No deadline applies to a result already seen, unless it turns out that there is none."""
    if row.deadline_at is None or row.deadline_at > now:
        return False
    is_gone = answer.kind is AnswerKind.RUNNING or row.deadline_at + UNASKABLE <= now
    return is_gone or not row.ended_seen


def _is_lost(row: Polled, answer: Answer, now: datetime) -> bool:
    """Five 404s in a row over five minutes, and never within ten minutes of the create (`upstream.md` 4.4)."""
    return (
        answer.kind is AnswerKind.MISSING
        and row.missing + 1 >= MISSING_TIMES
        and row.missing_since is not None
        and row.missing_since + MISSING_FOR <= now
        and (row.sent_at or now) + MISSING_AFTER <= now
    )


def _decide_cancelling(context: Context, row: Polled, claim: str, answer: Answer, now: datetime) -> list[Job] | None:
    """A run that goes on in spite of its cancel, or cannot be asked, ends the job all the same, after a while."""
    since = row.cancelling_since or now
    is_heard = row.cancel_answer in cancel.ANSWERED
    lingers_since = (row.cancel_answered_at or now) if is_heard else since
    lingers = answer.kind is AnswerKind.RUNNING and lingers_since + LINGER <= now
    if lingers or since + UNASKABLE <= now or _is_lost(row, answer, now):
        with context.database.write() as session:
            stopped = ending.stopped(session, row.id, claim=claim, now=now, note=MAY_STILL_RUN)
            if stopped:
                interactions.owe(session, row.interaction_id, usage.first_look(now))
            return stopped
    if is_heard:
        return None
    with context.database.write() as session:
        cancel.again(context, session, row.id, claim, now)
    return []


def _lose(context: Context, row: Polled, claim: str, now: datetime) -> list[Job]:
    values = {"error": failure("interaction_lost", "the upstream does not know this interaction", retryable=True)}
    sources = {Status(row.status)}
    with context.database.write() as session:
        return end(session, row.id, sources=sources, target=Status.FAILED, now=now, claim=claim, values=values)


def _is_stalled(context: Context, row: Polled, answer: Answer, now: datetime) -> bool:
    after_s = context.catalog.entry(row.kind, row.target).stalled_after_s
    return (
        answer.kind is AnswerKind.RUNNING
        and row.stalled_at is None
        and answer.mark[-MARK_MAX:] == row.mark
        and (row.changed_at or now) + timedelta(seconds=after_s) <= now
    )


def _tell_stalled(context: Context, row: Polled, claim: str, now: datetime) -> None:
    with context.database.write() as session:
        values = {"stalled_at": now, "sequence": moves.NEXT_SEQUENCE}
        job = moves.change(session, row.id, statuses={Status.IN_PROGRESS}, claim=claim, values=values)
        if job is not None:
            outbox.append(session, job, STALLED, now)
            count("nightdesk_stalled_total")
