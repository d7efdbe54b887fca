"""Chains: jobs that wait for another, are released by its completion and fail with any other end."""

from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from threading import Barrier

import pytest
from sqlmodel import Session

from tests import factories
from tests.integration.engine.engine import MODEL, Engine
from worker.errors import Invalid
from worker.flow import chain, claim
from worker.flow.end import end as ending
from worker.models import Job
from worker.states import Status
from worker.store import moves, submissions

CHAIN = 300


def end(engine: Engine, job_id: str, status: str = "completed") -> None:
    engine.finish(job_id, status=status)
    engine.poll()


def test_a_job_waits_for_its_predecessor_and_goes_on_in_its_conversation(engine: Engine) -> None:
    first = engine.started()
    second = engine.submit(previous_job_id=first)

    assert (engine.status(second), engine.job(second).due_at) == ("scheduled", None)
    assert engine.start(second) == "nothing"
    end(engine, first)

    assert engine.status(second) == "queued"
    assert engine.start(second) == "started"
    run = engine.runs()[engine.job(second).interaction_id or ""]
    assert run["previous_interaction_id"] == engine.job(first).interaction_id
    assert engine.job(second).conversation_id == engine.job(first).conversation_id == first


@pytest.mark.parametrize("status", ["failed", "incomplete", "budget_exceeded", "cancelled"])
def test_any_other_end_fails_who_waits(engine: Engine, status: str) -> None:
    first = engine.started(max_attempts=1)
    second = engine.submit(previous_job_id=first, webhook_url="https://hooks.example/in")
    third = engine.submit(previous_job_id=second)

    end(engine, first, status)

    assert [engine.error(job_id) for job_id in (second, third)] == ["previous_job_failed"] * 2
    assert status in (engine.job(second).error or {})["message"]
    assert engine.events(second) == ["job.created", "job.failed"]
    assert len(engine.deliveries(second)) == 1


def seems_to_end(engine: Engine, job_id: str) -> None:
    """The run shows as completed to who asks for it, and as running to who builds on it."""
    text = [{"type": "text", "text": "Done."}]
    shown = {"status": "completed", "steps": [{"type": "model_output", "content": text}]}
    engine.control.direct(engine.job(job_id).interaction_id or "", body=shown)
    engine.poll()


def test_who_builds_on_a_run_too_soon_is_tried_again(engine: Engine) -> None:
    first = engine.started()
    second = engine.submit(previous_job_id=first)
    seems_to_end(engine, first)

    assert (engine.status(first), engine.start(second)) == ("completed", "refused")
    assert engine.interactions(second) == []
    assert engine.gate(MODEL) is None
    engine.finish(first)
    engine.pass_time(2)
    assert engine.start(second) == "started"


def test_who_can_never_build_on_a_run_fails_after_some_minutes(engine: Engine) -> None:
    first = engine.started()
    second = engine.submit(previous_job_id=first)
    seems_to_end(engine, first)

    outcomes = []
    while (outcome := engine.start(second)) == "refused":
        outcomes.append(outcome)
        engine.pass_time(2 ** len(outcomes))

    assert (len(outcomes), outcome, engine.error(second)) == (8, "failed", "upstream_rejected")


def waiting_chain(engine: Engine, first: str, length: int) -> list[str]:
    """Jobs that wait for one another, the first of them for `first`."""
    with engine.context.database.write() as session:
        rows: list[Job] = []
        for number in range(length):
            before = rows[-1].id if rows else first
            name = f"job_x{number:05}"
            waiting = {"status": "scheduled", "previous_job_id": before, "target": MODEL}
            rows.append(factories.job(engine.project_id, id=name, **waiting))
        session.add_all(rows)
        return [row.id for row in rows]


def test_a_completion_releases_one_link_of_a_long_chain(engine: Engine) -> None:
    first = engine.started()
    links = waiting_chain(engine, first, CHAIN)

    end(engine, first)

    assert [engine.status(links[0]), engine.status(links[1]), engine.status(links[-1])] == [
        "queued",
        "scheduled",
        "scheduled",
    ]


