"""Usage that is told late: it is asked for again, for as long as it may come, by one worker at a time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from tests.integration.engine.engine import AGENT, Engine, Killed
from tests.integration.engine.ledgers import NEVER, entries, silent, tell, told
from worker.errors import Unavailable
from worker.flow import attempt, poll, remove, usage
from worker.flow.attempt import Attempt
from worker.gemini.client import Created
from worker.models import Leftover, UsageEntry
from worker.retry import LATE_USAGE_S


def test_usage_told_late_reaches_interaction_job_and_ledger(engine: Engine) -> None:
    job_id = silent(engine)
    assert (told(engine, job_id), entries(engine, job_id)) == (None, [])
    before = engine.job(job_id)

    tell(engine, job_id)
    engine.poll(LATE_USAGE_S[0])

    job = engine.job(job_id)
    (interaction,), (entry,) = engine.interactions(job_id), entries(engine, job_id)
    assert job.usage == interaction.usage
    assert entry.total_tokens == told(engine, job_id)
    assert entry.at == job.finished_at
    assert interaction.usage_due_at is None
    assert (job.status, job.finished_at, job.sequence) == (before.status, before.finished_at, before.sequence)
    assert engine.events(job_id) == ["job.created", "job.started", "job.completed"]


def test_it_is_asked_for_at_growing_distances_and_then_given_up(engine: Engine) -> None:
    job_id = silent(engine)
    engine.poll(0)
    looks = engine.count("get")

    for number, wait_s in enumerate(LATE_USAGE_S, start=1):
        engine.poll(wait_s - 1)
        assert engine.count("get") == looks + number - 1
        engine.poll(1)
        assert engine.count("get") == looks + number
    tell(engine, job_id)
    engine.poll(1_000_000)

    assert engine.count("get") == looks + len(LATE_USAGE_S)
    (interaction,) = engine.interactions(job_id)
    assert (interaction.usage, interaction.usage_due_at) == (None, None)


def test_a_failed_and_a_cancelled_run_may_tell_late(engine: Engine) -> None:
    failed, cancelled = engine.started(max_attempts=1), engine.started()
    engine.finish(failed, status="failed", code="internal", usage_late_s=NEVER)
    engine.control.direct(engine.job(cancelled).interaction_id or "", usage_late_s=NEVER)
    engine.cancel(cancelled)
    engine.tell_upstream(cancelled)
    engine.poll()
    assert [engine.status(job_id) for job_id in (failed, cancelled)] == ["failed", "cancelled"]

    for job_id in (failed, cancelled):
        assert told(engine, job_id) is None
        tell(engine, job_id)
    engine.poll(LATE_USAGE_S[0])

    for job_id in (failed, cancelled):
        assert [entry.total_tokens for entry in entries(engine, job_id)] == [told(engine, job_id)]


def test_a_run_that_outlives_its_cancelled_job_is_asked_for_what_it_used(engine: Engine) -> None:
    job_id = engine.started()
    engine.control.fault("cancel", kind="ignored")
    engine.cancel(job_id)
    engine.tell_upstream(job_id)
    for _ in range(12):
        engine.poll()
    assert (engine.status(job_id), engine.job(job_id).notes) == ("cancelled", [poll.MAY_STILL_RUN])

    engine.poll(LATE_USAGE_S[0])
    assert entries(engine, job_id) == []
    engine.finish(job_id)
    engine.poll(LATE_USAGE_S[1])

    assert [entry.total_tokens for entry in entries(engine, job_id)] == [told(engine, job_id)]


def test_an_orphan_is_paid_for_by_the_job_that_bought_it(engine: Engine) -> None:
    job_id = engine.submit(agent=AGENT)
    engine.control.fault("create", kind="lost", count=1)
    assert engine.start(job_id) == "failed"
    (lost,) = engine.interactions(job_id)
    (run,) = engine.runs()
    attempt.attach(engine.context, [Attempt(job_id, lost.token, Created(run, "in_progress"))])
    engine.sweep()
    engine.control.advance(10)

    engine.poll(LATE_USAGE_S[0])

    (entry,) = entries(engine, job_id)
    assert (engine.runs()[run]["status"], entry.token) == ("cancelled", lost.token)
    assert engine.status(job_id) == "failed"
    assert entry.total_tokens == told(engine, job_id)


def test_an_earlier_turn_may_tell_after_a_later_one(engine: Engine) -> None:
    job_id = engine.started(max_attempts=2)
    first = engine.job(job_id).interaction_id or ""
    engine.finish(job_id, status="failed", code="internal", usage_late_s=NEVER)
    engine.poll()
    engine.start(job_id)
    engine.finish(job_id)
    engine.poll()
    alone = told(engine, job_id)

    engine.control.direct(first, usage_late_s=0)
    engine.poll(LATE_USAGE_S[1])

    found = entries(engine, job_id)
    assert (engine.status(job_id), len(found)) == ("completed", 2)
    assert told(engine, job_id) == sum(entry.total_tokens for entry in found)
    assert alone == found[1].total_tokens


def test_what_an_earlier_turn_tells_while_a_later_one_settles_is_not_lost(engine: Engine) -> None:
    job_id = engine.started(model="gemini-3-pro-image", input="[[sim: images=1]]", max_attempts=2)
    first = engine.job(job_id).interaction_id or ""
    engine.finish(job_id, status="failed", code="internal", usage_late_s=NEVER)
    engine.poll()
    engine.start(job_id)
    engine.finish(job_id)
    engine.control.direct(first, usage_late_s=0)
    artifacts = engine.between("artifacts")

    def tell_first(*_: object) -> None:
        artifacts.before.clear()
        usage.look(engine.context)

    artifacts.before["put"] = tell_first
    engine.poll()

    found = entries(engine, job_id)
    assert (engine.status(job_id), len(found)) == ("completed", 2)
    assert told(engine, job_id) == sum(entry.total_tokens for entry in found)


def test_of_several_workers_one_asks(engine: Engine) -> None:
    silent_ones = [engine.started() for _ in range(3)]
    for job_id in silent_ones:
        engine.finish(job_id, usage_late_s=NEVER)
    engine.poll()
    for job_id in silent_ones:
        tell(engine, job_id)
    engine.pass_time(LATE_USAGE_S[0])
    looks, gate = engine.count("get"), Barrier(3)

    def look() -> None:
        gate.wait(30)
        usage.look(engine.context)

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(look) for _ in range(3)]:
            done.result()

    assert engine.count("get") == looks + 3
    assert [len(entries(engine, job_id)) for job_id in silent_ones] == [1, 1, 1]


def test_a_look_that_dies_costs_one_try(engine: Engine) -> None:
    job_id = silent(engine)
    tell(engine, job_id)
    engine.pass_time(LATE_USAGE_S[0])
    poller = engine.between("poller")

    def die(_: object) -> None:
        poller.before.clear()
        raise Killed

    poller.before["fetch"] = die
    with pytest.raises(Killed):
        usage.look(engine.context)
    engine.poll(LATE_USAGE_S[1])

    assert [entry.total_tokens for entry in entries(engine, job_id)] == [told(engine, job_id)]


@pytest.mark.parametrize("trouble", [{"status": 500}, {"status": 404}, {"status": 429}, {"kind": "html"}])
def test_trouble_upstream_only_costs_a_try(engine: Engine, trouble: dict[str, Any]) -> None:
    job_id = silent(engine)
    tell(engine, job_id)
    engine.control.fault("get", count=1, **trouble)
    engine.poll(LATE_USAGE_S[0])
    assert entries(engine, job_id) == []

    engine.poll(300)

    assert [entry.total_tokens for entry in entries(engine, job_id)] == [told(engine, job_id)]


def test_nobody_is_asked_while_the_upstream_wants_fewer_requests(engine: Engine) -> None:
    running, job_id = engine.started(), silent(engine)
    tell(engine, job_id)
    engine.control.fault("get", status=429, retry_after_s=60, count=1)

    engine.poll()
    looks = engine.count("get")
    engine.poll(30)

    assert engine.count("get") == looks
    assert engine.status(running) == "in_progress"
    engine.poll(60)
    assert len(entries(engine, job_id)) == 1


def test_one_that_cannot_be_recorded_does_not_cost_its_neighbours_their_try(
    engine: Engine, said: Callable[[], str]
) -> None:
    several = [engine.started() for _ in range(2)]
    for job_id in several:
        engine.finish(job_id, usage_late_s=NEVER)
    engine.poll()
    for job_id in several:
        tell(engine, job_id)
    engine.pass_time(LATE_USAGE_S[0])
    # The claim, both together, and each alone.
    writes = [None, RuntimeError("odd"), RuntimeError("odd"), None]

    def fail() -> None:
        error = writes.pop(0)
        if error:
            raise error

    engine.between("database").before["write"] = fail
    usage.look(engine.context)

    assert sorted(len(entries(engine, job_id)) for job_id in several) == [0, 1]
    assert "crashed" in said()


def test_a_job_deleted_meanwhile_is_no_trouble(engine: Engine) -> None:
    job_id = silent(engine)
    tell(engine, job_id)
    poller = engine.between("poller")

    def delete(_: object) -> None:
        poller.before.clear()
        remove.job(engine.context, engine.project_id, job_id)

    poller.before["fetch"] = delete
    engine.poll(LATE_USAGE_S[0])

    (entry,) = engine.rows(UsageEntry)
    assert entry.total_tokens > 0


def test_what_a_deleted_job_used_is_asked_for_before_it_is_deleted_upstream(engine: Engine) -> None:
    """Or whoever deletes at once spends what no quota sees."""
    job_id = silent(engine)
    name = engine.job(job_id).interaction_id or ""
    remove.job(engine.context, engine.project_id, job_id)
    assert [entry.total_tokens for entry in entries(engine, job_id)] == [0]
    assert not engine.runs()[name]["deleted"]

    engine.control.direct(name, usage_late_s=0)
    engine.sweep(LATE_USAGE_S[0])

    (entry,) = entries(engine, job_id)
    assert entry.total_tokens > 0
    assert engine.runs()[name]["deleted"]
    assert engine.rows(Leftover) == []


def test_a_deleted_job_that_never_tells_is_deleted_upstream_all_the_same(engine: Engine) -> None:
    job_id = silent(engine)
    name = engine.job(job_id).interaction_id or ""

    remove.job(engine.context, engine.project_id, job_id)
    engine.sweep(LATE_USAGE_S[0])
    engine.sweep(LATE_USAGE_S[1])

    assert engine.runs()[name]["deleted"]
    assert engine.rows(Leftover) == []


def test_a_sweep_hints_a_poll_for_usage_that_is_due(engine: Engine) -> None:
    silent(engine)
    sender = engine.between("sender")
    sender.instead["backlog"] = lambda _: 0
    sent: list[Any] = []
    sender.instead["send"] = sent.extend

    engine.sweep(1)
    assert sent == []
    engine.sweep(LATE_USAGE_S[0])

    assert [hint.task for hint in sent] == ["job.poll"]


def test_a_database_that_is_away_costs_one_try(engine: Engine) -> None:
    job_id = silent(engine)
    tell(engine, job_id)
    engine.pass_time(LATE_USAGE_S[0])
    database = engine.between("database")
    writes = [None, Unavailable("away")]

    def fail() -> None:
        error = writes.pop(0) if writes else None
        if error:
            raise error

    database.before["write"] = fail
    with pytest.raises(Unavailable):
        usage.look(engine.context)
    engine.poll(LATE_USAGE_S[1])

    assert [entry.total_tokens for entry in entries(engine, job_id)] == [told(engine, job_id)]
