"""Answers that come twice, at once, too late, or die on the way: one is taken, and none is lost."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tests.integration.engine.asking import ONCE_MORE, answer, asked, asking, request, results, settled
from tests.integration.engine.engine import Engine, Killed
from worker.errors import Conflict, Gone, IdempotencyReused, Invalid
from worker.flow import remove, respond
from worker.flow.submit import Accepted


def test_a_replayed_answer_gives_the_same_job_however_far_it_has_gone(engine: Engine) -> None:
    job_id = asking(engine)
    given = results(engine, job_id)

    first = answer(engine, job_id, given, key="once")
    assert answer(engine, job_id, given, key="once").replayed
    engine.start(job_id)
    settled(engine, job_id)
    again = answer(engine, job_id, given, key="once")

    assert (first.replayed, again.replayed, again.jobs[0].id, again.jobs[0].status) == (
        False,
        True,
        job_id,
        "completed",
    )
    assert engine.count("create") == 2
    with pytest.raises(IdempotencyReused):
        answer(engine, job_id, given, key="once", digest="other")
    remove.job(engine.context, engine.project_id, job_id)
    with pytest.raises(Gone):
        answer(engine, job_id, given, key="once")


def race(engine: Engine, requests: list[respond.Asked]) -> list[Accepted | Exception]:
    """All of these at once, and what each was told."""
    barrier = Barrier(len(requests))

    def send(one: respond.Asked) -> Accepted | Exception:
        barrier.wait(30)
        try:
            return respond.respond(engine.context, one)
        except (Conflict, Invalid) as error:
            return error

    with ThreadPoolExecutor(len(requests)) as threads:
        return list(threads.map(send, requests))


def test_of_two_answers_that_race_one_is_taken_and_the_other_is_told_so(engine: Engine) -> None:
    job_id = asking(engine)
    ways = [results(engine, job_id, text) for text in ("dry", "wet", "snow", "hail")]

    told = race(engine, [asked(engine, job_id, way, key=f"key {place}") for place, way in enumerate(ways)])

    taken = [place for place, one in enumerate(told) if isinstance(one, Accepted)]
    assert len(taken) == 1
    assert sum(isinstance(one, Conflict) for one in told) == 3
    engine.start(job_id)
    assert request(engine, job_id)["input"] == ways[taken[0]]
    assert engine.count("create") == 2
    lost = next(place for place in range(4) if place not in taken)
    with pytest.raises(Conflict):
        answer(engine, job_id, ways[lost], key=f"key {lost}")


def test_the_same_answer_sent_several_times_at_once_is_taken_once(engine: Engine) -> None:
    job_id = asking(engine)
    given = results(engine, job_id)

    told = race(engine, [asked(engine, job_id, given, key="once") for _ in range(4)])

    assert all(isinstance(one, Accepted) for one in told), told
    assert sorted(one.replayed for one in told if isinstance(one, Accepted)) == [False, True, True, True]
    assert engine.job(job_id).turn == 2


def test_an_answer_that_meets_a_later_turns_calls_is_not_taken_for_them(engine: Engine) -> None:
    job_id = asking(engine)
    late = results(engine, job_id, "late")
    database = engine.between("database")

    def others_are_quicker() -> None:
        """And the job asks anew before the late answer is written."""
        del database.before["write"]
        answer(engine, job_id, results(engine, job_id, ONCE_MORE))
        engine.start(job_id)
        settled(engine, job_id)

    database.before["write"] = others_are_quicker
    with pytest.raises(Conflict, match="answered already"):
        answer(engine, job_id, late)
    with pytest.raises(Invalid):
        answer(engine, job_id, late)

    assert (engine.status(job_id), engine.job(job_id).turn) == ("requires_action", 2)


def test_an_answer_and_a_cancel_that_race_leave_one_story(engine: Engine) -> None:
    for _ in range(3):
        job_id = asking(engine)
        one = asked(engine, job_id, results(engine, job_id))
        barrier = Barrier(2)

        def cancel(name: str = job_id, barrier: Barrier = barrier) -> None:
            barrier.wait(30)
            engine.cancel(name)

        def respond_(one: respond.Asked = one, barrier: Barrier = barrier) -> bool:
            barrier.wait(30)
            try:
                respond.respond(engine.context, one)
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(2) as threads:
            cancelling, responding = threads.submit(cancel), threads.submit(respond_)
            cancelling.result(30)
            was_answered = responding.result(30)

        assert (engine.status(job_id), engine.job(job_id).turn) == ("cancelled", 2 if was_answered else 1)
        assert engine.events(job_id).count("job.cancelled") == 1
        assert engine.start(job_id) == "nothing"


def test_a_death_before_the_commit_leaves_the_calls_open(engine: Engine) -> None:
    job_id = asking(engine)
    database = engine.between("database")

    def die(*_: object) -> None:
        raise Killed

    database.before["write"] = die
    with pytest.raises(Killed):
        answer(engine, job_id, key="once")
    del database.before["write"]

    assert engine.status(job_id) == "requires_action"
    assert not answer(engine, job_id, key="once").replayed


def test_a_death_after_the_commit_loses_nothing(engine: Engine) -> None:
    job_id = asking(engine)
    sender = engine.between("sender")

    def die(*_: object) -> None:
        raise Killed

    sender.before["send"] = die
    given = results(engine, job_id)
    with pytest.raises(Killed):
        answer(engine, job_id, given, key="once")
    del sender.before["send"]

    assert engine.status(job_id) == "queued"
    assert answer(engine, job_id, given, key="once").replayed
    sender.calls.clear()
    engine.sweep()
    assert "send" in sender.calls
    assert engine.start(job_id) == "started"
