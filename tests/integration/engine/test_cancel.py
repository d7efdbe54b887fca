"""Cancelling at every moment of a job's life, and what its owner may rely on."""

from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace

import pytest

from tests.integration.engine.engine import AGENT, Engine, Killed
from worker.errors import Conflict, CreateRefused, NotFound
from worker.flow import cancel, claim, poll
from worker.gemini.client import CancelAnswer, CancelKind
from worker.models import Job

TOOLS = [{"type": "function", "name": "look", "parameters": {"type": "object"}}]


def test_what_was_not_sent_is_cancelled_at_once(engine: Engine) -> None:
    queued = engine.submit()
    scheduled = engine.submit(run_at=engine.clock().isoformat().replace("20", "21", 1))
    asking = engine.started(tools=TOOLS, input="[[sim: status=requires_action]]")
    engine.finish(asking)
    engine.poll()
    assert engine.status(asking) == "requires_action"

    for job_id in (queued, scheduled, asking):
        assert engine.cancel(job_id).status == "cancelled"
        assert engine.events(job_id)[-1] == "job.cancelled"
        assert engine.job(job_id).cancel_requested_at == engine.clock()

    assert engine.start(queued) == "nothing"
    assert (engine.count("create"), engine.count("cancel")) == (1, 0)


def test_a_running_job_is_cancelled_upstream(engine: Engine) -> None:
    job_id = engine.started()

    assert engine.cancel(job_id).status == "cancelling"
    assert engine.tell_upstream(job_id) == "ended"
    engine.poll(1)
    assert engine.status(job_id) == "cancelling"
    engine.poll()

    assert (engine.status(job_id), engine.upstream_status(job_id)) == ("cancelled", "cancelled")
    assert engine.events(job_id) == ["job.created", "job.started", "job.cancelled"]
    assert engine.job(job_id).error is None
    assert engine.count("cancel") == 1


def test_a_result_that_arrives_before_the_cancel_stands(engine: Engine) -> None:
    job_id = engine.started()
    engine.finish(job_id)

    assert engine.cancel(job_id).status == "cancelling"
    assert engine.tell_upstream(job_id) == "ended"
    engine.poll(1)

    assert engine.status(job_id) == "completed"
    assert len(engine.results(job_id)) == 1


def test_a_cancel_that_races_the_create_is_applied_when_the_id_is_known(engine: Engine) -> None:
    job_id = engine.submit()
    engine.between("gemini").before["create"] = lambda _: engine.cancel(job_id)

    assert engine.start(job_id) == "started"

    job = engine.job(job_id)
    assert (job.status, job.cancel_cause) == ("cancelling", "owner")
    assert job.interaction_id in engine.runs()
    engine.tell_upstream(job_id)
    engine.poll()
    assert engine.status(job_id) == "cancelled"
    assert engine.events(job_id) == ["job.created", "job.cancelled"]


def test_a_cancel_that_comes_while_the_id_is_being_written_down_is_not_lost(engine: Engine) -> None:
    job_id = engine.submit()

    with ThreadPoolExecutor(1) as threads:
        cancelling: list[Future[Job]] = []

        def cancel_meanwhile() -> float:
            # Called after the row was read and before it is moved.
            cancelling.append(threads.submit(engine.cancel, job_id))
            wait(cancelling, timeout=0.3)
            return 0.0

        whole = engine.context
        engine.context = replace(whole, chance=cancel_meanwhile)
        assert engine.start(job_id) == "started"
        engine.context = whole
        cancelling[0].result(30)

    assert engine.job(job_id).cancel_requested_at is not None
    assert engine.status(job_id) == "cancelling"


@pytest.mark.parametrize("status", [400, 429])
def test_a_cancelled_create_that_is_refused_ends_the_job(engine: Engine, status: int) -> None:
    job_id = engine.submit()
    engine.control.fault("create", status=status)
    engine.between("gemini").before["create"] = lambda _: engine.cancel(job_id)

    engine.start(job_id)

    assert (engine.status(job_id), engine.interactions(job_id)) == ("cancelled", [])


def test_a_cancelled_create_whose_answer_is_lost_ends_with_a_note(engine: Engine) -> None:
    job_id = engine.submit()
    engine.control.fault("create", status=500)
    engine.between("gemini").before["create"] = lambda _: engine.cancel(job_id)

    assert engine.start(job_id) == "cancelled"

    assert engine.count("create") == 1
    assert "may be alive" in engine.job(job_id).notes[0]


def test_a_cancelled_start_whose_worker_died_before_its_post_ends(engine: Engine) -> None:
    job_id = engine.submit()
    assert claim.claim(engine.context, [job_id])

    assert engine.cancel(job_id).status == "starting"
    engine.sweep(41)

    assert (engine.status(job_id), engine.count("create")) == ("cancelled", 0)


def test_cancelling_twice_changes_nothing_more(engine: Engine) -> None:
    job_id = engine.started()
    first = engine.cancel(job_id).cancel_requested_at
    engine.tell_upstream(job_id)
    engine.clock.advance(1)

    again = engine.cancel(job_id)

    assert (again.status, again.cancel_requested_at) == ("cancelling", first)
    engine.poll()
    assert engine.cancel(job_id).status == "cancelled"
    assert engine.events(job_id).count("job.cancelled") == 1


