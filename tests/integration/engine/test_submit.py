"""Submitting: all or nothing, one outcome for each idempotency key, and what is refused before anything is spent."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tests import factories
from tests.integration.engine.engine import AGENT, MODEL, Engine
from worker.errors import Conflict, Gone, IdempotencyReused, Invalid, NightdeskError, NotFound, QuotaExceeded
from worker.flow import remove, submit
from worker.flow.again import retry_draft
from worker.flow.draft import Draft, prepare
from worker.models import Idempotency, Job, JobInput


def order(engine: Engine, *drafts: Draft, key: str | None = None, digest: str = "d") -> submit.Order:
    return submit.Order(engine.project_id, drafts or [engine.draft()], "/v1/jobs", key, digest)


def ids(outcome: submit.Accepted | NightdeskError) -> list[str]:
    assert isinstance(outcome, submit.Accepted)
    return [job.id for job in outcome.jobs]


def test_a_group_is_written_in_one_transaction_and_answered_in_order(engine: Engine) -> None:
    drafts = [engine.draft(input=f"Say {number}.") for number in range(5)]

    outcomes = submit.accept(engine.context, [order(engine, draft) for draft in drafts])

    assert [ids(outcome) for outcome in outcomes] == [[draft.job.id] for draft in drafts]
    for draft in drafts:
        assert engine.events(draft.job.id) == ["job.created"]
        assert [row.body for row in engine.rows(JobInput, draft.job.id)] == [draft.body]
        assert engine.job(draft.job.id).sequence == 1


def test_a_bad_order_does_not_spoil_its_group(engine: Engine) -> None:
    bad = engine.draft(previous_job_id="job_of_nobody")
    good = engine.draft()

    outcomes = submit.accept(engine.context, [order(engine, bad), order(engine, good)])

    assert isinstance(outcomes[0], Invalid)
    assert ids(outcomes[1]) == [good.job.id]
    assert len(engine.rows(Job)) == 1


def test_a_batch_is_all_or_nothing(engine: Engine) -> None:
    drafts = [engine.draft(), engine.draft(previous_job_id="job_of_nobody"), engine.draft()]

    (outcome,) = submit.accept(engine.context, [order(engine, *drafts, key="k")])

    assert isinstance(outcome, Invalid)
    assert (engine.rows(Job), engine.rows(Idempotency)) == ([], [])


def test_a_thousand_jobs_are_one_order(engine: Engine) -> None:
    drafts = [engine.draft() for _ in range(1000)]

    accepted = engine.accept(*drafts)

    assert len(accepted.jobs) == len(engine.rows(Job)) == 1000


def test_job_created_is_delivered_to_who_asked_for_it(engine: Engine) -> None:
    wanted = {"webhook_url": "https://hooks.example/in", "webhook_events": ["job.created"]}
    heard, unheard = engine.submit(**wanted), engine.submit()

    assert (len(engine.deliveries(heard)), engine.deliveries(unheard)) == (1, [])


def test_a_replay_answers_the_same_job(engine: Engine) -> None:
    first = engine.accept(engine.draft(), key="k")

    again = engine.accept(engine.draft(), key="k")

    assert (first.replayed, again.replayed) == (False, True)
    assert [job.id for job in again.jobs] == [job.id for job in first.jobs]
    assert len(engine.rows(Job)) == 1


def test_a_replay_shows_the_job_as_it_is_now_also_after_a_failure(engine: Engine) -> None:
    job_id = engine.accept(engine.draft(), key="k").jobs[0].id
    engine.control.fault("create", status=400)
    engine.start(job_id)

    again = engine.accept(engine.draft(), key="k")

    assert [(job.id, job.status) for job in again.jobs] == [(job_id, "failed")]


def test_a_key_belongs_to_one_body_path_and_project(engine: Engine) -> None:
    engine.accept(engine.draft(), key="k")
    with engine.context.database.write() as session:
        other = factories.project(session, "another").id

    with pytest.raises(IdempotencyReused):
        engine.accept(engine.draft(), key="k", digest="another")
    elsewhere = submit.Order(engine.project_id, [engine.draft()], "/v1/jobs/batch", "k", "digest")
    foreign = engine.draft()
    foreign.job.project_id = other
    theirs = submit.Order(other, [foreign], "/v1/jobs", "k", "digest")
    outcomes = submit.accept(engine.context, [elsewhere, theirs])

    assert [outcome.replayed for outcome in outcomes if isinstance(outcome, submit.Accepted)] == [False, False]


def test_a_batch_has_one_key_for_the_whole(engine: Engine) -> None:
    first = engine.accept(engine.draft(), engine.draft(), key="k")

    again = engine.accept(engine.draft(), engine.draft(), key="k")

    assert [job.id for job in again.jobs] == [job.id for job in first.jobs]
    assert len(engine.rows(Job)) == 2


def test_a_key_within_one_group_has_one_outcome(engine: Engine) -> None:
    orders = [order(engine, key="k"), order(engine, key="k"), order(engine, key="k", digest="another")]

    outcomes = submit.accept(engine.context, orders)

    assert ids(outcomes[0]) == ids(outcomes[1])
    assert isinstance(outcomes[2], IdempotencyReused)
    assert len(engine.rows(Job)) == 1


def test_racing_requests_with_one_key_make_one_job(engine: Engine) -> None:
    racers, keys = 6, ("a", "b", "c")
    barrier = Barrier(racers)

    def race(number: int) -> list[list[str]]:
        # In opposite orders: groups that wait for each other's keys would be a deadlock.
        names = keys if number % 2 else keys[::-1]
        orders = [order(engine, key=name) for name in names]
        barrier.wait(30)
        found = [ids(outcome) for outcome in submit.accept(engine.context, orders)]
        return found if number % 2 else found[::-1]

    with ThreadPoolExecutor(racers) as threads:
        answers = list(threads.map(race, range(racers)))

    assert answers == [answers[0]] * racers
    assert len(engine.rows(Job)) == len(keys)


def test_a_key_of_a_deleted_job_says_that_it_is_gone(engine: Engine) -> None:
    job_id = engine.accept(engine.draft(), key="k").jobs[0].id
    engine.cancel(job_id)
    remove.job(engine.context, engine.project_id, job_id)

    with pytest.raises(Gone):
        engine.accept(engine.draft(), key="k")


def test_what_fails_leaves_its_key_free(engine: Engine) -> None:
    with pytest.raises(Invalid):
        engine.accept(engine.draft(previous_job_id="job_of_nobody"), key="k")

    assert not engine.accept(engine.draft(), key="k").replayed


def test_beyond_the_limit_of_waiting_jobs_nothing_is_taken(engine: Engine) -> None:
    engine.set(max_queued=3)
    engine.accept(engine.draft(), engine.draft())

    with pytest.raises(QuotaExceeded):
        engine.accept(engine.draft(), engine.draft())
    (one, two) = submit.accept(engine.context, [order(engine), order(engine)])

    assert isinstance(one, submit.Accepted)
    assert isinstance(two, QuotaExceeded)
    assert len(engine.rows(Job)) == 3


def test_jobs_for_later_are_within_the_limit_of_waiting_jobs(engine: Engine) -> None:
    engine.set(max_queued=2)
    engine.submit(run_at="2099-01-01T00:00:00Z")
    later = [engine.draft(run_at="2099-01-01T00:00:00Z") for _ in range(2)]

    with pytest.raises(QuotaExceeded):
        engine.accept(*later)

    engine.accept(*later[:1])
    with pytest.raises(QuotaExceeded):
        engine.submit()


def test_a_replay_is_answered_whatever_the_limit(engine: Engine) -> None:
    engine.accept(engine.draft(), key="k")
    engine.set(max_queued=1)

    assert engine.accept(engine.draft(), key="k").replayed


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"agent": AGENT, "model": MODEL}, "/agent"),
        ({"inptu": "x"}, "/inptu"),
        ({"stream": True}, "/stream"),
        ({"store": False}, "/store"),
        ({"previous_job_id": "job_a", "previous_interaction_id": "v1_a"}, "/previous_job_id"),
        ({"webhook_events": ["job.completed"]}, "/webhook_events"),
        ({"webhook_url": "http://10.0.0.1/in"}, "/webhook_url"),
        ({"priority": "urgent"}, "/priority"),
        ({"model": "gemini-2.5-pro", "strict_model": True}, "/model"),
        ({"model": AGENT}, "/model"),
        ({"model": "a b"}, "/model"),
    ],
)
def test_what_cannot_be_accepted_is_refused_with_a_pointer(
    engine: Engine, fields: dict[str, object], pointer: str
) -> None:
    given = {"model": MODEL, "input": "Say hello."} | fields

    with pytest.raises(Invalid) as refused:
        prepare(engine.context, given, project_id=engine.project_id, is_admin=True, at="/jobs/3")

    assert f"/jobs/3{pointer}" in [fault.pointer for fault in refused.value.faults]


def test_every_fault_is_told_at_once(engine: Engine) -> None:
    with pytest.raises(Invalid) as refused:
        engine.draft(priority="urgent", stream=True, nonsense=1, webhook_events=["job.completed"])

    pointers = {fault.pointer for fault in refused.value.faults}
    assert {"/priority", "/stream", "/nonsense"} <= pointers


def test_an_unknown_interaction_needs_an_admin(engine: Engine) -> None:
    given = {"model": MODEL, "input": "Go on.", "previous_interaction_id": "v1_from_elsewhere"}

    def submit_as(*, is_admin: bool) -> submit.Accepted:
        draft = prepare(engine.context, given, project_id=engine.project_id, is_admin=is_admin)
        return engine.accept(draft)

    assert submit_as(is_admin=True).jobs[0].previous_interaction_id == "v1_from_elsewhere"
    with pytest.raises(Invalid, match="no such interaction"):
        submit_as(is_admin=False)


def test_a_failed_job_is_retried_as_a_new_one_like_it(engine: Engine) -> None:
    options = {"priority": "high", "metadata": {"a": "b"}, "max_attempts": 2, "on_unknown_create": "fail"}
    job_id = engine.submit(**options, labels={"team": "red"}, timeout_seconds=77, input="Once more.")
    with pytest.raises(Conflict, match="queued"):
        retry_draft(engine.context, engine.project_id, job_id)
    engine.cancel(job_id)

    draft = retry_draft(engine.context, engine.project_id, job_id)
    (again,) = engine.accept(draft).jobs

    assert (again.retry_of, again.status, again.priority) == (job_id, "queued", 0)
    assert (again.user_metadata, again.labels, again.max_attempts) == ({"a": "b"}, {"team": "red"}, 2)
    assert (again.timeout_seconds, again.on_unknown_create) == (77, "fail")
    bodies = [engine.rows(JobInput, name)[0].body for name in (job_id, again.id)]
    assert bodies[0] == bodies[1]
    with pytest.raises(NotFound):
        retry_draft(engine.context, "prj_other", job_id)


def test_a_system_instruction_is_prepended_for_whom_its_owner_allows_it(engine: Engine) -> None:
    wanted = {"agent": AGENT, "system_instruction": "Be brief.", "prepend_system_instruction": True}

    job_id = engine.submit(**wanted)
    engine.start(job_id)

    sent = engine.control.request(engine.job(job_id).interaction_id or "")
    assert sent == {"agent": AGENT, "input": "Be brief.\n\nSay hello.", "background": True, "store": True}
    assert engine.job(job_id).notes == ["the system instruction was put at the beginning of the input"]
    with pytest.raises(Invalid):
        engine.draft(**wanted | {"prepend_system_instruction": False})


def test_a_model_keeps_its_system_instruction(engine: Engine) -> None:
    job_id = engine.submit(system_instruction="Be brief.", prepend_system_instruction=True)
    engine.start(job_id)

    sent = engine.control.request(engine.job(job_id).interaction_id or "")
    assert (sent["system_instruction"], sent["input"]) == ("Be brief.", "Say hello.")
    assert engine.job(job_id).notes == []
