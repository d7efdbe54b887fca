"""Clocks: of a run, of the queue, of an open action, and what ends when one of them runs out."""

from datetime import timedelta

import pytest

from tests.integration.engine.engine import AGENT, Engine

TOOLS = [{"type": "function", "name": "look", "parameters": {"type": "object"}}]


def overdue(engine: Engine) -> str:
    """A job past its deadline, found so by a poll."""
    job_id = engine.started(timeout_seconds=60)
    engine.pass_time(49)
    engine.poll(11)
    assert engine.status(job_id) == "cancelling"
    return job_id


def test_a_deadline_cancels_upstream_and_expires_the_job(engine: Engine) -> None:
    job_id = engine.started(timeout_seconds=60)
    engine.poll(58)
    assert engine.status(job_id) == "in_progress"

    engine.poll(2)
    assert engine.status(job_id) == "cancelling"
    engine.tell_upstream(job_id)
    engine.poll()

    job = engine.job(job_id)
    assert (job.status, engine.error(job_id), job.cancel_requested_at) == ("expired", "deadline_exceeded", None)
    assert engine.upstream_status(job_id) == "cancelled"
    assert engine.events(job_id)[-1] == "job.expired"


def test_a_result_that_arrives_before_the_deadlines_cancel_stands(engine: Engine) -> None:
    job_id = overdue(engine)
    engine.finish(job_id)

    engine.tell_upstream(job_id)
    engine.poll(1)

    assert (engine.status(job_id), engine.job(job_id).error) == ("completed", None)


def test_a_result_found_at_the_deadline_itself_stands(engine: Engine) -> None:
    job_id = engine.started(timeout_seconds=60)
    engine.finish(job_id)

    engine.poll(100)

    assert engine.status(job_id) == "completed"


def test_an_owner_who_cancels_after_the_deadline_has_cancelled(engine: Engine) -> None:
    job_id = overdue(engine)

    engine.cancel(job_id)
    engine.tell_upstream(job_id)
    engine.poll()

    assert engine.status(job_id) == "cancelled"


def test_a_run_that_outlives_its_deadlines_cancel_expires_the_job(engine: Engine) -> None:
    engine.control.fault("cancel", kind="ignored")
    job_id = overdue(engine)
    engine.tell_upstream(job_id)

    for _ in range(12):
        engine.poll()

    assert (engine.status(job_id), engine.job(job_id).notes) == ("expired", ["upstream_may_still_run"])


@pytest.mark.parametrize("fault", [{"status": 500}, {"kind": "close"}, {"status": 404}, {"status": 401}])
def test_a_deadline_holds_while_the_upstream_gives_no_answer(engine: Engine, fault: dict[str, object]) -> None:
    job_id = engine.started(timeout_seconds=60)
    engine.control.fault("get", **fault)  # type: ignore[arg-type]

    engine.poll(61)

    assert engine.status(job_id) == "cancelling"


def test_the_time_of_a_run_counts_from_its_post_and_not_from_its_submission(engine: Engine) -> None:
    job_id = engine.submit(timeout_seconds=60)
    engine.pass_time(10_000)

    engine.start(job_id)

    job = engine.job(job_id)
    assert job.deadline_at is not None
    assert (job.deadline_at - engine.clock()).total_seconds() == 60


def test_defaults_of_the_run_time_differ_by_kind(engine: Engine) -> None:
    agent, model = engine.submit(agent=AGENT), engine.submit()

    assert (engine.job(agent).timeout_seconds, engine.job(model).timeout_seconds) == (4200, 1800)


def test_a_job_that_waits_too_long_for_its_start_expires_and_nothing_is_spent(engine: Engine) -> None:
    job_id = engine.submit(queue_timeout_seconds=100)

    engine.sweep(99)
    assert engine.status(job_id) == "queued"
    engine.sweep()

    assert (engine.status(job_id), engine.error(job_id)) == ("expired", "deadline_exceeded")
    assert (engine.start(job_id), engine.count("create")) == ("nothing", 0)
    assert engine.events(job_id) == ["job.created", "job.expired"]


def test_the_queues_clock_starts_when_a_scheduled_job_is_queued(engine: Engine) -> None:
    run_at = engine.clock() + timedelta(days=300)
    job_id = engine.submit(run_at=run_at.isoformat(), queue_timeout_seconds=100)
    engine.sweep(10_000)
    assert engine.status(job_id) == "scheduled"

    engine.clock.now = run_at
    engine.sweep(0.95)

    job = engine.job(job_id)
    assert job.status == "queued"
    assert job.deadline_at is not None
    assert (job.deadline_at - engine.clock()).total_seconds() == 100


def test_an_action_that_is_never_answered_expires_the_job(engine: Engine) -> None:
    job_id = engine.started(tools=TOOLS, input="[[sim: status=requires_action]]", action_timeout_seconds=100)
    engine.finish(job_id)
    engine.poll()
    assert engine.status(job_id) == "requires_action"
    count = engine.count("get")

    engine.poll(98)
    engine.sweep()
    assert (engine.status(job_id), engine.count("get")) == ("requires_action", count)
    engine.sweep()

    assert (engine.status(job_id), engine.error(job_id)) == ("expired", "deadline_exceeded")


def test_a_job_held_by_a_gate_still_expires(engine: Engine) -> None:
    job_id = engine.submit(queue_timeout_seconds=100)
    engine.control.fault("create", status=429, retry_after_s=3600)
    engine.start(job_id)

    engine.sweep(100)

    assert engine.status(job_id) == "expired"
