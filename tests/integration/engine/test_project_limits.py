"""Limits of one project: nothing of an order beyond them is written, and what waits lets other projects pass."""

from typing import Any

import pytest

from tests.integration.engine.engine import Engine
from tests.integration.engine.test_quota import on_the_next_day
from worker.errors import QuotaExceeded
from worker.flow import limits, remove, submit, wake
from worker.flow.backlog import Backlog
from worker.flow.draft import Draft, prepare
from worker.flow.gate import Wanted, admit
from worker.flow.quota import Quota
from worker.flow.submit import Accepted, Order
from worker.models import Job, Project
from worker.store import audit, projects
from worker.store.audit import Actor

SOMEBODY = Actor("key_1")


def limit(engine: Engine, project_id: str | None = None, **values: int) -> None:
    """Limits of this project's own."""
    with engine.context.database.write() as session:
        project = session.get_one(Project, project_id or engine.project_id)
        for name, value in values.items():
            setattr(project, name, value)


def another(engine: Engine, name: str = "another") -> str:
    with engine.context.database.write() as session:
        return projects.create_project(session, name, sealed_secret=b"sealed", now=engine.clock()).id


def draft(engine: Engine, project_id: str) -> Draft:
    fields = {"model": "gemini-3.8-flash", "input": "x"}
    return prepare(engine.context, fields, project_id=project_id, is_admin=False)


def take(engine: Engine, number: int = 1, project_id: str | None = None, **more: Any) -> Accepted:
    owner = project_id or engine.project_id
    order = Order(owner, [draft(engine, owner) for _ in range(number)], "/v1/jobs/batch", by=SOMEBODY)
    (outcome,) = submit.accept(engine.context, [order], **more)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def refused(engine: Engine, number: int = 1, **more: Any) -> QuotaExceeded:
    with pytest.raises(QuotaExceeded) as found:
        take(engine, number, **more)
    return found.value


def test_a_project_s_queue_is_its_own(engine: Engine) -> None:
    engine.set(max_queued_per_project=2)
    take(engine)

    assert refused(engine, 2).limit == 2
    take(engine)
    assert refused(engine).retry_after_s > 0

    assert len(engine.rows(Job)) == 2
    take(engine, 2, another(engine))


def test_what_waits_for_its_time_or_for_another_job_counts_as_waiting(engine: Engine) -> None:
    engine.set(max_queued_per_project=3)
    job_id = engine.submit()
    engine.submit(run_at="2099-01-01T00:00:00Z")
    engine.submit(previous_job_id=job_id)

    found = refused(engine)
    engine.cancel(job_id)
    take(engine, 2)

    assert found.limit == 3
    assert refused(engine).limit == 3
    take(engine, 1, another(engine))


def test_a_batch_counts_as_its_jobs_each_day(engine: Engine) -> None:
    on_the_next_day(engine, 9)
    engine.set(max_jobs_per_day=5)
    take(engine, 3)

    found = refused(engine, 3)

    assert (found.limit, found.retry_after_s) == (5, 15 * 3600)
    take(engine, 2)
    assert len(engine.rows(Job)) == 5
    take(engine, 5, another(engine))
    engine.pass_time(found.retry_after_s)
    take(engine, 5)


def test_a_job_that_was_deleted_still_counts_for_its_day(engine: Engine) -> None:
    engine.set(max_jobs_per_day=1)
    (job,) = take(engine).jobs
    engine.cancel(job.id)
    submit_again = refused(engine)

    remove.job(engine.context, engine.project_id, job.id)

    assert submit_again.limit == refused(engine).limit == 1


def test_a_project_s_own_limit_stands_above_the_usual_one(engine: Engine) -> None:
    engine.set(max_queued_per_project=1, max_jobs_per_day=1, max_tokens_per_day=1)
    limit(engine, max_queued=3, max_jobs_per_day=3)

    take(engine, 3)

    assert refused(engine).limit == 3


