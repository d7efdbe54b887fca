"""What the upstream keeps for a while only: told in time, and never built on when it is gone."""

from datetime import timedelta

import pytest

from tests.integration.engine.engine import Engine
from worker.errors import Invalid
from worker.flow import retention
from worker.flow.retention import Retention

DAY_S = 86_400


def ended(engine: Engine, days_ago: float = 0) -> str:
    """A completed job, whose interaction ended so long ago."""
    job_id = engine.started()
    engine.finish(job_id)
    engine.poll()
    engine.change(job_id, finished_at=engine.clock() - timedelta(days=days_ago))
    return job_id


def in_days(engine: Engine, days: float) -> str:
    return (engine.clock() + timedelta(days=days)).isoformat()


def notes(engine: Engine, job_id: str) -> list[str]:
    return [note for note in engine.job(job_id).notes if note.startswith(retention.TOLD)]


@pytest.mark.parametrize(("days", "warned_h"), [(55, 7 * 24), (28, 28 * 24 / 5), (7, 7 * 24 / 5), (1, 24 / 5)])
def test_a_warning_comes_a_week_before_the_end_or_when_a_fifth_is_left(days: int, warned_h: float) -> None:
    assert Retention(timedelta(days=days)).warns_before == timedelta(hours=warned_h)


@pytest.mark.parametrize(("days_ago", "is_told"), [(47.9, False), (48.1, True)])
def test_a_job_that_builds_on_what_is_gone_soon_is_told_so(engine: Engine, days_ago: float, *, is_told: bool) -> None:
    before = ended(engine, days_ago)

    by_job = engine.submit(previous_job_id=before)
    by_name = engine.submit(previous_interaction_id=engine.job(before).interaction_id)

    assert [len(notes(engine, name)) for name in (by_job, by_name)] == [int(is_told)] * 2
    if is_told:
        assert (engine.clock() + timedelta(days=55 - days_ago)).date().isoformat() in notes(engine, by_job)[0]


def test_what_is_gone_is_refused(engine: Engine) -> None:
    engine.set(upstream_retention_days=1)
    before = ended(engine, 1.1)

    for field, value in (("previous_job_id", before), ("previous_interaction_id", engine.job(before).interaction_id)):
        with pytest.raises(Invalid, match="past the upstream's retention") as refused:
            engine.submit(**{field: value})
        assert [fault.pointer for fault in refused.value.faults] == [f"/{field}"]


def test_a_time_at_which_it_will_be_gone_is_refused(engine: Engine) -> None:
    before = ended(engine, 50)

    engine.submit(previous_job_id=before, run_at=in_days(engine, 4.9))
    with pytest.raises(Invalid) as refused:
        engine.submit(previous_job_id=before, run_at=in_days(engine, 5.1))

    assert [fault.pointer for fault in refused.value.faults] == ["/run_at"]


def test_a_scheduled_job_is_told_once_before_its_chain_ends_and_fails_when_it_has(engine: Engine) -> None:
    before = engine.started()
    late = engine.submit(previous_job_id=before, run_at=in_days(engine, 60))
    follower = engine.submit(previous_job_id=late)
    engine.finish(before)
    engine.poll()
    engine.sweep(47 * DAY_S)
    assert (notes(engine, late), engine.status(late)) == ([], "scheduled")

    engine.sweep(1.5 * DAY_S)
    engine.sweep(retention.EVERY.total_seconds())
    assert (len(notes(engine, late)), engine.status(late)) == (1, "scheduled")
    engine.sweep(7 * DAY_S)

    assert [engine.error(name) for name in (late, follower)] == ["previous_job_failed"] * 2
    assert (engine.job(late).error or {})["message"] == retention.GONE
    assert engine.count("create") == 1


def test_a_queued_job_is_told_too_and_fails_instead_of_being_sent(engine: Engine) -> None:
    engine.set(upstream_retention_days=1)
    job_id = engine.submit(previous_job_id=ended(engine, 0.5), queue_timeout_seconds=90 * DAY_S)
    assert notes(engine, job_id) == []

    engine.sweep(0.4 * DAY_S)
    assert (len(notes(engine, job_id)), engine.status(job_id)) == (1, "queued")
    engine.pass_time(0.2 * DAY_S)

    assert engine.start(job_id) == "failed"
    assert (engine.error(job_id), engine.count("create")) == ("previous_job_failed", 1)


def test_a_job_past_its_first_turn_does_not_care_for_what_it_began_with(engine: Engine) -> None:
    job_id = engine.submit(previous_job_id=ended(engine, 54))
    engine.change(job_id, turn=2, notes=[])

    engine.sweep(10 * DAY_S / 24)

    assert notes(engine, job_id) == []
