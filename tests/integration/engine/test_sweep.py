"""The sweep: once a second whoever calls it, what is missing is hinted, and what is past its time is forgotten."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pytest

from tests.integration.engine.engine import Engine
from tests.integration.engine.hooks import Hooks
from worker import telemetry
from worker.app import CANCEL, DELIVER, POLL, START
from worker.errors import ArtifactStoreError, Conflict, Invalid, NotFound, Unavailable
from worker.flow import remove, sweep
from worker.models import Delivery, Event, Idempotency, Job, JobInput, Leftover, Result
from worker.store import counters

IMAGE = {"model": "gemini-3-pro-image", "input": "[[sim: images=1]]"}


def backlog(engine: Engine, task: str) -> int:
    waiting = engine.context.sender.backlog(task)
    assert waiting is not None
    return waiting


def silence(engine: Engine) -> None:
    """Lose every message, as with Redis."""
    engine.context.sender._redis.flushall()


def completed(engine: Engine, **fields: object) -> str:
    job_id = engine.started(**fields)
    engine.finish(job_id)
    engine.poll()
    assert engine.status(job_id) == "completed"
    return job_id


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_however_many_tick_one_sweeps_each_second(engine: Engine) -> None:
    barrier = Barrier(4)

    def tick(_: int) -> bool:
        barrier.wait(30)
        return sweep.tick(engine.context)

    with ThreadPoolExecutor(4) as threads:
        for _ in range(3):
            engine.clock.advance(1)
            assert sorted(threads.map(tick, range(4))) == [False, False, False, True]
    assert not sweep.tick(engine.context)


def test_lost_messages_are_sent_again(engine: Engine) -> None:
    queued, running, cancelling = engine.submit(), engine.started(), engine.started()
    engine.cancel(cancelling)
    silence(engine)

    engine.sweep(11)

    assert [backlog(engine, task) for task in (START, POLL, CANCEL)] == [1, 1, 1]
    assert [engine.status(job_id) for job_id in (queued, running)] == ["queued", "in_progress"]


def test_messages_that_wait_are_not_doubled(engine: Engine, hooks: Hooks) -> None:
    completed(engine, webhook_url=hooks.url())
    engine.cancel(engine.started())
    engine.submit()
    engine.started()
    silence(engine)

    for _ in range(3):
        engine.sweep(11)

    assert [backlog(engine, task) for task in (POLL, CANCEL, DELIVER)] == [1, 1, 1]


def test_polls_are_not_hinted_while_polling_is_closed(engine: Engine) -> None:
    engine.started()
    engine.control.fault("get", status=429, retry_after_s=60, count=1)
    engine.poll()
    silence(engine)

    engine.sweep(30)
    assert backlog(engine, POLL) == 0
    engine.sweep(30)

    assert backlog(engine, POLL) == 1


def test_nothing_is_hinted_where_nothing_is_due(engine: Engine) -> None:
    engine.started()
    silence(engine)

    engine.sweep()

    assert [backlog(engine, task) for task in (START, POLL, CANCEL, DELIVER)] == [0, 0, 0, 0]


def test_one_parts_trouble_does_not_keep_the_others_from_their_work(engine: Engine) -> None:
    overdue, due = engine.submit(queue_timeout_seconds=5), engine.submit(run_at=_soon(engine))
    database = engine.between("database")

    def away(*_: object) -> None:
        # The third write of a tick unparks, the fourth expires.
        if database.calls.count("write") == 3:
            raise Unavailable("the database does not answer")

    database.before["write"] = away
    engine.sweep(6)
    assert (engine.status(overdue), engine.status(due)) == ("expired", "scheduled")
    engine.sweep()

    assert engine.status(due) == "queued"


def test_a_part_that_crashes_does_not_keep_the_others_from_their_work(engine: Engine) -> None:
    overdue, queued = engine.submit(queue_timeout_seconds=5), engine.submit()
    silence(engine)

    def crash(*_: object) -> None:
        # The fourth write of a tick expires.
        if database.calls.count("write") == 4:
            raise RuntimeError("a bug")

    database = engine.between("database")
    database.before["write"] = crash
    engine.sweep(6)

    assert [engine.status(job_id) for job_id in (overdue, queued)] == ["queued", "queued"]
    assert backlog(engine, START) == 2


def _soon(engine: Engine) -> str:
    return (engine.clock() + timedelta(seconds=5)).isoformat()


def test_counts_survive_a_database_that_is_away(engine: Engine) -> None:
    telemetry.drain()
    telemetry.count("nightdesk_tests_total", 2)

    def away(*_: object) -> None:
        raise Unavailable("the database does not answer")

    database = engine.between("database")
    database.before["write"] = away
    with pytest.raises(Unavailable):
        engine.sweep()
    del database.before["write"]
    engine.sweep()

    stored = {counter.name: counter.value for counter in engine.read(counters.all_counters)}
    assert stored["nightdesk_tests_total"] == 2


def test_results_end_with_their_retention_and_take_their_artifacts_along(
    engine: Engine, artifacts_folder: Path
) -> None:
    short, long = completed(engine, **IMAGE, retention_days=1), completed(engine, **IMAGE, retention_days=2)
    assert len(files(artifacts_folder)) == 2

    engine.clock.advance(86_400)
    engine.sweep()

    assert [row.job_id for row in engine.rows(Result)] == [long]
    assert all(long in str(path) for path in files(artifacts_folder))
    assert engine.status(short) == "completed"


def test_artifacts_that_cannot_be_removed_hold_up_no_other_result(engine: Engine, artifacts_folder: Path) -> None:
    with_media = [completed(engine, **IMAGE, retention_days=1) for _ in range(2)]
    completed(engine, retention_days=1)

    def fail(*_: object) -> None:
        raise ArtifactStoreError("the artifact store refused a removal")

    artifacts = engine.between("artifacts")
    artifacts.before["remove"] = fail
    engine.clock.advance(86_400)
    engine.sweep()
    # A store that is away is asked no more than once.
    assert artifacts.calls == ["remove"]
    assert [row.job_id for row in engine.rows(Result)] == with_media[1:]
    engine.sweep(60)
    assert engine.rows(Result) == []
    remove.job(engine.context, engine.project_id, with_media[0])
    del artifacts.before["remove"]
    engine.sweep(3600)

    assert (files(artifacts_folder), engine.rows(Leftover)) == ([], [])


def test_jobs_deliveries_and_keys_end_with_theirs(engine: Engine, hooks: Hooks) -> None:
    job_id = engine.accept(engine.draft(webhook_url=hooks.url()), key="k").jobs[0].id
    engine.start(job_id)
    engine.finish(job_id)
    engine.poll()
    engine.deliver()

    engine.clock.advance(30 * 86_400)
    engine.sweep()
    assert (engine.deliveries(job_id), engine.results(job_id)) == ([], [])
    assert [event.payload for event in engine.rows(Event, job_id)] == [None] * 3
    engine.clock.advance(60 * 86_400)
    engine.sweep()
    engine.sweep(60)

    assert [engine.rows(table) for table in (Job, JobInput, Event, Delivery, Idempotency)] == [[]] * 5


def test_a_job_is_removed_everywhere_at_its_owners_wish(engine: Engine, hooks: Hooks, artifacts_folder: Path) -> None:
    job_id = completed(engine, **IMAGE, webhook_url=hooks.url())
    interaction_id = engine.job(job_id).interaction_id or ""

    remove.job(engine.context, engine.project_id, job_id)

    assert [engine.rows(table) for table in (Job, JobInput, Event, Result, Leftover)] == [[]] * 5
    assert [(left.status, left.url) for left in engine.rows(Delivery)] == [("cancelled", "")]
    assert files(artifacts_folder) == []
    assert engine.runs()[interaction_id]["deleted"]
    with pytest.raises(NotFound):
        remove.job(engine.context, engine.project_id, job_id)


def test_a_job_that_lives_or_is_needed_cannot_be_removed(engine: Engine) -> None:
    alive = engine.started()
    needed = completed(engine)
    engine.submit(previous_job_id=needed)

    for job_id in (alive, needed):
        with pytest.raises(Conflict):
            remove.job(engine.context, engine.project_id, job_id)
    with pytest.raises(NotFound):
        remove.job(engine.context, "prj_other", alive)

    assert {job.id for job in engine.rows(Job)} >= {alive, needed}


def test_nobody_can_build_on_a_job_that_is_being_removed(engine: Engine) -> None:
    job_id = completed(engine)
    refused: list[Exception] = []

    def build_on(_: object) -> None:
        with pytest.raises(Invalid) as caught:
            engine.submit(previous_job_id=job_id)
        refused.append(caught.value)

    engine.between("gemini").before["delete"] = build_on

    remove.job(engine.context, engine.project_id, job_id)

    assert len(refused) == 1


def test_an_interaction_that_cannot_be_deleted_now_is_deleted_later(engine: Engine) -> None:
    job_id = completed(engine)
    interaction_id = engine.job(job_id).interaction_id or ""
    engine.control.fault("delete", status=500, count=1)

    remove.job(engine.context, engine.project_id, job_id)

    assert engine.rows(Job) == []
    assert [left.name for left in engine.rows(Leftover)] == [interaction_id]
    assert not engine.runs()[interaction_id]["deleted"]

    engine.clock.advance(120)
    engine.sweep()

    assert engine.rows(Leftover) == []
    assert engine.runs()[interaction_id]["deleted"]