def test_a_limit_of_nought_lets_nothing_in(engine: Engine) -> None:
    limit(engine, max_jobs_per_day=0)

    assert refused(engine).limit == 0
    assert not engine.rows(Job)


def test_orders_of_one_transaction_count_for_each_other(engine: Engine) -> None:
    engine.set(max_queued_per_project=3, max_jobs_per_day=3)
    other = another(engine)
    owners = [engine.project_id, other, engine.project_id, other, engine.project_id]
    orders = [Order(owner, [draft(engine, owner)] * 1, f"/{place}", by=SOMEBODY) for place, owner in enumerate(owners)]
    quota = Quota(limits.usual(engine.context.settings))
    first = submit.accept(engine.context, orders, Backlog(), quota)

    second = submit.accept(engine.context, [Order(engine.project_id, [draft(engine, engine.project_id)], "/n")] * 1)
    third = submit.accept(engine.context, [Order(other, [draft(engine, other)], "/n")], Backlog(), quota)

    assert all(isinstance(outcome, Accepted) for outcome in first)
    assert isinstance(second[0], QuotaExceeded)
    assert isinstance(third[0], Accepted)


def test_what_a_process_has_accepted_counts_before_it_counts_anew(engine: Engine) -> None:
    engine.set(max_jobs_per_day=2)
    quota = Quota(limits.usual(engine.context.settings))

    take(engine, 1, quota=quota)
    take(engine, 1, quota=quota)

    assert refused(engine, quota=quota).limit == 2


def start_claims(engine: Engine, jobs: list[Job]) -> list[str]:
    wanted = {job.id: Wanted(job.target, job.project_id) for job in jobs}
    with engine.context.database.write() as session:
        return admit(engine.context, session, wanted, engine.clock())


def test_a_project_has_no_more_in_flight_than_it_may(engine: Engine) -> None:
    limit(engine, max_in_flight=1)
    other = another(engine)
    mine, theirs = take(engine, 3).jobs, take(engine, 2, other).jobs

    admitted = start_claims(engine, [*mine, *theirs])

    assert admitted == [mine[0].id, *(job.id for job in theirs)]


def test_what_a_full_project_has_waiting_is_not_chosen_and_holds_up_nobody(engine: Engine) -> None:
    engine.set(max_in_flight_per_project=1)
    other = another(engine)
    running, *waiting = take(engine, 3).jobs
    theirs = take(engine, 2, other).jobs
    assert engine.start(running.id) == "started"
    engine.pass_time(wake.HINT.total_seconds() + 1)

    with engine.context.database.read() as session:
        chosen = wake.choose(engine.context, session, engine.clock(), 8)

    assert chosen == [theirs[0].id]
    assert [engine.start(job.id) for job in waiting] == ["nothing", "nothing"]
    assert {engine.status(job.id) for job in waiting} == {"queued"}


def test_when_one_ends_the_next_may_start(engine: Engine) -> None:
    engine.set(max_in_flight_per_project=1)
    first, second = take(engine, 2).jobs
    engine.start(first.id)
    assert engine.start(second.id) == "nothing"
    engine.finish(first.id)
    engine.poll()

    engine.pass_time(wake.HINT.total_seconds())

    assert engine.start(second.id) == "started"


def test_a_project_that_may_run_nothing_waits_and_accepts(engine: Engine) -> None:
    limit(engine, max_in_flight=0)
    (job,) = take(engine).jobs

    assert engine.start(job.id) == "nothing"
    assert engine.status(job.id) == "queued"


def test_the_log_knows_what_was_bought(engine: Engine) -> None:
    take(engine, 3)
    now = engine.clock()
    with engine.context.database.write() as session:
        audit.note(session, SOMEBODY, audit.ADOPTED, project_id=engine.project_id, subject="x", now=now)

    assert engine.read(lambda session: audit.bought(session, engine.project_id, now)) == 3
