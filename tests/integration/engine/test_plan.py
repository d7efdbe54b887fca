"""Research plans: approved, edited or rejected by the next job of the conversation; of approvals one is taken."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa

from tests import factories
from tests.integration.engine.asking import request, settled
from tests.integration.engine.engine import AGENT, Engine
from worker.errors import Conflict, IdempotencyReused, Invalid, NotFound
from worker.flow import adopt, plan, submit
from worker.flow.submit import Accepted, Order
from worker.gemini import planning
from worker.gemini.request import build
from worker.models import Job

CONFIG = {"type": "deep-research", "collaborative_planning": True, "visualization": "auto"}


def planned(engine: Engine, **fields: Any) -> str:
    """A completed job whose output is a plan."""
    job_id = engine.started(**{"agent": AGENT, "input": "Owls at night.", "agent_config": CONFIG} | fields)
    assert settled(engine, job_id).status == "completed"
    return job_id


def decide(engine: Engine, job_id: str, action: Any = "approve", *, key: str | None = None, **fields: Any) -> Accepted:
    path = f"/v1/jobs/{job_id}/plan"
    project_id = fields.pop("project_id", engine.project_id)
    asked = plan.Asked(project_id=project_id, job_id=job_id, path=path, fields={"action": action, **fields})
    draft = plan.draft(engine.context, asked)
    return accepted(engine, Order(project_id, [draft], path, key, str(asked.fields), is_once=asked.is_approval))


def accepted(engine: Engine, order: Order) -> Accepted:
    outcome = submit.accept(engine.context, [order])[0]
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def jobs(engine: Engine) -> int:
    """How many there are."""
    return int(engine.read(lambda session: session.scalar(sa.select(sa.func.count()).select_from(Job))))


def pointers(engine: Engine, job_id: str, **fields: Any) -> list[str]:
    with pytest.raises(Invalid) as refused:
        decide(engine, job_id, **fields)
    return [fault.pointer for fault in refused.value.faults]


def test_an_approved_plan_is_carried_out_by_the_next_job(engine: Engine) -> None:
    own = {
        "tools": [{"type": "google_search"}],
        "labels": {"team": "red"},
        "metadata": {"order": "7"},
        "priority": "high",
        "webhook_url": "https://hooks.example/in",
        "webhook_events": ["job.completed"],
        "timeout_seconds": 3000.0,
        "retention_days": 7,
        "max_attempts": 2,
        "on_unknown_create": "retry",
    }
    first = planned(engine, **own)

    (job,) = decide(engine, first).jobs
    engine.start(job.id)

    sent, before = request(engine, job.id), engine.job(first)
    assert (sent["previous_interaction_id"], sent["input"]) == (before.interaction_id, planning.APPROVAL)
    assert sent["agent_config"] == {**CONFIG, "collaborative_planning": False}
    assert (sent["agent"], sent["tools"], sent["labels"]) == (AGENT, own["tools"], own["labels"])
    assert (job.previous_job_id, job.conversation_id, job.user_metadata) == (first, first, own["metadata"])
    taken_over = ("priority", "webhook_url", "webhook_events", "timeout_seconds", "retention_days", "max_attempts")
    assert [getattr(job, name) for name in taken_over] == [getattr(before, name) for name in taken_over]
    assert job.on_unknown_create == "retry"
    done = settled(engine, job.id)
    assert (done.status, done.is_planning) == ("completed", False)
    assert b'"citations":[{' in engine.results(job.id)[0].outcome


def test_an_edited_plan_is_another_plan_with_what_was_asked_for(engine: Engine) -> None:
    first = planned(engine)

    (job,) = decide(engine, first, "edit", feedback="Leave out barn owls.").jobs
    engine.start(job.id)
    settled(engine, job.id)

    assert (request(engine, job.id)["input"], engine.job(job.id).is_planning) == ("Leave out barn owls.", True)
    assert request(engine, job.id)["agent_config"] == CONFIG
    (research,) = decide(engine, job.id, feedback="Be quick.").jobs
    engine.start(research.id)
    assert request(engine, research.id)["input"] == f"{planning.APPROVAL}\n\nBe quick."
    assert engine.job(research.id).conversation_id == first


@pytest.mark.parametrize("feedback", [None, "Ask about winter."])
def test_a_rejected_plan_is_made_anew(engine: Engine, feedback: str | None) -> None:
    (job,) = decide(engine, planned(engine), "reject", feedback=feedback).jobs
    engine.start(job.id)

    words = "\n\n".join(filter(None, [planning.REJECTION, feedback]))
    assert (request(engine, job.id)["input"], engine.job(job.id).is_planning) == (words, True)


def test_only_a_completed_plan_can_be_decided_on_and_only_by_its_project(engine: Engine) -> None:
    running = engine.started(agent=AGENT, agent_config=CONFIG)
    plain = engine.started(agent=AGENT)
    settled(engine, plain)
    with engine.context.database.write() as session:
        other = factories.project(session, "another").id

    with pytest.raises(Conflict, match="the job is in_progress"):
        decide(engine, running)
    with pytest.raises(Conflict, match="not asked for a plan"):
        decide(engine, plain)
    with pytest.raises(NotFound):
        decide(engine, planned(engine), project_id=other)
    with pytest.raises(NotFound):
        decide(engine, "job_of_nobody")


def test_a_decision_is_refused_with_a_pointer_for_each_fault(engine: Engine) -> None:
    job_id = planned(engine)

    assert pointers(engine, job_id, action="burn") == ["/action"]
    assert pointers(engine, job_id, action=["approve"]) == ["/action"]
    assert pointers(engine, job_id, action=None, feedbak="x") == ["/feedbak", "/action"]
    assert pointers(engine, job_id, action="edit") == ["/feedback"]
    assert pointers(engine, job_id, action="edit", feedback=" ") == ["/feedback"]
    assert pointers(engine, job_id, action="approve", feedback=7) == ["/feedback"]
    assert pointers(engine, job_id, action="reject", feedback="x" * 100_001) == ["/feedback"]


def test_a_plan_is_approved_once(engine: Engine) -> None:
    job_id = planned(engine)
    (research,) = decide(engine, job_id, key="once").jobs

    for action, feedback in (("approve", None), ("edit", "More."), ("reject", None)):
        with pytest.raises(Conflict, match=research.id):
            decide(engine, job_id, action, feedback=feedback, key="other")
    assert jobs(engine) == 2


def drafted(engine: Engine, job_id: str, key: str | None, **fields: Any) -> Order:
    """An order that has passed every check before its transaction."""
    path = f"/v1/jobs/{job_id}/plan"
    asked = plan.Asked(project_id=engine.project_id, job_id=job_id, path=path, fields={"action": "approve", **fields})
    draft = plan.draft(engine.context, asked)
    return Order(engine.project_id, [draft], path, key, str(asked.fields), is_once=asked.is_approval)


def race(engine: Engine, orders: list[Order]) -> list[Any]:
    barrier = Barrier(len(orders))

    def send(order: Order) -> Any:
        barrier.wait(30)
        return submit.accept(engine.context, [order])[0]

    with ThreadPoolExecutor(len(orders)) as threads:
        return list(threads.map(send, orders))


def test_of_approvals_that_race_one_buys_the_research(engine: Engine) -> None:
    job_id = planned(engine)
    keys = [None, "a", "b", None]

    told = race(engine, [drafted(engine, job_id, key) for key in keys])

    taken = [one for one in told if isinstance(one, Accepted)]
    assert len(taken) == 1
    assert sum(isinstance(one, Conflict) and taken[0].jobs[0].id in str(one) for one in told) == 3
    assert jobs(engine) == 2


def test_the_same_approval_sent_several_times_at_once_gives_one_job(engine: Engine) -> None:
    job_id = planned(engine)

    told = race(engine, [drafted(engine, job_id, "once") for _ in range(4)])

    assert len({one.jobs[0].id for one in told}) == 1
    assert sorted(one.replayed for one in told) == [False, True, True, True]


def test_approvals_of_one_group_are_told_apart(engine: Engine) -> None:
    first, second = planned(engine), planned(engine)
    orders = [drafted(engine, name, key) for name, key in ((first, "a"), (second, "a"), (first, "b"), (first, "a"))]

    told = submit.accept(engine.context, orders)

    one, other, late, again = told
    assert isinstance(one, Accepted)
    assert isinstance(other, Accepted)
    assert isinstance(again, Accepted)
    assert isinstance(late, Conflict)
    assert (again.replayed, again.jobs[0].id) == (True, one.jobs[0].id)
    assert other.jobs[0].previous_job_id == second


def test_a_key_that_an_edit_has_used_approves_nothing_and_stands_in_nobodys_way(engine: Engine) -> None:
    job_id = planned(engine)
    late = drafted(engine, job_id, "once")
    decide(engine, job_id, "edit", feedback="More.", key="once")

    assert isinstance(submit.accept(engine.context, [late])[0], IdempotencyReused)

    assert decide(engine, job_id, key="another").jobs[0].previous_job_id == job_id


def test_a_plan_made_elsewhere_is_decided_on_as_far_as_the_upstream_repeats_its_request(engine: Engine) -> None:
    asked = {"agent": AGENT, "input": "Owls at night.", "agent_config": CONFIG}
    name = engine.context.gemini.create(build(asked)).result(30).upstream_id
    plan_ = [{"type": "model_output", "content": [{"type": "text", "text": "First, owls."}]}]
    body = {"status": "completed", "agent": AGENT, "agent_config": CONFIG, "steps": plan_}
    engine.control.direct(name, body=body, finish=True)
    order = Order(engine.project_id, (), "/v1/jobs/adopt")
    given = adopt.Asked(order=order, fields={"interaction_id": name}, is_admin=True)
    adopted = adopt.take_over(engine.context, given).jobs[0].id
    engine.poll()
    assert engine.status(adopted) == "completed"

    (job,) = decide(engine, adopted).jobs

    assert (engine.start(job.id), job.max_attempts) == ("started", 1)
    assert request(engine, job.id)["agent_config"] == {**CONFIG, "collaborative_planning": False}
    assert request(engine, job.id)["previous_interaction_id"] == name


def test_a_plan_past_the_upstreams_retention_is_not_approved(engine: Engine) -> None:
    job_id = planned(engine)
    engine.set(upstream_retention_days=1)
    engine.pass_time(2 * 86_400)

    with pytest.raises(Invalid, match="retention"):
        decide(engine, job_id)
