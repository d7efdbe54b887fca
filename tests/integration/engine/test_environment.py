"""Environments of managed agents: known from the run, gone on in by the next turn and by the next job."""

from typing import Any

import pytest

from tests.integration.engine.asking import TOOLS, answer, request, settled
from tests.integration.engine.engine import AGENT, Engine
from worker.errors import Invalid

ANTIGRAVITY = "antigravity-preview-09-2026"
REMOTE = {"agent": ANTIGRAVITY, "environment": "remote"}
FOLLOWING = {"agent": ANTIGRAVITY, "input": "continue"}


def worked(engine: Engine, **fields: Any) -> str:
    """A job that has worked in an environment."""
    job_id = engine.started(**(REMOTE | fields))
    settled(engine, job_id)
    assert engine.job(job_id).environment_id
    return job_id


def pointers(engine: Engine, **fields: Any) -> list[str]:
    with pytest.raises(Invalid) as refused:
        engine.submit(**fields)
    return [fault.pointer for fault in refused.value.faults]


def test_what_was_cut_short_goes_on_in_its_conversation_and_environment(engine: Engine) -> None:
    first = engine.started(**REMOTE, agent_config={"type": "antigravity", "max_total_tokens": 5})
    before = settled(engine, first)
    assert (before.status, before.environment_id is not None) == ("incomplete", True)

    second = engine.submit(**FOLLOWING, previous_job_id=first)
    engine.start(second)

    sent = request(engine, second)
    assert (sent["previous_interaction_id"], sent["environment"]) == (before.interaction_id, before.environment_id)
    done = settled(engine, second)
    assert (done.status, done.environment_id, done.conversation_id) == ("completed", before.environment_id, first)


def test_a_job_that_waits_has_the_environment_that_its_predecessor_will_leave(engine: Engine) -> None:
    first = engine.started(**REMOTE)
    second = engine.submit(**FOLLOWING, previous_job_id=first)

    before = settled(engine, first)
    engine.start(second)

    assert request(engine, second)["environment"] == before.environment_id


def test_an_environment_that_is_named_is_the_one_that_is_used(engine: Engine) -> None:
    first = worked(engine)

    second = engine.submit(**REMOTE, previous_job_id=first)
    engine.start(second)

    assert request(engine, second)["environment"] == "remote"


def test_an_own_agent_goes_on_where_the_job_before_worked(engine: Engine) -> None:
    first = worked(engine)
    second = engine.submit(agent="my-agent", input="continue", previous_job_id=first)

    assert engine.start(second) == "started"

    assert request(engine, second)["environment"] == engine.job(first).environment_id


@pytest.mark.parametrize("target", [{"agent": AGENT}, {"model": "gemini-3.8-flash"}])
def test_who_works_in_no_environment_is_given_none(engine: Engine, target: dict[str, str]) -> None:
    second = engine.submit(**target, input="Sum it up.", previous_job_id=worked(engine))

    assert engine.start(second) == "started"

    assert "environment" not in request(engine, second)


def test_an_environment_that_nobody_leaves_must_be_named(engine: Engine) -> None:
    model, research = engine.started(), engine.started(agent=AGENT)
    ended = engine.started()
    settled(engine, ended)

    assert pointers(engine, **FOLLOWING) == ["/environment"]
    assert pointers(engine, **FOLLOWING, previous_job_id=ended) == ["/environment"]
    assert pointers(engine, **FOLLOWING, previous_job_id=research) == ["/environment"]
    waiting = engine.submit(**FOLLOWING, previous_job_id=model)
    settled(engine, model)

    assert engine.start(waiting) == "failed"
    assert engine.error(waiting) == "previous_job_failed"
    assert "environment" in (engine.job(waiting).error or {})["message"]


def test_the_next_turn_works_where_the_last_one_did(engine: Engine) -> None:
    job_id = engine.started(**REMOTE, tools=TOOLS, input="[[sim: calls=1]]")
    before = settled(engine, job_id)
    assert before.status == "requires_action"

    answer(engine, job_id)
    engine.start(job_id)

    assert request(engine, job_id)["environment"] == before.environment_id


def test_the_next_turn_puts_no_sources_where_they_lie_already(engine: Engine) -> None:
    asked = {
        "type": "remote",
        "sources": [{"type": "inline", "content": "x", "target": "/a"}],
        "network": "disabled",
    }
    job_id = engine.started(agent=ANTIGRAVITY, environment=asked, input="Work.")
    before = settled(engine, job_id, status="requires_continuation")

    engine.start(job_id)

    kept = {"type": "remote", "network": "disabled", "environment_id": before.environment_id}
    assert request(engine, job_id)["environment"] == kept


def test_an_id_that_could_not_be_named_again_is_not_kept(engine: Engine) -> None:
    job_id = engine.started()

    job = settled(engine, job_id, body={"status": "completed", "environment_id": "e\n", "steps": []})

    assert job.environment_id is None
