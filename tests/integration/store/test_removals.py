"""What is forgotten when its time is over, and what is kept although it is old."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import Session, select

from tests import factories
from tests.factories import DAY, NOW
from tests.integration.store.conftest import Store
from tests.waiting import eventually
from worker import ids
from worker.models import Delivery, DeliveryAttempt, Event, Idempotency, Job, Result
from worker.store import jobs, removals, results, submissions

OLD = NOW - 100 * DAY
LIMIT = 100


def add_result(store: Store, job_id: str, turn: int = 1, *, ends: datetime = NOW - DAY, media: bool = False) -> None:
    outcome: dict[str, Any] = {"output_text": "Hello.", "artifacts": [{"id": 0}] if media else []}
    store.write(results.add, job_id, turn, outcome=outcome, raw=b"{}", now=NOW, expires_at=ends)


def old_jobs(store: Store) -> list[str]:
    return store.read(removals.old_jobs, NOW - 90 * DAY, LIMIT)


def test_jobs_that_ended_long_ago_are_old(store: Store) -> None:
    old = store.add(status="completed", finished_at=OLD)
    store.add(status="completed", finished_at=NOW)
    store.add(status="in_progress", created_at=OLD)

    assert old_jobs(store) == [old]


def test_an_old_job_is_kept_while_it_has_a_result_or_a_live_job_builds_on_it(store: Store) -> None:
    with_result = store.add(status="completed", finished_at=OLD)
    add_result(store, with_result, ends=NOW + DAY)
    needed = store.add(status="completed", finished_at=OLD)
    store.add(status="scheduled", previous_job_id=needed)
    done_with = store.add(status="completed", finished_at=OLD)
    store.add(status="completed", previous_job_id=done_with, finished_at=NOW)

    assert old_jobs(store) == [done_with]


def test_a_removed_job_leaves_nothing_behind_but_its_deliveries_end(store: Store) -> None:
    gone, kept = (store.add(status="completed", finished_at=OLD) for _ in range(2))
    for job_id in (gone, kept):
        add_result(store, job_id)
        with store.database.write() as session:
            made = factories.delivery(session, session.get_one(Job, job_id))
            attempt: dict[str, Any] = {"number": 1, "at": NOW, "outcome": "ok", "latency_ms": 1, "snippet": ""}
            session.add(DeliveryAttempt(delivery_id=made.id, **attempt))

    store.write(removals.job, gone)

    def owners(session: Session) -> list[set[str]]:
        columns = (Job.id, Result.job_id, Event.job_id)
        return [set(session.exec(select(column))) for column in columns]

    def ends(session: Session) -> set[tuple[str, str, bool]]:
        return {(one.job_id, one.status, bool(one.url)) for one in session.exec(select(Delivery))}

    assert store.read(owners) == [{kept}] * 3
    assert store.read(ends) == {(kept, "pending", True), (gone, "cancelled", False)}
    assert store.read(lambda session: len(session.exec(select(DeliveryAttempt)).all())) == 1


def test_results_expire_together_and_only_when_their_job_has_ended(store: Store) -> None:
    ended, alive = store.add(status="completed", finished_at=NOW), store.add(status="requires_action")
    later = store.add(status="completed", finished_at=NOW)
    for job_id in (ended, alive, later):
        add_result(store, job_id, turn=1, media=job_id == ended)
        add_result(store, job_id, turn=2)
    add_result(store, later, turn=3, ends=NOW + DAY)

    assert store.read(results.expired, NOW, LIMIT) == {ended: True}


def test_payloads_and_deliveries_are_forgotten_but_not_those_under_way(store: Store) -> None:
    job_id = store.add(status="completed", finished_at=NOW)
    long_ago = ids.new("dlv", OLD)
    with store.database.write() as session:
        job = session.get_one(Job, job_id)
        waiting = factories.delivery(session, job, id=ids.new("dlv", OLD))
        done = factories.delivery(session, job, id=long_ago, status="delivered")
        fresh = factories.delivery(session, job, status="delivered")
        for event_id in (waiting.event_id, done.event_id):
            session.get_one(Event, event_id).created_at = OLD
        kept, names = {waiting.event_id, fresh.event_id}, {waiting.id, fresh.id}

    before = NOW - 30 * DAY

    told = store.read(removals.old_payloads, before, LIMIT)
    assert told == [done.event_id]
    store.write(removals.payloads, [*told, waiting.event_id])
    assert store.write(removals.old_deliveries, before, LIMIT) == 1
    assert {event.id for event in store.events(job_id) if event.payload} == kept
    assert {delivery.id for delivery in store.deliveries(job_id)} == names


def test_an_idempotency_key_lives_as_long_as_its_job(store: Store) -> None:
    job_id = store.add()

    def reserve(key: str, job: str, created_at: datetime) -> None:
        entry = Idempotency(
            project_id=store.project_id, path="/p", key=key, digest="d", job_ids=[job], created_at=created_at
        )
        assert store.write(submissions.reserve, entry) is None

    reserve("of a live job", job_id, OLD)
    reserve("of a job long gone", "job_gone", OLD)
    reserve("of a job just deleted", "job_gone", NOW - timedelta(days=1))

    removed = store.write(removals.old_keys, NOW - 90 * DAY, NOW, LIMIT)

    assert removed == 1
    assert store.read(lambda session: {row.key for row in session.exec(select(Idempotency))}) == {
        "of a live job",
        "of a job just deleted",
    }


def test_what_was_asked_goes_from_the_events_with_the_result(store: Store) -> None:
    job_id = store.add(status="completed", finished_at=NOW)
    calls = {"type": "function_calls", "function_calls": [{"id": "c", "name": "look", "arguments": {"at": "secret"}}]}
    asked = {"status": "requires_action", "turn": 1, "required_action": calls}
    with store.database.write() as session:
        row: dict[str, Any] = {"id": ids.new("evt"), "project_id": store.project_id, "job_id": job_id, "sequence": 1}
        session.add(Event(**row, type="job.requires_action", created_at=NOW, data=asked))

    store.write(removals.results, [job_id])

    assert [event.data for event in store.events(job_id)] == [{"status": "requires_action", "turn": 1}]


@pytest.mark.parametrize("prune", [removals.results, removals.jobs])
def test_pruning_and_an_owner_who_deletes_the_same_job_wait_for_each_other(
    store: Store, prune: Callable[[Session, list[str]], None]
) -> None:
    job_id = store.add(status="completed", finished_at=OLD)
    add_result(store, job_id)
    with store.database.write() as session:
        factories.delivery(session, session.get_one(Job, job_id), status="delivered")
    pruner = store.open()

    def run() -> None:
        with pruner.write() as session:
            prune(session, [job_id])

    def waits() -> int:
        with store.database.read() as session:
            waiting: int = session.execute(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one()
        return waiting

    with ThreadPoolExecutor(1) as threads:
        with store.database.write() as session:
            jobs.locked(session, job_id)
            pruning = threads.submit(run)
            if not store.database.is_sqlite:
                eventually(waits)
            removals.job(session, job_id)
        pruning.result(30)

    assert store.events(job_id) == []
