"""Usage: every interaction's tokens reach its job and the ledger, however it ended and however late they are told."""

from typing import Any

import pytest

from tests.integration.engine.engine import AGENT, Engine
from tests.integration.engine.ledgers import entries, told
from tests.integration.engine.test_adopt import adopted, elsewhere
from worker import ids
from worker.flow import remove
from worker.gemini.usage import MOST
from worker.models import Job, UsageEntry
from worker.store import usage as ledger
from worker.store.usage import Scope


@pytest.mark.parametrize("status", ["completed", "failed", "incomplete", "budget_exceeded"])
def test_an_interaction_that_ended_is_in_the_ledger(engine: Engine, status: str) -> None:
    job_id = engine.started(max_attempts=1)

    engine.finish(job_id, status=status, code="invalid_request")
    engine.poll()

    job = engine.job(job_id)
    (entry,) = entries(engine, job_id)
    (interaction,) = engine.interactions(job_id)
    assert job.status == status
    assert (entry.token, entry.turn, entry.kind, entry.target) == (interaction.token, 1, "model", job.target)
    assert (entry.project_id, entry.conversation_id, entry.at) == (job.project_id, job.conversation_id, job.finished_at)
    assert job.usage == interaction.usage
    assert entry.total_tokens == told(engine, job_id)
    assert entry.input_tokens > 0 < entry.output_tokens


def test_a_cancelled_run_is_paid_for(engine: Engine) -> None:
    job_id = engine.started()
    engine.cancel(job_id)
    engine.tell_upstream(job_id)

    engine.poll()

    assert engine.status(job_id) == "cancelled"
    assert [entry.total_tokens for entry in entries(engine, job_id)] == [told(engine, job_id)]


def test_an_adopted_run_counts_for_whoever_adopted_it(engine: Engine) -> None:
    job_id = adopted(engine, elsewhere(engine, agent=AGENT))
    engine.finish(job_id)

    engine.poll()

    assert [(entry.kind, entry.target) for entry in entries(engine, job_id)] == [("agent", AGENT)]


def test_a_result_that_cannot_be_kept_was_paid_for_too(engine: Engine) -> None:
    engine.set(max_result_bytes=2000)
    large, broken = engine.started(input="[[sim: size=20kb]]"), engine.started()
    engine.finish(large)
    name = engine.job(broken).interaction_id or ""
    engine.control.direct(name, body={"status": "completed", "usage": {"total_tokens": 12}, "steps": ["x" * 3000]})

    engine.poll()

    assert [engine.error(job_id) for job_id in (large, broken)] == ["result_too_large"] * 2
    assert [entry.total_tokens for entry in entries(engine, large)] == [told(engine, large)]
    assert [entry.total_tokens for entry in entries(engine, broken)] == [12]


@pytest.mark.parametrize(
    "odd",
    [
        {"total_tokens": 2**64 - 1, "total_input_tokens": -1},
        {"total_tokens": "12", "total_input_tokens": [1]},
        {"total_tokens": 1.5e300, "total_input_tokens": {"a": "\x00"}},
        {"total_tokens": 7, "noise": "x" * 100_000},
    ],
)
def test_an_odd_usage_never_costs_a_job_its_result(engine: Engine, odd: dict[str, Any]) -> None:
    job_id = engine.started()
    name = engine.job(job_id).interaction_id or ""
    steps = [{"type": "model_output", "content": [{"type": "text", "text": "Hello."}]}]
    engine.control.direct(name, body={"id": name, "status": "completed", "steps": steps, "usage": odd})

    engine.poll()

    assert engine.status(job_id) == "completed"
    (entry,) = entries(engine, job_id)
    assert 0 < entry.total_tokens <= MOST
    assert entry.input_tokens == 0


def test_turns_and_attempts_are_told_apart_and_summed(engine: Engine) -> None:
    job_id = engine.started(max_attempts=2)
    engine.finish(job_id, status="failed", code="internal")
    engine.poll()
    engine.start(job_id)
    engine.finish(job_id, status="requires_continuation")
    engine.poll()
    engine.start(job_id)
    engine.finish(job_id)
    engine.poll()

    found = entries(engine, job_id)
    assert (engine.status(job_id), [entry.turn for entry in found]) == ("completed", [1, 1, 2])
    assert told(engine, job_id) == sum(entry.total_tokens for entry in found)
    scope = Scope(project_id=engine.project_id, job_id=job_id)
    turns = engine.read(lambda session: ledger.page(session, scope, "turn", after=None, limit=10))
    assert [(turn, sums.interactions) for turn, sums in turns] == [(1, 2), (2, 1)]


def test_what_a_deleted_job_used_stays_used(engine: Engine) -> None:
    job_id = engine.started()
    engine.finish(job_id)
    engine.poll()
    used = told(engine, job_id)

    remove.job(engine.context, engine.project_id, job_id)

    assert engine.rows(Job) == []
    assert [entry.total_tokens for entry in entries(engine, job_id)] == [used]


def test_the_ledger_is_forgotten_after_its_retention(engine: Engine) -> None:
    engine.set(usage_retention_days=2)
    old = engine.started()
    engine.finish(old)
    engine.poll()
    engine.sweep(86_400)
    young = engine.started()
    engine.finish(young)
    engine.poll()
    assert len(engine.rows(UsageEntry)) == 2

    engine.sweep(86_400)

    assert [entry.job_id for entry in engine.rows(UsageEntry)] == [young]


def test_a_conversation_is_the_sum_of_its_jobs(engine: Engine) -> None:
    first = engine.started()
    engine.finish(first)
    engine.poll()
    second = engine.started(previous_job_id=first)
    engine.finish(second)
    engine.poll()
    remove.job(engine.context, engine.project_id, second)

    conversation = engine.job(first).conversation_id
    found = engine.read(lambda session: ledger.of_conversation(session, engine.project_id, conversation))
    foreign = engine.read(lambda session: ledger.of_conversation(session, ids.new("prj"), conversation))

    assert found.interactions == 2
    assert found.total_tokens == sum(one.total_tokens for job_id in (first, second) for one in entries(engine, job_id))
    assert (foreign.interactions, foreign.total_tokens) == (0, 0)
