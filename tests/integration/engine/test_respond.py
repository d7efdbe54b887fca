"""Answers to function calls: one is taken, and the job goes on with it in its next turn."""

from datetime import timedelta
from typing import Any

import orjson
import pytest

from tests import factories
from tests.integration.engine.asking import ONCE_MORE, TOOLS, answer, asking, call_ids, request, results, settled
from tests.integration.engine.engine import Engine
from worker.errors import Conflict, Invalid, NotFound
from worker.flow import respond
from worker.models import Event

PICTURE = {"type": "image", "mime_type": "image/png", "data": "aGVsbG8="}
CONTENTS = [{"type": "text", "text": "See:"}, PICTURE]


def pointers(engine: Engine, job_id: str, given: Any, **fields: Any) -> list[str]:
    with pytest.raises(Invalid) as refused:
        answer(engine, job_id, given, **fields)
    return sorted(fault.pointer for fault in refused.value.faults)


def test_an_answered_job_goes_on_in_its_next_turn(engine: Engine) -> None:
    job_id = asking(engine)
    first = engine.job(job_id)

    (answered,) = answer(engine, job_id).jobs

    assert (answered.status, answered.turn, answered.attempt, answered.required_action) == ("queued", 2, 1, None)
    assert answered.deadline_at == engine.clock() + timedelta(seconds=answered.queue_timeout_seconds)
    assert engine.start(job_id) == "started"
    job = engine.job(job_id)
    assert request(engine, job_id)["previous_interaction_id"] == first.interaction_id
    assert job.deadline_at == engine.clock() + timedelta(seconds=job.timeout_seconds)
    done = settled(engine, job_id)
    assert (done.status, done.turn) == ("completed", 2)
    usages = [row.usage["total_tokens"] for row in engine.interactions(job_id) if row.usage]
    assert (len(usages), (done.usage or {})["total_tokens"]) == (2, sum(usages))
    assert [result.turn for result in engine.results(job_id)] == [1, 2]
    started, asks, ends = "job.started", "job.requires_action", "job.completed"
    assert engine.events(job_id) == ["job.created", started, asks, started, ends]


def test_the_answer_is_told_to_the_workers(engine: Engine) -> None:
    job_id = asking(engine)
    sender = engine.between("sender")

    answer(engine, job_id)

    assert sender.calls[0] == "send"


def test_a_turn_asks_again_for_all_that_the_first_one_asked_for(engine: Engine) -> None:
    again: dict[str, Any] = {
        "system_instruction": "Be brief.",
        "generation_config": {"thinking_level": "low"},
        "response_format": {"type": "text", "mime_type": "application/json", "schema": {"type": "object"}},
        "labels": {"team": "red"},
        "service_tier": "flex",
        "safety_settings": None,
        "extra_body": {"response_modalities": ["text"]},
    }
    job_id = asking(engine, **again)
    first = request(engine, job_id)
    given = results(engine, job_id, {"wet": False, "mm": 1.50}, name="look", is_error=True)

    answer(engine, job_id, given)
    engine.start(job_id)

    second = request(engine, job_id)
    own = {"input", "previous_interaction_id"}
    assert second["input"] == given
    assert {name: second[name] for name in second.keys() - own} == {name: first[name] for name in first.keys() - own}
    assert (second["tools"], second["response_modalities"]) == (TOOLS, ["text"])
    assert settled(engine, job_id).status == "completed"
    assert b'"output_json":{' in engine.results(job_id)[1].outcome


def test_parallel_calls_are_answered_together_by_texts_objects_and_pictures(engine: Engine) -> None:
    job_id = asking(engine, calls=3)
    one, two, three = call_ids(engine, job_id)
    given = [
        {"type": "function_result", "call_id": three, "result": "It is dry."},
        {"type": "function_result", "call_id": one, "result": {"wet": None}, "is_error": True},
        {"type": "function_result", "call_id": two, "result": CONTENTS},
    ]

    answer(engine, job_id, given)
    engine.start(job_id)

    assert request(engine, job_id)["input"] == given
    assert settled(engine, job_id).status == "completed"


def test_twenty_turns_are_taken_one_after_the_other(engine: Engine) -> None:
    job_id = asking(engine)

    for turn in range(2, 21):
        answer(engine, job_id, results(engine, job_id, ONCE_MORE if turn < 20 else "Done."))
        assert engine.start(job_id) == "started"
        assert settled(engine, job_id).turn == turn

    job = engine.job(job_id)
    assert (job.status, job.turn) == ("completed", 20)
    usages = [(row.usage or {})["total_tokens"] for row in engine.interactions(job_id)]
    assert (len(usages), (job.usage or {})["total_tokens"]) == (20, sum(usages))
    assert engine.events(job_id).count("job.requires_action") == 19