def test_a_failure_runs_through_a_chain_of_three_hundred(engine: Engine) -> None:
    first = engine.started(max_attempts=1)
    links = waiting_chain(engine, first, CHAIN)

    end(engine, first, "failed")

    assert {engine.status(job_id) for job_id in links} == {"failed"}
    assert engine.events(links[-1]) == ["job.failed"]


def test_what_one_transaction_leaves_of_a_chain_the_sweep_finds(engine: Engine) -> None:
    first = engine.started(max_attempts=1)
    links = waiting_chain(engine, first, chain.AT_ONCE + 50)

    end(engine, first, "failed")
    assert engine.status(links[-1]) == "scheduled"
    engine.sweep()
    engine.sweep(10)

    assert {engine.status(job_id) for job_id in links} == {"failed"}


def test_three_hundred_jobs_go_on_from_one_another_to_the_last(engine: Engine) -> None:
    links = [engine.submit()]
    links += waiting_chain(engine, links[0], CHAIN - 1)

    for number, job_id in enumerate(links):
        assert engine.status(job_id) == "queued"
        complete(engine, job_id, f"v1_{number}")

    assert {engine.status(job_id) for job_id in links} == {"completed"}
    last = engine.submit(previous_job_id=links[-1])
    assert claim.claim(engine.context, [last])[0].body["previous_interaction_id"] == f"v1_{CHAIN - 1}"


def complete(engine: Engine, job_id: str, interaction_id: str) -> None:
    """Take a queued job to its end, as a worker and the upstream would."""
    now, own = engine.clock(), {"interaction_id": interaction_id}
    with engine.context.database.write() as session:
        for source, target, values in (
            (Status.QUEUED, Status.STARTING, {}),
            (Status.STARTING, Status.IN_PROGRESS, own),
        ):
            assert moves.move(session, job_id, sources={source}, target=target, now=now, values=values)
        assert ending(session, job_id, sources={Status.IN_PROGRESS}, target=Status.COMPLETED, now=now)


def test_all_who_wait_for_one_job_are_released(engine: Engine) -> None:
    first = engine.started()
    others = [engine.submit(previous_job_id=first) for _ in range(5)]

    end(engine, first)

    assert [engine.status(job_id) for job_id in others] == ["queued"] * 5


def test_a_released_job_still_waits_for_its_time(engine: Engine) -> None:
    first = engine.started()
    run_at = engine.clock() + timedelta(seconds=1000)
    second = engine.submit(previous_job_id=first, run_at=run_at.isoformat())

    engine.sweep(500)
    end(engine, first)
    assert (engine.status(second), engine.job(second).due_at) == ("scheduled", run_at)
    engine.sweep(490)

    assert engine.status(second) == "queued"


def test_a_time_that_comes_first_does_not_release_who_waits(engine: Engine) -> None:
    first = engine.started()
    second = engine.submit(previous_job_id=first, run_at=(engine.clock() + timedelta(seconds=5)).isoformat())

    engine.sweep(100)

    assert engine.status(second) == "scheduled"
    end(engine, first)
    assert engine.status(second) == "queued"


def test_a_scheduled_job_starts_when_its_time_has_come(engine: Engine) -> None:
    run_at = engine.clock() + timedelta(seconds=100)
    job_id = engine.submit(run_at=run_at.isoformat())

    engine.sweep(99)
    assert (engine.status(job_id), engine.start(job_id)) == ("scheduled", "nothing")
    engine.sweep()

    assert (engine.status(job_id), engine.start(job_id)) == ("queued", "started")


def test_a_time_in_the_past_is_now(engine: Engine) -> None:
    job_id = engine.submit(run_at="2020-01-01T00:00:00Z")

    assert engine.status(job_id) == "queued"


def test_a_predecessor_that_ended_with_an_interaction_is_built_on_whatever_its_end(engine: Engine) -> None:
    first = engine.started()
    end(engine, first, "incomplete")

    second = engine.submit(previous_job_id=first)

    assert (engine.status(second), engine.start(second)) == ("queued", "started")


