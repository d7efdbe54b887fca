"""Forget: what is past its retention, each minute for a moment, so that nobody who writes waits for long.

What lies in one row may be kilobytes or megabytes, and SQLite keeps all others from writing while it is taken away: so
there a transaction takes as many rows as the one before it shows to be quick.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from time import monotonic

from sqlmodel import Session

from worker.context import Context
from worker.flow import remove
from worker.store import (
    audit,
    holdings,
    interactions,
    leftovers,
    moments,
    removals,
    results,
    usage,
    waiting,
)

AT_ONCE = 500
EVERY = timedelta(minutes=1)
LASTS_S = 1.0
"""How long one call goes on with it: the other parts of a sweep wait meanwhile."""

FIRST, LOCKED_S = 10, 0.05
"""With SQLite: how many heavy rows the first transaction takes, and how long each may last."""

STORE_CALLS = 50
"""Artifact folders removed in one go: an object store far away must not hold up the sweep."""

AUDITED = 5000
"""Entries of the audit log pruned at once: each is one small row."""


def prune(context: Context) -> None:
    """What is past its retention: each minute a batch, and more for a moment where there is more."""
    now = context.clock()
    with context.database.write() as session:
        if not moments.win(session, moments.PRUNE, now=now, before=now - EVERY):
            return
    give_up = monotonic() + LASTS_S
    has_more = True
    while has_more and monotonic() < give_up:
        has_more = any([_heavy(context, now, give_up), _light(context, now)])


def _heavy(context: Context, now: datetime, give_up: float) -> bool:
    """A batch of results, jobs and what was told of them; whether there may be more."""
    settings = context.settings
    kept_since = now - timedelta(days=settings.job_retention_days)
    results_since = now - timedelta(days=settings.result_retention_days)
    with context.database.read() as session:
        without_result = results.expired(session, now, AT_ONCE)
        old = removals.old_jobs(session, kept_since, AT_ONCE)
        told = removals.old_payloads(session, results_since, AT_ONCE)
    bare = [job_id for job_id, has_artifacts in without_result.items() if not has_artifacts]
    with_artifacts = [job_id for job_id, has_artifacts in without_result.items() if has_artifacts][:STORE_CALLS]
    cleared = remove.artifacts(context, with_artifacts, give_up)
    _in_parts(context, [*bare, *cleared], removals.results, give_up)
    _in_parts(context, old, partial(_jobs, context, now), give_up)
    _in_parts(context, told, removals.payloads, give_up)
    return AT_ONCE in {len(bare), len(old), len(told)}


def _jobs(context: Context, now: datetime, session: Session, job_ids: Sequence[str]) -> None:
    """Where jobs are kept for less time than the upstream keeps what they made, that goes with them."""
    since = now - timedelta(days=context.settings.upstream_retention_days)
    kept = interactions.kept_upstream(session, job_ids, since)
    leftovers.add(session, [(leftovers.INTERACTION, name) for name in kept], now)
    removals.jobs(session, job_ids)


def _in_parts(
    context: Context, names: Sequence[str], forget: Callable[[Session, Sequence[str]], None], give_up: float
) -> None:
    """Forget these in transactions that are short, whatever lies in the rows; some of them at least."""
    size = FIRST if context.database.is_sqlite else AT_ONCE
    while names:
        part, names = names[:size], names[size:]
        with context.database.write() as session:
            # Begun first: the wait for the lock, like the commit, is as long for one row as for many.
            session.connection()
            began = monotonic()
            forget(session, part)
            took_s = monotonic() - began
        if monotonic() > give_up:
            return
        if context.database.is_sqlite:
            size = next_size(size, took_s)
            if took_s > LOCKED_S / 2:
                # Whoever waits for the lock sleeps between his tries: he must find it free.
                context.pause(took_s)


def next_size(size: int, took_s: float) -> int:
    """How many rows the next transaction takes, where this one took so long for `size` of them."""
    return max(1, min(AT_ONCE, int(size * LOCKED_S / max(took_s, LOCKED_S / AT_ONCE))))


def _light(context: Context, now: datetime) -> bool:
    """A batch of everything else, in short transactions; whether there may be more."""
    settings = context.settings
    kept_since = now - timedelta(days=settings.job_retention_days)
    results_since = now - timedelta(days=settings.result_retention_days)
    with context.database.write() as session:
        found = {removals.old_deliveries(session, results_since, AT_ONCE)}
        waiting.give_up(session, now, AT_ONCE)
    with context.database.write() as session:
        found.add(removals.old_keys(session, kept_since, now, AT_ONCE))
        holdings.prune(session, now, AT_ONCE)
    with context.database.write() as session:
        found.add(usage.forget(session, now - timedelta(days=settings.usage_retention_days), AT_ONCE))
        audited = audit.forget(session, now - timedelta(days=settings.audit_retention_days), AUDITED)
    return AT_ONCE in found or audited == AUDITED
