"""Usage: what each interaction used is written down when it ends, or when the upstream tells, however late that is.

A job's own usage is the sum over its interactions; the ledger keeps each of them for its project.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import reduce
from typing import Any, NamedTuple

from sqlmodel import Session

from worker.context import Context
from worker.errors import Unavailable
from worker.flow import gate
from worker.gemini.answer import Answer, AnswerKind
from worker.gemini.usage import Tokens, read_tokens, read_usage, total
from worker.models import Job
from worker.retry import LATE_USAGE_S
from worker.states import TERMINAL
from worker.store import interactions, jobs
from worker.store import usage as ledger
from worker.store.interactions import Ended, Owed
from worker.telemetry import count, crashed, step

AT_ONCE = 100
"""Interactions that are asked for their usage in one go."""

OTHER = "other"
NOTHING = Tokens(0, 0, 0, 0, 0, 0)
Entry = dict[str, Any]
Told = tuple[Owed, dict[str, Any]]


class Spent(NamedTuple):
    """The ended interaction of a job, and what it says it used, if it does."""

    job: Job
    status: str | None
    usage: dict[str, Any] | None


def first_look(now: datetime) -> datetime:
    """When an interaction that did not tell its usage at its end is first asked for it."""
    return now + timedelta(seconds=LATE_USAGE_S[0])


def close(session: Session, ended: Sequence[Spent], now: datetime) -> list[Entry]:
    """Write down how interactions ended and what they used; whatever does not say so is asked again later.

    Gives back the ledger's entries, for `tell` after the commit.
    """
    told = [(one, read_tokens(one.usage)) for one in ended]
    ends = [
        Ended(one.job.interaction_id or "", one.status, one.usage, None if tokens else first_look(now))
        for one, tokens in told
    ]
    tokens_of = interactions.ended(session, ends)
    entries = [
        _entry(one.job, tokens_of[one.job.interaction_id], one.job.turn, tokens, now)
        for one, tokens in told
        if tokens is not None and one.job.interaction_id in tokens_of
    ]
    ledger.record(session, entries)
    return entries


def before(session: Session, running: Iterable[Job]) -> Mapping[str, dict[str, Any] | None]:
    """What earlier interactions of these jobs have used, by job; the jobs are kept as they are until the end.

    Read anew, because one of those interactions may just now have told.
    """
    several = [job.id for job in running if job.turn > 1 or job.attempt > 1]
    if not several:
        return {}
    jobs.lock(session, several)
    return {job_id: _sum(found) for job_id, found in interactions.usages(session, several).items()}


def tell(context: Context, entries: Sequence[Entry]) -> None:
    """Count tokens that are in the ledger; targets that the catalog does not know count as one."""
    known = {name for _, name in context.catalog.known}
    for entry in entries:
        target = entry["target"] if entry["target"] in known else OTHER
        for kind in Tokens._fields[:-1]:
            if entry[kind]:
                count("nightdesk_tokens_total", entry[kind], target=target, kind=kind.removesuffix("_tokens"))


def look(context: Context) -> None:
    """Ask for usage that is missing and due. A try is used up when it begins: a look that fails is not made up for."""
    now = context.clock()
    with context.database.read() as session:
        if not interactions.is_owed(session, now):
            return
    waits = {tries: now + timedelta(seconds=wait_s) for tries, wait_s in enumerate(LATE_USAGE_S) if tries}
    with context.database.write() as session:
        owed = interactions.claim_owed(session, now, waits, AT_ONCE)
    if not owed:
        return
    by_id = {one.upstream_id: one for one in owed}
    with step("job.usage", claimed=len(owed)) as line:
        line["told"] = sum(_heard(context, by_id, answers) for answers in context.poller.fetch(list(by_id)))
    count("nightdesk_usage_looks_total", line["told"], outcome="told")
    count("nightdesk_usage_looks_total", len(owed) - line["told"], outcome="silent")


def owe(session: Session, job: Job, now: datetime) -> set[str]:
    """Keep places in the ledger for what a job that is to be deleted has used and not told yet; gives back their ids.

    The names of these entries are the interactions' own: nothing else is left of them.
    """
    owing = [one for one in interactions.of_job(session, job.id) if one.usage_due_at is not None]
    named = {one.upstream_id: one.turn for one in owing if one.upstream_id is not None}
    at = job.finished_at or now
    ledger.record(session, [_entry(job, name, turn, NOTHING, at) for name, turn in named.items()])
    return set(named)


def late(context: Context, upstream_id: str) -> bool:
    """Ask once what an interaction used whose job is deleted; whether it is known now."""
    answers = [answer for found in context.poller.fetch([upstream_id]) for answer in found]
    told = next((tokens for answer in answers if (tokens := read_tokens(_usage(answer))) is not None), None)
    if told is None:
        return False
    with context.database.write() as session:
        target = ledger.fill(session, upstream_id, told._asdict())
    if target is not None:
        tell(context, [{"target": target, **told._asdict()}])
    return True


def _heard(context: Context, by_id: Mapping[str, Owed], answers: Sequence[Answer]) -> int:
    """Record what these answers tell; gives back how many did."""
    throttled_s = [answer.retry_after_s or 0 for answer in answers if answer.kind is AnswerKind.THROTTLED]
    if throttled_s:
        gate.throttle_polls(context, max(throttled_s))
    found = [(by_id[answer.upstream_id], told) for answer in answers if (told := _usage(answer)) is not None]
    return sum(_recorded(context, group) for group in _groups(context, found))


def _groups(context: Context, found: Sequence[Told]) -> list[list[Told]]:
    """Those whose jobs have ended together; each other alone: a batch of polls holds running jobs in no order."""
    if not found:
        return []
    with context.database.read() as session:
        jobs_found = jobs.several(session, {one.job_id for one, _ in found})
    ended = {job.id for job in jobs_found.values() if job.status in TERMINAL}
    together = [pair for pair in found if pair[0].job_id in ended]
    return [group for group in (together, *([pair] for pair in found if pair[0].job_id not in ended)) if group]


def _recorded(context: Context, found: Sequence[Told]) -> int:
    """One that something unforeseen rejects must not cost its neighbours their tries."""
    try:
        return _record(context, found)
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 - recorded
        if len(found) > 1:
            return sum(_recorded(context, [one]) for one in found)
        crashed("job.usage", error, job_id=found[0][0].job_id)
        return 0


def _usage(answer: Answer) -> dict[str, Any] | None:
    """What the answer says was used; None where it says nothing of it."""
    told = read_usage(answer.body) if answer.body is not None else None
    return told if read_tokens(told) is not None else None


def _record(context: Context, found: Sequence[Told]) -> int:
    """Write down usage that came late: in the interaction, the ledger and the sum of the job, whatever its status."""
    now = context.clock()
    with context.database.write() as session:
        # First, as whoever settles, attaches or removes does: so that none of them waits for another's.
        owners = jobs.lock(session, {one.job_id for one, _ in found})
        changed = interactions.told(session, found)
        entries = [
            _entry(owner, one.token, one.turn, tokens, owner.finished_at or now)
            for one in changed
            if (owner := owners.get(one.job_id)) is not None and (tokens := read_tokens(one.usage)) is not None
        ]
        ledger.record(session, entries)
        sums = interactions.usages(session, {one.job_id for one in changed})
        jobs.set_usage(session, {job_id: _sum(usages) for job_id, usages in sums.items()})
    tell(context, entries)
    return len(entries)


def _sum(usages: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    return reduce(total, usages, None)


def _entry(job: Job, token: str, turn: int, tokens: Tokens, at: datetime) -> Entry:
    whose = {"project_id": job.project_id, "key_id": job.key_id, "conversation_id": job.conversation_id}
    what = {"job_id": job.id, "turn": turn, "kind": job.kind, "target": job.target, "at": at}
    return {"token": token, **whose, **what, **tokens._asdict()}
