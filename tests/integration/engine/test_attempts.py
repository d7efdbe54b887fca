"""Answers that come together are recorded together, and each means for its own job what it would mean alone."""

from tests.integration.engine.engine import AGENT, Engine
from worker.flow import attempt, claim, start
from worker.flow.attempt import Attempt
from worker.flow.claim import Claimed
from worker.gemini.client import Created


def posted(engine: Engine, number: int) -> list[Claimed]:
    """Jobs whose creates were sent together."""
    return claim.ready(engine.context, [engine.submit(agent=AGENT) for _ in range(number)])


def made(one: Claimed, name: str) -> Attempt:
    return Attempt(one.job.id, one.token, Created(name, "in_progress"))


def test_a_group_is_claimed_marked_and_recorded_as_each_alone(engine: Engine) -> None:
    claimed = posted(engine, 3)
    engine.cancel(claimed[1].job.id)

    outcomes = attempt.attach(engine.context, [made(one, f"v1_{number}") for number, one in enumerate(claimed)])

    assert outcomes == {one.job.id: "started" for one in claimed}
    names = [one.job.id for one in claimed]
    assert [engine.status(name) for name in names] == ["in_progress", "cancelling", "in_progress"]
    assert [engine.job(name).interaction_id for name in names] == ["v1_0", "v1_1", "v1_2"]
    assert [engine.interactions(name)[0].upstream_id for name in names] == ["v1_0", "v1_1", "v1_2"]
    assert engine.events(names[0]) == ["job.created", "job.started"]


def test_a_group_is_claimed_in_the_order_in_which_it_was_picked(engine: Engine) -> None:
    picked = [engine.submit(agent=AGENT) for _ in range(5)][::-1]

    assert [one.job.id for one in claim.ready(engine.context, picked)] == picked


def test_an_id_that_two_creates_were_answered_with_is_given_to_one(engine: Engine) -> None:
    first, second = posted(engine, 2)

    outcomes = attempt.attach(engine.context, [made(first, "v1_same"), made(second, "v1_same")])

    assert outcomes == {first.job.id: "started", second.job.id: "id_of_another"}
    engine.sweep(41)
    assert engine.status(second.job.id) == "unconfirmed"


def test_an_answer_that_cannot_be_stored_does_not_hurt_its_neighbours(engine: Engine) -> None:
    good, bad, other = posted(engine, 3)
    answered = [(good, Created("v1_a", "queued")), (bad, Created("v1_\ud800", "queued")), (other, Created("v1_b", ""))]

    outcomes = start.record(engine.context, answered)

    assert outcomes == {good.job.id: "started", bad.job.id: "crashed", other.job.id: "started"}
    engine.sweep(41)
    assert engine.status(bad.job.id) == "unconfirmed"


def test_one_of_a_group_goes_first_through_a_gate_that_is_half_open(engine: Engine) -> None:
    engine.control.fault("create", status=429, retry_after_s=5, count=1)
    assert engine.start(engine.submit()) == "refused"
    waiting = [engine.submit() for _ in range(4)]
    assert claim.ready(engine.context, waiting) == []
    engine.pass_time(6)

    claimed = claim.ready(engine.context, waiting)

    assert [one.job.id for one in claimed] == waiting[:1]