def test_a_job_that_ended_otherwise_cannot_be_cancelled(engine: Engine) -> None:
    job_id = engine.started()
    engine.finish(job_id)
    engine.poll()

    with pytest.raises(Conflict, match="the job is completed"):
        engine.cancel(job_id)
    with pytest.raises(NotFound):
        engine.cancel("job_of_nobody")
    with pytest.raises(NotFound):
        cancel.request(engine.context, "prj_other", job_id)


def test_a_cancel_voids_the_claim_of_whoever_polls_just_now(engine: Engine) -> None:
    job_id = engine.started()
    engine.between("poller").before["fetch"] = lambda _: engine.cancel(job_id)

    engine.poll()

    job = engine.job(job_id)
    assert (job.status, job.polls, job.cancel_answered_at) == ("cancelling", 0, None)


def test_a_run_that_goes_on_after_its_cancel_ends_the_job_after_two_minutes(engine: Engine) -> None:
    job_id = engine.started()
    engine.control.fault("cancel", kind="ignored")
    engine.cancel(job_id)
    assert engine.tell_upstream(job_id) == "accepted"

    for _ in range(11):
        engine.poll()
    assert engine.status(job_id) == "cancelling"
    engine.poll()

    assert (engine.status(job_id), engine.job(job_id).notes) == ("cancelled", [poll.MAY_STILL_RUN])
    assert engine.upstream_status(job_id) == "in_progress"


def test_a_cancel_that_fails_is_sent_again_until_it_is_taken(engine: Engine) -> None:
    job_id = engine.started()
    engine.control.fault("cancel", status=500, count=2)
    engine.cancel(job_id)

    for answer in ("trouble", "trouble", "ended"):
        assert engine.tell_upstream(job_id) == answer
        assert engine.tell_upstream(job_id) == "nothing"
        engine.poll(1)
        engine.pass_time(30)

    engine.poll()
    assert engine.status(job_id) == "cancelled"


def test_a_result_is_found_although_the_cancel_never_works(engine: Engine) -> None:
    job_id = engine.started()
    engine.control.fault("cancel", status=500)
    engine.cancel(job_id)
    engine.tell_upstream(job_id)
    engine.finish(job_id)

    engine.poll(1)

    assert engine.status(job_id) == "completed"


def test_a_run_whose_cancel_never_works_ends_the_job_after_two_minutes(engine: Engine) -> None:
    job_id = engine.started()
    engine.control.fault("cancel", status=500)
    engine.cancel(job_id)

    for _ in range(4):
        engine.tell_upstream(job_id)
        engine.poll(1)
        assert engine.status(job_id) == "cancelling"
        engine.pass_time(30)
    engine.tell_upstream(job_id)
    engine.poll(1)

    assert (engine.status(job_id), engine.job(job_id).notes) == ("cancelled", [poll.MAY_STILL_RUN])
    assert engine.count("cancel") == 5


def test_while_nothing_can_be_asked_the_job_is_looked_at_every_half_minute_for_a_day(engine: Engine) -> None:
    job_id = engine.started()
    engine.control.fault("get", kind="close")
    engine.between("gemini").instead["cancel"] = lambda _: CancelAnswer(CancelKind.TROUBLE)
    engine.cancel(job_id)

    engine.tell_upstream(job_id)
    engine.poll(1)
    due_at = engine.job(job_id).due_at
    assert due_at is not None
    assert (due_at - engine.clock()).total_seconds() == 30
    engine.clock.advance(86_000)
    engine.tell_upstream(job_id)
    engine.poll(1)
    assert engine.status(job_id) == "cancelling"
    engine.clock.advance(400)
    engine.tell_upstream(job_id)
    engine.poll(1)

    assert (engine.status(job_id), engine.job(job_id).notes) == ("cancelled", [poll.MAY_STILL_RUN])


def test_an_interaction_unknown_upstream_ends_as_cancelled_and_not_as_lost(engine: Engine) -> None:
    job_id = engine.started(agent=AGENT)
    engine.cancel(job_id)
    assert engine.context.gemini.delete(engine.job(job_id).interaction_id or "")
    assert engine.tell_upstream(job_id) == "missing"

    for _ in range(5):
        engine.poll(150)

    assert engine.status(job_id) == "cancelled"


def test_open_calls_of_a_run_being_cancelled_are_not_asked_for(engine: Engine) -> None:
    job_id = engine.started(tools=TOOLS, input="[[sim: status=requires_action]]")
    engine.finish(job_id)
    engine.cancel(job_id)
    engine.tell_upstream(job_id)

    engine.poll(1)

    assert engine.status(job_id) == "cancelled"
    assert "job.requires_action" not in engine.events(job_id)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_killed_while_it_cancels_is_replaced_when_its_claim_runs_out(engine: Engine, when: str) -> None:
    job_id, whole = engine.started(), engine.context.gemini
    engine.cancel(job_id)

    def die(_: object) -> None:
        raise Killed

    getattr(engine.between("gemini"), when)["cancel"] = die
    with pytest.raises(Killed):
        engine.tell_upstream(job_id)
    engine.context = replace(engine.context, gemini=whole)

    assert engine.tell_upstream(job_id) == "nothing"
    engine.clock.advance(15)
    assert engine.tell_upstream(job_id) == "ended"
    engine.poll()
    assert engine.status(job_id) == "cancelled"


def test_a_refused_start_of_a_cancelled_job_is_not_tried_again(engine: Engine) -> None:
    job_id = engine.submit()

    def refuse(_: object) -> None:
        engine.cancel(job_id)
        raise CreateRefused("create was not sent: ConnectError")

    engine.between("gemini").before["create"] = refuse

    engine.start(job_id)

    assert engine.status(job_id) == "cancelled"
