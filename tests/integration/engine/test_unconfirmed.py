"""Creates whose answer is lost: never a second POST unasked, and never a paid id thrown away."""

from dataclasses import replace

import pytest

from tests.integration.engine.engine import AGENT, Engine, Killed
from tests.integration.engine.losing import claimed
from worker.flow import attempt, claim, start, unconfirmed

LOST = [
    {"status": 500},
    {"status": 504},
    {"status": 408},
    {"status": 499},
    {"status": 409, "code": "aborted"},
    {"kind": "html"},
    {"kind": "lost"},
    {"kind": "reset"},
    {"kind": "broken"},
    {"kind": "truncated"},
]


@pytest.mark.parametrize("fault", LOST, ids=lambda fault: "-".join(map(str, fault.values())))
def test_an_agents_lost_create_is_one_post_and_no_more(engine: Engine, fault: dict[str, object]) -> None:
    job_id = engine.submit(agent=AGENT)
    engine.control.fault("create", **fault)  # type: ignore[arg-type]

    assert engine.start(job_id) == "failed"
    engine.sweep(100)
    assert engine.start(job_id) == "nothing"

    error = engine.job(job_id).error or {}
    assert (error["code"], error["message"]) == ("create_unconfirmed", unconfirmed.MAY_RUN)
    assert engine.count("create") == 1
    (interaction,) = engine.interactions(job_id)
    assert interaction.sent_at is not None
    assert engine.events(job_id) == ["job.created", "job.failed"]


@pytest.mark.parametrize(
    ("options", "posts"),
    [
        ({}, 3),
        ({"max_attempts": 1}, 1),
        ({"max_attempts": 5}, 5),
        ({"on_unknown_create": "fail"}, 1),
        ({"agent": AGENT, "on_unknown_create": "retry"}, 2),
        ({"agent": AGENT, "on_unknown_create": "retry", "max_attempts": 1}, 2),
        ({"agent": AGENT, "on_unknown_create": "retry", "max_attempts": 3}, 3),
    ],
)
def test_retries_of_lost_creates_are_bounded(engine: Engine, options: dict[str, object], posts: int) -> None:
    job_id = engine.submit(**options)
    engine.control.fault("create", status=500)

    for _ in range(posts):
        assert engine.start(job_id) in ("queued", "failed")

    assert (engine.status(job_id), engine.error(job_id)) == ("failed", "create_unconfirmed")
    assert engine.count("create") == posts
    assert sorted(one.attempt for one in engine.interactions(job_id)) == list(range(1, posts + 1))


def test_a_model_whose_answer_was_lost_completes_with_another_run(engine: Engine) -> None:
    job_id = engine.submit(input="[[sim: create=lost times=1]]")

    assert [engine.start(job_id), engine.start(job_id)] == ["queued", "started"]
    engine.finish(job_id)
    engine.poll()

    assert (engine.status(job_id), engine.job(job_id).attempt, len(engine.runs())) == ("completed", 2, 2)


def test_a_claim_that_ran_out_before_the_post_goes_back_to_the_queue(engine: Engine) -> None:
    job_id, _ = claimed(engine, is_sent=False, agent=AGENT)

    engine.sweep(39)
    assert engine.status(job_id) == "starting"
    engine.sweep(1)

    assert (engine.status(job_id), engine.interactions(job_id)) == ("queued", [])
    assert engine.start(job_id) == "started"
    assert engine.job(job_id).attempt == 1


def test_a_claim_that_ran_out_after_the_post_is_unconfirmed_and_then_decided(engine: Engine) -> None:
    agent, token = claimed(engine, is_sent=True, agent=AGENT)
    model, _ = claimed(engine, is_sent=True)

    engine.sweep(41)
    assert [engine.status(job_id) for job_id in (agent, model)] == ["unconfirmed"] * 2
    assert engine.job(agent).claim == token
    engine.sweep(unconfirmed.GRACE.total_seconds() - 1)
    assert engine.status(agent) == "unconfirmed"
    engine.sweep()

    assert (engine.status(agent), engine.error(agent)) == ("failed", "create_unconfirmed")
    assert (engine.status(model), engine.job(model).attempt) == ("queued", 2)
    assert engine.count("create") == 0


def test_a_job_is_decided_within_a_minute_of_its_workers_death() -> None:
    assert 40 + unconfirmed.GRACE.total_seconds() < 60
    assert unconfirmed.GRACE.total_seconds() > attempt.RECORD_EVERY_S * 3


