"""Ids that come after their claim has ended: a paid one is attached or cancelled, never thrown away."""

from dataclasses import replace
from datetime import timedelta

from tests.integration.engine.engine import AGENT, Engine
from tests.integration.engine.losing import attach, claimed, paid
from worker.errors import Unavailable
from worker.gemini.client import Created
from worker.store import leftovers


def test_a_late_id_is_taken_while_the_job_is_unconfirmed(engine: Engine) -> None:
    job_id, token = claimed(engine, is_sent=True, agent=AGENT)
    sent_at = engine.job(job_id).sent_at
    engine.sweep(41)
    created = paid(engine)

    assert attach(engine, job_id, token, created) == "started"

    job = engine.job(job_id)
    assert (job.status, job.interaction_id, job.sent_at) == ("in_progress", created.upstream_id, sent_at)
    assert job.deadline_at is not None
    assert sent_at is not None
    assert (job.deadline_at - sent_at).total_seconds() == job.timeout_seconds


def test_a_late_id_is_an_orphan_when_another_attempt_runs(engine: Engine) -> None:
    job_id, token = claimed(engine, is_sent=True)
    engine.sweep(41)
    engine.sweep(11)
    assert engine.start(job_id) == "started"
    running = engine.job(job_id)
    created = paid(engine)

    assert attach(engine, job_id, token, created) == "orphan"

    engine.sweep()
    assert engine.job(job_id).interaction_id == running.interaction_id
    late = next(one for one in engine.interactions(job_id) if one.token == token)
    assert (late.upstream_id, late.orphan) == (created.upstream_id, True)
    engine.control.advance(5)
    assert engine.runs()[created.upstream_id]["status"] == "cancelled"
    assert engine.upstream_status(job_id) == "in_progress"


def test_a_late_id_of_a_failed_job_is_cancelled_upstream(engine: Engine) -> None:
    job_id, token = claimed(engine, is_sent=True, agent=AGENT)
    engine.sweep(41)
    engine.sweep(11)
    created = paid(engine)

    assert attach(engine, job_id, token, created) == "orphan"

    engine.sweep()
    assert engine.status(job_id) == "failed"
    engine.control.advance(5)
    assert engine.runs()[created.upstream_id]["status"] == "cancelled"


def test_an_orphan_whose_cancel_fails_is_cancelled_again(engine: Engine) -> None:
    job_id, token = claimed(engine, is_sent=True, agent=AGENT)
    engine.sweep(41)
    engine.sweep(11)
    created = paid(engine)
    engine.control.fault("cancel", status=500, count=2)

    attach(engine, job_id, token, created)
    for _ in range(3):
        engine.sweep(5)

    engine.control.advance(5)
    assert engine.runs()[created.upstream_id]["status"] == "cancelled"


def test_orphans_are_stopped_before_old_deletions_are_tried(engine: Engine) -> None:
    job_id, token = claimed(engine, is_sent=True, agent=AGENT)
    engine.sweep(41)
    engine.sweep(11)
    created = paid(engine)
    with engine.context.database.write() as session:
        leftovers.add(session, [(leftovers.INTERACTION, f"v1_{n}") for n in range(3)], engine.clock())
    attach(engine, job_id, token, created)

    with engine.context.database.write() as session:
        first = leftovers.take(session, engine.clock(), engine.clock() + timedelta(seconds=20))

    assert first is not None
    assert first.name.endswith(created.upstream_id)


def test_an_id_recorded_already_is_not_taken_for_an_orphan(engine: Engine) -> None:
    job_id = engine.started()
    (interaction,) = engine.interactions(job_id)
    created = Created(engine.job(job_id).interaction_id or "", "in_progress")

    # The commit was done and only its answer was lost, so the record is tried again.
    assert attach(engine, job_id, interaction.token, created) == "started"

    assert not engine.interactions(job_id)[0].orphan
    assert engine.count("cancel") == 0


def test_a_refusal_that_comes_late_proves_that_nothing_was_made(engine: Engine) -> None:
    job_id = engine.submit(agent=AGENT)
    engine.control.fault("create", status=429, retry_after_s=5)
    engine.between("gemini").before["create"] = lambda _: engine.sweep(41)

    assert engine.start(job_id) == "refused"

    job = engine.job(job_id)
    assert (job.status, job.attempt, engine.interactions(job_id)) == ("queued", 1, [])
    assert job.deadline_at is not None


def test_a_paid_id_is_written_down_when_the_database_comes_back(engine: Engine) -> None:
    job_id = engine.submit(agent=AGENT)
    began, whole = engine.clock(), engine.context.database
    database, gemini = engine.between("database"), engine.between("gemini")

    def away(*_: object) -> None:
        if (engine.clock() - began).total_seconds() < 120:
            raise Unavailable("the database does not answer")

    gemini.after["create"] = lambda _: database.before.update(write=away)

    assert engine.start(job_id) == "started"
    engine.context = replace(engine.context, database=whole)
    assert (engine.status(job_id), engine.count("create")) == ("in_progress", 1)


def test_a_record_that_never_succeeds_is_given_up_and_decided_by_the_sweep(engine: Engine) -> None:
    job_id, whole = engine.submit(), engine.context.database
    database, gemini = engine.between("database"), engine.between("gemini")

    def away(*_: object) -> None:
        raise Unavailable("the database does not answer")

    gemini.after["create"] = lambda _: database.before.update(write=away)

    assert engine.start(job_id) == "not_recorded"

    engine.context = replace(engine.context, database=whole)
    engine.sweep()
    assert engine.status(job_id) == "unconfirmed"