def test_an_answer_needs_one_result_for_each_open_call(engine: Engine) -> None:
    job_id = asking(engine, calls=2)
    one, two = results(engine, job_id)
    stray = {**two, "call_id": "call_of_nobody"}
    text = {"type": "user_input", "content": [{"type": "text", "text": "Never mind."}]}

    assert pointers(engine, job_id, [one]) == ["/input"]
    assert pointers(engine, job_id, [one, stray]) == ["/input", "/input/1/call_id"]
    assert pointers(engine, job_id, [one, two, one]) == ["/input/2/call_id"]
    assert pointers(engine, job_id, [one, two, text]) == ["/input/2/type"]
    assert pointers(engine, job_id, []) == ["/input", "/input"]
    assert pointers(engine, job_id, "It is dry.") == ["/input"]
    assert pointers(engine, job_id, [one, {**two, "call_id": ["x"]}]) == ["/input", "/input/1/call_id"]
    assert pointers(engine, job_id, [one, {**two, "result": 7}]) == ["/input/1/result"]
    assert pointers(engine, job_id, [one, {**two, "result": [{"type": "hologram"}]}]) == ["/input/1/result/0/type"]
    assert pointers(engine, job_id, [one, two], tools=TOOLS, inputs=[]) == ["/inputs", "/tools"]
    assert "/input/1" in pointers(engine, job_id, [one, "text"])
    assert (engine.status(job_id), engine.job(job_id).turn) == ("requires_action", 1)


def test_only_a_job_that_asks_can_be_answered_and_only_by_its_project(engine: Engine) -> None:
    job_id = asking(engine)
    given = results(engine, job_id)
    with engine.context.database.write() as session:
        other = factories.project(session, "another").id

    with pytest.raises(NotFound):
        answer(engine, job_id, given, project_id=other)
    with pytest.raises(NotFound):
        answer(engine, "job_of_nobody", given)
    answer(engine, job_id, given)

    for expected in ("queued", "in_progress", "completed"):
        with pytest.raises(Conflict, match=f"the job is {expected}"):
            answer(engine, job_id, given)
        if expected == "queued":
            engine.start(job_id)
        else:
            settled(engine, job_id)


def test_answers_are_not_refused_because_the_queue_is_full(engine: Engine) -> None:
    job_id = asking(engine)
    engine.set(max_queued=1)
    engine.submit()

    answer(engine, job_id)

    assert engine.status(job_id) == "queued"


def test_a_run_that_fails_in_a_later_turn_is_tried_again_with_that_turns_answers(engine: Engine) -> None:
    job_id = asking(engine)
    asker = engine.job(job_id).interaction_id
    given = results(engine, job_id)
    answer(engine, job_id, given)
    engine.start(job_id)

    job = settled(engine, job_id, status="failed", code="internal")
    assert (job.status, job.turn, job.attempt) == ("queued", 2, 2)
    engine.pass_time(10)
    assert engine.start(job_id) == "started"

    assert (request(engine, job_id)["input"], request(engine, job_id)["previous_interaction_id"]) == (given, asker)
    assert settled(engine, job_id).status == "completed"
    places = sorted((row.turn, row.attempt, row.status) for row in engine.interactions(job_id))
    assert places == [(1, 1, "requires_action"), (2, 1, "failed"), (2, 2, "completed")]


def test_an_answer_whose_create_is_lost_is_sent_again_only_where_that_was_chosen(engine: Engine) -> None:
    again, never = asking(engine), asking(engine, on_unknown_create="fail")
    for job_id in (again, never):
        answer(engine, job_id)
    engine.control.fault("create", kind="lost")

    assert (engine.start(again), engine.start(never)) == ("queued", "failed")
    engine.control.clear_faults()

    assert engine.error(never) == "create_unconfirmed"
    assert (engine.job(again).turn, engine.job(again).attempt) == (2, 2)
    assert engine.start(again) == "started"
    assert settled(engine, again).status == "completed"


def test_a_turn_cut_short_goes_on_with_neither_the_answers_nor_an_old_token(engine: Engine) -> None:
    job_id = asking(engine, system_instruction="Be brief.")
    answer(engine, job_id, results(engine, job_id, "[[sim: text='One two three four.']]"))
    for turn in (2, 3):
        engine.start(job_id)
        assert settled(engine, job_id, status="requires_continuation").turn == turn + 1
    engine.start(job_id)

    sent = request(engine, job_id)
    assert ("input" in sent, sent["system_instruction"], sent["tools"]) == (False, "Be brief.", TOOLS)
    assert settled(engine, job_id).status == "completed"


def test_an_answer_after_a_continuation_carries_no_token(engine: Engine) -> None:
    job_id = engine.started(tools=TOOLS, input="[[sim: text='One two three four.']]")
    settled(engine, job_id, status="requires_continuation")
    engine.start(job_id)
    assert settled(engine, job_id, status="requires_action", calls=1).status == "requires_action"

    answer(engine, job_id)
    engine.start(job_id)

    assert "continuation_token" not in request(engine, job_id)
    assert settled(engine, job_id).status == "completed"


