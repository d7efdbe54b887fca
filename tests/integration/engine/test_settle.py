"""Settling: one result, stored once, whatever fails on the way; and what makes another run of it."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.integration.engine.engine import AGENT, Engine, Killed
from worker.errors import ArtifactStoreError, Unavailable
from worker.flow import ending, settle
from worker.retry import AGAIN

TOOLS = [{"type": "function", "name": "look", "parameters": {"type": "object"}}]
IMAGE = {"model": "gemini-3-pro-image", "input": "[[sim: images=1]]"}


def failing(error: Exception | BaseException, times: int) -> Callable[..., None]:
    left = [error] * times

    def fail(*_: object) -> None:
        if left:
            raise left.pop()

    return fail


def test_a_failing_artifact_store_is_tried_again_and_no_deadline_applies(engine: Engine) -> None:
    job_id = engine.started(**IMAGE, timeout_seconds=60)
    engine.finish(job_id)
    engine.between("artifacts").before["put"] = failing(ArtifactStoreError("away"), 9)

    waits = []
    for _ in range(9):
        engine.poll()
        due_at = engine.job(job_id).due_at
        assert due_at is not None
        waits.append((due_at - engine.clock()).total_seconds())
        engine.pass_time(waits[-1])
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert engine.status(job_id) == "in_progress"
    engine.poll()

    assert engine.status(job_id) == "completed"
    assert engine.events(job_id).count("job.completed") == 1


def test_a_result_once_seen_outlives_trouble_after_its_deadline(engine: Engine) -> None:
    job_id = engine.started(**IMAGE, timeout_seconds=60)
    engine.finish(job_id)
    engine.between("artifacts").before["put"] = failing(ArtifactStoreError("away"), 1)
    engine.poll()
    engine.control.fault("get", status=500, count=1)

    engine.poll(100)
    assert engine.status(job_id) == "in_progress"
    engine.poll()

    assert engine.status(job_id) == "completed"


def test_a_result_that_turns_out_to_be_none_has_a_deadline_again(engine: Engine) -> None:
    job_id = engine.started(**IMAGE, timeout_seconds=60)
    engine.finish(job_id)
    engine.between("artifacts").before["put"] = failing(ArtifactStoreError("away"), 1)
    engine.poll()
    assert engine.job(job_id).ended_seen
    engine.control.direct(engine.job(job_id).interaction_id or "", finish=False)

    engine.poll(100)

    assert engine.status(job_id) == "cancelling"


def test_a_result_seen_and_never_seen_again_is_given_up_after_a_day(engine: Engine) -> None:
    job_id = engine.started(**IMAGE, timeout_seconds=60)
    engine.finish(job_id)
    engine.between("artifacts").before["put"] = failing(ArtifactStoreError("away"), 1)
    engine.poll()
    engine.control.fault("get", status=500)

    engine.poll(86_000)
    assert engine.status(job_id) == "in_progress"
    engine.poll(600)

    assert engine.status(job_id) == "cancelling"


def test_a_result_that_is_too_large_fails_and_keeps_its_interaction(engine: Engine) -> None:
    engine.set(max_result_bytes=2000)
    job_id = engine.started(input="[[sim: size=20kb]]")

    engine.finish(job_id)
    engine.poll()

    assert (engine.status(job_id), engine.error(job_id)) == ("failed", "result_too_large")
    assert engine.job(job_id).interaction_id in engine.runs()
    assert engine.results(job_id) == []


def test_media_do_not_count_towards_the_size_of_a_result(engine: Engine) -> None:
    job_id = engine.started(**IMAGE)
    engine.set(max_result_bytes=3000)

    engine.finish(job_id)
    engine.poll()

    assert engine.status(job_id) == "completed"


def test_of_two_who_settle_one_result_the_later_changes_nothing(engine: Engine, artifacts_folder: Path) -> None:
    job_id = engine.started(**IMAGE)
    engine.finish(job_id)
    poller, first = engine.between("poller"), [True]

    def let_another_settle(_: object) -> None:
        if first.pop() if first else False:
            engine.clock.advance(15)
            engine.poll(0)

    poller.before["fetch"] = let_another_settle
    engine.poll()

    assert poller.calls.count("fetch") == 2
    assert engine.events(job_id) == ["job.created", "job.started", "job.completed"]
    assert len(engine.results(job_id)) == 1
    assert len([path for path in artifacts_folder.rglob("*") if path.is_file()]) == 1


def test_media_are_not_stored_for_a_claim_that_is_lost(engine: Engine, artifacts_folder: Path) -> None:
    job_id = engine.started(**IMAGE)
    engine.finish(job_id)
    # The owner cancels while the answer is on its way: whoever polls next settles.
    engine.between("poller").before["fetch"] = lambda _: engine.cancel(job_id)

    engine.poll()

    assert engine.status(job_id) == "cancelling"
    assert [path for path in artifacts_folder.rglob("*") if path.is_file()] == []


def test_a_claim_is_held_for_as_long_as_its_media_are_stored(engine: Engine) -> None:
    slow = engine.started(model="gemini-3-pro-image", input="[[sim: images=6]]")
    beside = engine.started()
    for job_id in (slow, beside):
        engine.finish(job_id)
    artifacts, taken = engine.between("artifacts"), []

    def take_long(_: object) -> None:
        engine.clock.advance(5)
        taken.append(engine.poll(0)["claimed"])

    artifacts.after["put"] = take_long
    engine.poll()

    assert taken == [0] * 6
    assert [engine.status(job_id) for job_id in (slow, beside)] == ["completed"] * 2
    assert [engine.job(job_id).polls for job_id in (slow, beside)] == [1, 1]


@pytest.mark.parametrize("where", ["put", "record"])
def test_a_poller_killed_while_it_settles_leaves_a_result_that_settles_again(engine: Engine, where: str) -> None:
    job_id = engine.started(**IMAGE)
    engine.finish(job_id)
    artifacts, sender = engine.between("artifacts"), engine.between("sender")
    if where == "put":
        artifacts.after["put"] = failing(Killed(), 1)
    else:
        sender.before["publish"] = failing(Killed(), 1)

    with pytest.raises(Killed):
        engine.poll()
    engine.poll(15)

    assert engine.status(job_id) == "completed"
    assert engine.events(job_id).count("job.completed") == 1
    assert len(engine.results(job_id)) == 1


def test_a_database_that_goes_away_at_the_end_costs_only_time(engine: Engine) -> None:
    job_id = engine.started(**IMAGE)
    engine.finish(job_id)
    database, artifacts = engine.between("database"), engine.between("artifacts")
    away = failing(Unavailable("away"), 1)
    artifacts.after["put"] = lambda _: database.before.update(write=away)

    engine.poll()
    assert engine.status(job_id) == "in_progress"
    engine.poll(15)

    assert engine.status(job_id) == "completed"


def test_one_result_that_cannot_be_settled_does_not_hold_up_the_others(engine: Engine) -> None:
    bad, good, running = engine.started(**IMAGE), engine.started(), engine.started()
    engine.finish(bad)
    engine.finish(good)
    engine.between("artifacts").before["put"] = failing(RuntimeError("a bug"), 99)

    engine.poll()

    assert [engine.status(job_id) for job_id in (bad, good, running)] == ["in_progress", "completed", "in_progress"]
    assert engine.job(running).polls == 1
    assert engine.job(bad).settle_tries == 1

    engine.change(bad, settle_tries=settle.MAX_CRASHES, due_at=engine.clock())
    engine.poll()
    assert (engine.status(bad), engine.error(bad)) == ("failed", "worker_lost")


def test_one_odd_result_does_not_hurt_its_neighbours(engine: Engine) -> None:
    first, odd, last = engine.started(), engine.started(), engine.started()
    for job_id in (first, odd, last):
        engine.finish(job_id)
    name = engine.job(odd).interaction_id or ""
    steps = [{"type": "model_output", "content": [{"type": "text", "text": "Hello."}]}]
    usage = {"PostgreSQL refuses\x00": "\x00"}
    engine.control.direct(name, body={"id": name, "status": "completed", "steps": steps, "usage": usage})

    engine.poll()

    assert [engine.status(job_id) for job_id in (first, odd, last)] == ["completed"] * 3


def test_a_transient_failure_is_run_again_and_paid_for_together(engine: Engine) -> None:
    job_id = engine.started(max_attempts=2)
    engine.finish(job_id, status="failed", code="internal")
    engine.poll()

    job = engine.job(job_id)
    assert (job.status, job.attempt, job.interaction_id, job.polls) == ("queued", 2, None, 0)
    assert job.due_at == engine.clock() + timedelta(seconds=AGAIN.start_s)
    assert job.deadline_at == engine.clock() + timedelta(days=7)
    first = (job.usage or {})["total_tokens"]

    assert engine.start(job_id) == "started"
    engine.finish(job_id)
    engine.poll()

    assert engine.status(job_id) == "completed"
    usages = [one.usage or {} for one in engine.interactions(job_id)]
    assert len(usages) == 2
    total = (engine.job(job_id).usage or {})["total_tokens"]
    assert total == sum(usage["total_tokens"] for usage in usages) > first
    assert engine.events(job_id) == ["job.created", "job.started", "job.started", "job.completed"]


@pytest.mark.parametrize(
    ("options", "code", "attempts"),
    [
        ({}, "internal", 3),
        ({"max_attempts": 1}, "internal", 1),
        ({"agent": AGENT}, "internal", 1),
        ({"agent": AGENT, "max_attempts": 2}, "internal", 2),
        ({}, "invalid_request", 1),
        ({}, "safety", 1),
    ],
)
def test_runs_that_fail_are_repeated_as_often_as_allowed(
    engine: Engine, options: dict[str, object], code: str, attempts: int
) -> None:
    job_id = engine.submit(**options)

    for _ in range(attempts):
        assert engine.start(job_id) == "started"
        engine.finish(job_id, status="failed", code=code)
        engine.poll()

    assert (engine.status(job_id), engine.job(job_id).attempt) == ("failed", attempts)
    assert engine.count("create") == attempts
    upstream = (engine.job(job_id).error or {})["upstream"]
    assert (upstream["code"], upstream["status"]) == (code, None)


def test_open_function_calls_park_the_job(engine: Engine) -> None:
    job_id = engine.started(tools=TOOLS, input="[[sim: status=requires_action calls=2]]")
    engine.finish(job_id)
    engine.poll()

    job = engine.job(job_id)
    action = job.required_action or {}
    assert (job.status, job.due_at, action["type"]) == ("requires_action", None, "function_calls")
    assert [call["name"] for call in action["function_calls"]] == ["look", "look"]
    assert all(call["id"] for call in action["function_calls"])
    assert job.deadline_at == engine.clock() + timedelta(days=1)
    assert engine.events(job_id)[-1] == "job.requires_action"
    assert engine.poll(1000)["claimed"] == 0


def test_a_run_cut_short_goes_on_in_a_new_turn(engine: Engine) -> None:
    job_id = engine.started(input="[[sim: text='One two three four.']]", system_instruction="Be brief.")
    first = engine.job(job_id).interaction_id
    engine.finish(job_id, status="requires_continuation")
    engine.poll()

    job = engine.job(job_id)
    assert (job.status, job.turn, job.attempt) == ("queued", 2, 1)
    assert engine.start(job_id) == "started"
    assert engine.runs()[engine.job(job_id).interaction_id or ""]["previous_interaction_id"] == first
    job = engine.job(job_id)
    assert job.deadline_at == engine.clock() + timedelta(seconds=job.timeout_seconds)
    engine.finish(job_id)
    engine.poll()

    assert engine.status(job_id) == "completed"
    assert sorted(result.turn for result in engine.results(job_id)) == [1, 2]
    assert (engine.job(job_id).usage or {})["total_tokens"] > 0


def test_an_upstream_that_never_stops_asking_for_more_is_stopped(engine: Engine) -> None:
    job_id = engine.started()
    engine.change(job_id, turn=ending.MAX_TURNS)
    engine.finish(job_id, status="requires_continuation")

    engine.poll()

    assert engine.status(job_id) == "incomplete"