def test_a_predecessor_that_cannot_be_built_on_is_refused(engine: Engine) -> None:
    never_sent = engine.submit()
    engine.cancel(never_sent)
    old = engine.started()
    end(engine, old)
    engine.change(old, finished_at=engine.clock() - timedelta(days=55))
    foreign = engine.started()
    with engine.context.database.write() as session:
        other = factories.project(session, "another")
    engine.change(foreign, project_id=other.id)

    for job_id in (never_sent, old, foreign, "job_of_nobody", "job_\x00"):
        with pytest.raises(Invalid) as refused:
            engine.submit(previous_job_id=job_id)
        assert [fault.pointer for fault in refused.value.faults] == ["/previous_job_id"]


def test_an_interaction_of_another_project_cannot_be_named(engine: Engine) -> None:
    mine, foreign = engine.started(), engine.started()
    with engine.context.database.write() as session:
        other = factories.project(session, "another")
    engine.change(foreign, project_id=other.id)

    second = engine.submit(previous_interaction_id=engine.job(mine).interaction_id)

    assert engine.job(second).conversation_id == mine
    for name in (engine.job(foreign).interaction_id, "v1_\x00"):
        with pytest.raises(Invalid, match="no such interaction"):
            engine.submit(previous_interaction_id=name)


def test_a_submission_that_races_the_end_of_its_predecessor_is_never_left_waiting(engine: Engine) -> None:
    for number in range(4):
        first = engine.started(max_attempts=1)
        engine.finish(first, status="failed" if number % 2 else "completed")
        barrier = Barrier(2)

        def submit(first: str = first, barrier: Barrier = barrier) -> str:
            barrier.wait(30)
            return engine.submit(previous_job_id=first)

        def settle(barrier: Barrier = barrier) -> None:
            barrier.wait(30)
            engine.poll()

        with ThreadPoolExecutor(2) as threads:
            settling, submitting = threads.submit(settle), threads.submit(submit)
            settling.result(30)
            second = submitting.result(30)

        # Before the end: released or failed with it. After it: the run ended with an interaction, so it is built on.
        assert engine.status(second) in (("queued", "failed") if number % 2 else ("queued",))


def test_a_predecessor_cannot_end_between_the_look_at_it_and_the_commit(engine: Engine) -> None:
    first = engine.started()
    engine.finish(first)
    follower = factories.job(engine.project_id, status="scheduled", previous_job_id=first)

    with ThreadPoolExecutor(1) as threads:
        with engine.context.database.write() as session:
            before, _ = submissions.previous(session, [first])
            settling = threads.submit(engine.poll)
            wait([settling], timeout=0.3)
            assert (before[first].status, engine.status(first)) == ("in_progress", "in_progress")
            session.add(follower)
        settling.result(30)

    assert [engine.status(job_id) for job_id in (first, follower.id)] == ["completed", "queued"]


def test_a_submission_waits_for_nobody_who_changes_what_it_builds_on(engine: Engine) -> None:
    """Whoever changes several jobs takes them in an order of its own: both would wait, and one would be refused."""
    early, late = sorted([engine.started(), engine.started()])
    drafts = [engine.draft(previous_job_id=job_id) for job_id in (early, late)]

    def end_run(session: Session, job_id: str) -> None:
        running, done = {Status.IN_PROGRESS}, Status.COMPLETED
        assert ending(session, job_id, sources=running, target=done, now=engine.clock())

    with ThreadPoolExecutor(1) as threads:
        with engine.context.database.write() as session:
            end_run(session, late)
            submitting = threads.submit(engine.accept, *drafts)
            wait([submitting], timeout=0.5)
            end_run(session, early)
        followers = submitting.result(30).jobs

    assert [engine.status(job.id) for job in followers] == ["queued", "queued"]


def test_a_job_whose_predecessor_is_gone_fails_instead_of_starting_without_it(engine: Engine) -> None:
    queued, waiting = engine.submit(), engine.submit()
    engine.change(queued, previous_job_id="job_gone")
    engine.change(waiting, previous_job_id="job_gone", status="scheduled", due_at=None)
    follower = engine.submit(previous_job_id=waiting)

    assert engine.start(queued) == "failed"
    engine.sweep()

    assert [engine.error(job_id) for job_id in (queued, waiting, follower)] == ["previous_job_failed"] * 3
    assert engine.count("create") == 0