def test_a_claim_too_old_to_outlive_the_post_sends_nothing(engine: Engine) -> None:
    job_id = engine.submit()
    claimed = claim.claim(engine.context, [job_id])
    engine.pass_time(11)

    assert claim.mark_sent(engine.context, claimed) == []

    assert (engine.count("create"), engine.job(job_id).sent_at) == (0, None)


def test_a_worker_that_slept_before_its_post_sends_nothing_and_uses_up_no_attempt(engine: Engine) -> None:
    job_id = engine.submit(agent=AGENT)
    claimed = claim.ready(engine.context, [job_id])
    engine.sweep(41)

    answered = [(one, start.outcome(start.talk(engine.context, one))) for one in claimed]
    assert start.record(engine.context, answered) == {job_id: "refused"}

    assert (engine.count("create"), engine.interactions(job_id)) == (0, [])
    assert (engine.start(job_id), engine.job(job_id).attempt) == ("started", 1)


def test_a_worker_whose_claim_was_given_up_does_not_post(engine: Engine) -> None:
    job_id = engine.submit()
    claimed = claim.claim(engine.context, [job_id])
    engine.change(job_id, due_at=engine.clock())
    engine.sweep()

    assert claim.mark_sent(engine.context, claimed) == []

    assert engine.count("create") == 0
    assert engine.start(job_id) == "started"


def test_a_decision_about_an_older_attempt_is_not_taken_for_a_newer(engine: Engine) -> None:
    job_id, token = claimed(engine, is_sent=True)
    engine.sweep(41)
    engine.sweep(11)
    (newer,) = claim.ready(engine.context, [job_id])
    engine.sweep(41)

    assert unconfirmed.resolve(engine.context, job_id, token) == "lost_race"

    assert (engine.status(job_id), engine.job(job_id).attempt) == ("unconfirmed", 2)
    assert unconfirmed.resolve(engine.context, job_id, newer.token) == "queued"


def test_with_upstream_events_a_lost_create_waits_for_its_event_until_its_time_is_over(engine: Engine) -> None:
    engine.set(gemini_webhooks="dynamic", public_url="https://desk.example")
    job_id = engine.submit(agent=AGENT, timeout_seconds=600)
    engine.control.fault("create", kind="lost", count=1)

    assert engine.start(job_id) == "waiting"
    engine.sweep(598)
    assert engine.status(job_id) == "unconfirmed"
    engine.sweep(2)

    assert (engine.status(job_id), engine.error(job_id)) == ("failed", "create_unconfirmed")


def test_a_cancel_ends_the_waiting_for_an_event(engine: Engine) -> None:
    engine.set(gemini_webhooks="dynamic", public_url="https://desk.example")
    job_id = engine.submit(agent=AGENT)
    engine.control.fault("create", kind="lost", count=1)
    engine.start(job_id)

    assert engine.cancel(job_id).status == "unconfirmed"
    engine.sweep(unconfirmed.GRACE.total_seconds())

    assert engine.status(job_id) == "cancelled"
    assert engine.job(job_id).notes == [unconfirmed.MAY_RUN]


@pytest.mark.parametrize(
    ("when", "status", "posts"),
    [("before", "unconfirmed", 0), ("after", "unconfirmed", 1)],
)
def test_a_worker_killed_around_its_post_leaves_the_job_unconfirmed(
    engine: Engine, when: str, status: str, posts: int
) -> None:
    job_id = engine.submit(agent=AGENT)

    def die(_: object) -> None:
        raise Killed

    getattr(engine.between("gemini"), when)["create"] = die
    with pytest.raises(Killed):
        engine.start(job_id)
    engine.sweep(41)

    assert (engine.status(job_id), engine.count("create")) == (status, posts)
    engine.sweep(11)
    assert engine.error(job_id) == "create_unconfirmed"


def test_a_worker_killed_after_its_record_has_lost_nothing(engine: Engine) -> None:
    job_id = engine.submit()

    def die(*_: object) -> None:
        raise Killed

    engine.between("sender").before["publish"] = die
    with pytest.raises(Killed):
        engine.start(job_id)

    assert (engine.status(job_id), engine.count("create")) == ("in_progress", 1)
    engine.finish(job_id)
    engine.context = replace(engine.context, sender=engine.context.sender.real)  # type: ignore[attr-defined]
    engine.poll()
    assert engine.status(job_id) == "completed"