def test_an_answered_call_does_not_expire(engine: Engine) -> None:
    answered, forgotten = (asking(engine, action_timeout_seconds=100) for _ in range(2))
    answer(engine, answered)

    engine.sweep(101)

    assert (engine.status(answered), engine.status(forgotten)) == ("queued", "expired")
    assert engine.error(forgotten) == "deadline_exceeded"
    with pytest.raises(Conflict, match="expired"):
        answer(engine, forgotten, [])


def test_a_job_that_waits_for_a_start_in_a_later_turn_expires_like_any_other(engine: Engine) -> None:
    job_id = asking(engine, queue_timeout_seconds=100)
    engine.pass_time(1000)
    answer(engine, job_id)

    engine.sweep(99)
    assert engine.status(job_id) == "queued"
    engine.sweep()

    assert engine.status(job_id) == "expired"


def test_a_follower_waits_for_the_last_turn(engine: Engine) -> None:
    job_id = asking(engine)
    follower = engine.submit(previous_job_id=job_id)
    answer(engine, job_id)
    engine.start(job_id)
    assert engine.status(follower) == "scheduled"

    done = settled(engine, job_id)
    engine.start(follower)

    assert request(engine, follower)["previous_interaction_id"] == done.interaction_id


def test_a_webhook_tells_what_is_asked_and_where_to_answer(engine: Engine) -> None:
    job_id = asking(engine, calls=2, webhook_url="https://hooks.example/in")

    (told,) = [orjson.loads(row.payload) for row in engine.rows(Event, job_id) if row.payload]

    assert (told["type"], told["data"]["status"]) == ("job.requires_action", "requires_action")
    assert [call["id"] for call in told["data"]["required_action"]["function_calls"]] == call_ids(engine, job_id)
    assert told["data"]["links"]["respond"] == f"/v1/jobs/{job_id}/respond"


@pytest.mark.parametrize(
    ("name", "size", "told"), [("c", 100, [True]), ("c", 70_000, [False]), ("c" * 70_000, 100, [])]
)
def test_an_event_tells_the_calls_as_far_as_they_fit(engine: Engine, name: str, size: int, told: list[bool]) -> None:
    job_id = engine.started(tools=TOOLS)
    call = {"type": "function_call", "id": name, "name": "look", "arguments": {"at": "x" * size}}

    job = settled(engine, job_id, body={"status": "requires_action", "steps": [call]})

    assert (job.required_action or {})["function_calls"] == [{k: v for k, v in call.items() if k != "type"}]
    shown = engine.event_rows(job_id)[-1].data["required_action"]["function_calls"]
    assert [one["arguments"] is not None for one in shown] == told
    assert "required_action" not in engine.event_rows(job_id)[0].data


def test_an_action_that_nobody_can_take_is_not_waited_for(engine: Engine) -> None:
    job_id = engine.started(tools=TOOLS)
    steps = [{"type": "function_call", "name": "look"}, {"type": "approval_request", "id": "a1"}]

    job = settled(engine, job_id, body={"status": "requires_action", "steps": steps})

    assert (job.status, job.required_action, job.interaction_id is not None) == ("incomplete", None, True)
    assert any("previous_job_id" in note for note in job.notes)
    assert [result.turn for result in engine.results(job_id)] == [1]


def test_a_tool_search_of_the_clients_is_answered_with_functions(engine: Engine) -> None:
    job_id = engine.started(tools=[*TOOLS, {"type": "tool_search", "execution": "client", "name": "find"}])
    search = {"type": "tool_search_call", "id": "s1", "arguments": {"function_names": ["look"]}}
    settled(engine, job_id, body={"status": "requires_action", "steps": [search]})

    answer(engine, job_id, [{"type": "tool_search_result", "call_id": "s1", "result": TOOLS}])
    engine.start(job_id)

    assert request(engine, job_id)["input"][0]["result"] == TOOLS


def test_a_job_has_so_many_turns_and_no_more(engine: Engine) -> None:
    job_id = asking(engine)
    engine.change(job_id, turn=respond.MAX_TURNS)

    with pytest.raises(Conflict, match=str(respond.MAX_TURNS)):
        answer(engine, job_id)


def test_a_caller_who_says_all_there_is_to_ask_is_taken_at_their_word(engine: Engine) -> None:
    job_id = asking(engine, system_instruction="Be brief.")
    own = {"model": "gemini-4-argon", "generation_config": {"thinking_level": "high"}}

    answer(engine, job_id, **own, is_whole=True)
    engine.start(job_id)

    sent = request(engine, job_id)
    assert (sent["model"], sent["generation_config"]) == (engine.job(job_id).target, own["generation_config"])
    assert not {"system_instruction", "tools"} & sent.keys()
