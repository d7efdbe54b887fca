"""Interactions made elsewhere become jobs: polled and settled like any other, never created again, never shared."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from tests.integration.engine.asking import TOOLS, answer, request, settled
from tests.integration.engine.engine import AGENT, MODEL, Engine
from worker import ids, telemetry
from worker.errors import Conflict, Gone, IdempotencyReused, Invalid, Unavailable
from worker.flow import adopt, remove
from worker.flow.again import retry_draft
from worker.flow.submit import Accepted, Order
from worker.gemini.request import build
from worker.models import Idempotency, Interaction, Job
from worker.store import projects

PATH = "/v1/jobs/adopt"


def elsewhere(engine: Engine, **fields: Any) -> str:
    """An interaction that another program made with the same key."""
    given = {"model": MODEL, "input": "Say hello."} | fields
    if "agent" in given:
        given.pop("model")
    return engine.context.gemini.create(build(given)).result(30).upstream_id


def take_over(
    engine: Engine,
    interaction_id: object,
    *,
    project_id: str = "",
    is_admin: bool = True,
    key: str | None = None,
    **fields: Any,
) -> Accepted:
    given: Mapping[str, Any] = {"interaction_id": interaction_id} | fields
    order = Order(project_id or engine.project_id, (), PATH, key, str(sorted(given.items())))
    return adopt.take_over(engine.context, adopt.Asked(order=order, fields=given, is_admin=is_admin))


def adopted(engine: Engine, interaction_id: str, **fields: Any) -> str:
    return take_over(engine, interaction_id, **fields).jobs[0].id


def refused(engine: Engine, interaction_id: object, **given: Any) -> str:
    """Why it is refused, in the words of its one fault."""
    with pytest.raises(Invalid) as error:
        take_over(engine, interaction_id, **given)
    (fault,) = error.value.faults
    assert fault.pointer == "/interaction_id"
    return fault.detail


def another_project(engine: Engine) -> str:
    with engine.context.database.write() as session:
        return projects.create_project(session, ids.new("name"), sealed_secret=b"sealed", now=engine.clock()).id


def test_an_interaction_made_elsewhere_is_polled_to_its_end_without_a_create(engine: Engine) -> None:
    name = elsewhere(engine, agent=AGENT)
    job_id = adopted(engine, name, metadata={"report": "7"}, timeout_seconds=900)

    job = engine.job(job_id)
    assert (job.status, job.kind, job.target, job.interaction_id) == ("in_progress", "agent", AGENT, name)
    assert (job.user_metadata, job.notes) == ({"report": "7"}, [adopt.NOTE])
    assert job.deadline_at is not None
    assert (job.deadline_at - engine.clock()).total_seconds() == 900
    (row,) = engine.interactions(job_id)
    assert (row.upstream_id, row.sent_at, row.orphan) == (name, None, False)

    engine.finish(job_id)
    engine.poll()

    assert engine.status(job_id) == "completed"
    assert engine.events(job_id) == ["job.created", "job.started", "job.completed"]
    assert engine.count("create") == 1
    assert engine.interactions(job_id)[0].usage


def test_an_interaction_that_ended_long_ago_settles_at_the_next_poll(engine: Engine) -> None:
    name = elsewhere(engine)
    engine.control.direct(name, finish=True)

    job_id = adopted(engine, name)
    engine.poll(after_s=0)

    assert engine.status(job_id) == "completed"


def test_what_the_resource_tells_of_its_request_is_kept(engine: Engine) -> None:
    before = engine.started()
    asked = {"type": "text", "mime_type": "application/json", "schema": {"type": "object"}}
    known = engine.job(before).interaction_id
    name = elsewhere(engine, labels={"team": "red"})
    steps = [{"type": "model_output", "content": [{"type": "text", "text": '{"a": 1}'}]}]
    body = {"status": "completed", "model": MODEL, "steps": steps, "labels": {"team": "red"}}
    engine.control.direct(name, body={**body, "response_format": asked, "previous_interaction_id": known})

    job_id = adopted(engine, name)
    engine.poll(after_s=0)

    job = engine.job(job_id)
    assert (job.labels, job.conversation_id) == ({"team": "red"}, engine.job(before).conversation_id)
    assert b'"output_json":{"a":1}' in engine.results(job_id)[0].outcome


def test_a_failure_that_may_pass_ends_an_adopted_job(engine: Engine) -> None:
    job_id = adopted(engine, elsewhere(engine))
    engine.finish(job_id, status="failed", code="service_unavailable")

    engine.poll()
    engine.sweep(200)

    assert engine.status(job_id) == "failed"
    assert engine.count("create") == 1
    with pytest.raises(Conflict, match="adopted"):
        retry_draft(engine.context, engine.project_id, job_id)


def test_what_was_made_elsewhere_is_never_gone_on_with(engine: Engine) -> None:
    job_id = adopted(engine, elsewhere(engine))
    engine.finish(job_id, status="requires_continuation")

    engine.poll()

    assert (engine.status(job_id), engine.count("create")) == ("incomplete", 1)


def test_calls_made_elsewhere_are_answered_with_what_their_owner_says_of_the_request(engine: Engine) -> None:
    name = elsewhere(engine, tools=TOOLS, input="[[sim: calls=1]]")
    job_id = adopted(engine, name)
    settled(engine, job_id)
    assert (engine.status(job_id), engine.count("create")) == ("requires_action", 1)

    with pytest.raises(Invalid) as error:
        answer(engine, job_id, model="gemini-4-argon", temper="mild", tools=[{"type": "nothing"}])
    assert sorted(fault.pointer for fault in error.value.faults) == ["/model", "/temper", "/tools/0/type"]
    answer(engine, job_id, tools=TOOLS, system_instruction="Be brief.")
    assert engine.start(job_id) == "started"

    sent = request(engine, job_id)
    assert (sent["model"], sent["tools"], sent["previous_interaction_id"]) == (MODEL, TOOLS, name)
    assert settled(engine, job_id).status == "completed"
    assert [row.sent_at is None for row in engine.interactions(job_id)] == [True, False]


def test_answers_to_an_adopted_job_are_never_sent_twice(engine: Engine) -> None:
    job_id = adopted(engine, elsewhere(engine, tools=TOOLS, input="[[sim: calls=1]]"))
    settled(engine, job_id)
    answer(engine, job_id)
    engine.control.fault("create", kind="lost")

    assert (engine.start(job_id), engine.error(job_id)) == ("failed", "create_unconfirmed")


def test_an_adopted_job_can_be_cancelled_and_has_a_deadline(engine: Engine) -> None:
    mine, late = adopted(engine, elsewhere(engine)), adopted(engine, elsewhere(engine), timeout_seconds=60)

    assert engine.cancel(mine).status == "cancelling"
    engine.tell_upstream(mine)
    engine.poll(after_s=61)
    engine.tell_upstream(late)
    engine.poll()

    assert (engine.status(mine), engine.status(late)) == ("cancelled", "expired")


def test_an_interaction_belongs_to_one_job_at_most(engine: Engine) -> None:
    made = engine.started()
    job_id = adopted(engine, name := elsewhere(engine))

    assert refused(engine, name) == f"belongs to {job_id} already"
    assert refused(engine, name, is_admin=False) == f"belongs to {job_id} already"
    assert refused(engine, engine.job(made).interaction_id) == f"belongs to {made} already"


def test_another_projects_interaction_is_as_unknown_as_one_that_does_not_exist(engine: Engine) -> None:
    theirs = another_project(engine)
    name = elsewhere(engine)
    adopted(engine, name, project_id=theirs)

    assert refused(engine, name) == refused(engine, "v1_nothing") == adopt.UNKNOWN.detail
    assert refused(engine, name, is_admin=False) == refused(engine, "v1_nothing", is_admin=False)


def test_without_the_scope_admin_nothing_unknown_is_even_asked_for(engine: Engine) -> None:
    name = elsewhere(engine)

    assert refused(engine, name, is_admin=False) == adopt.UNKNOWN.detail
    assert engine.count("get") == 0


@pytest.mark.parametrize(
    ("name", "detail"),
    [(None, "is required"), ("", "must be an id of 1 to 512 characters"), (7, "must be an id of 1 to 512 characters")],
)
def test_an_id_that_is_none_is_told(engine: Engine, name: object, detail: str) -> None:
    assert refused(engine, name) == detail


def test_each_fault_of_an_adoption_has_its_pointer(engine: Engine) -> None:
    with pytest.raises(Invalid) as error:
        take_over(engine, "v1_x", input="x", run_at="soon", metadata={"a": 1})

    pointers = {fault.pointer for fault in error.value.faults}
    assert pointers == {"/input", "/run_at", "/metadata/a"}


@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"status": 429}, {"status": 401}, {"kind": "lost"}, {"kind": "html"}]
)
def test_an_upstream_that_does_not_tell_makes_nothing(engine: Engine, fault: dict[str, Any]) -> None:
    name = elsewhere(engine)
    engine.control.fault("get", **fault)

    with pytest.raises(Unavailable):
        take_over(engine, name, key="again")

    engine.control.clear_faults()
    assert not take_over(engine, name, key="again").replayed


def test_an_interaction_of_another_account_is_unknown(engine: Engine) -> None:
    name = elsewhere(engine)
    engine.control.fault("get", status=403, target=name)

    assert refused(engine, name) == adopt.UNKNOWN.detail


def test_one_key_adopts_once(engine: Engine) -> None:
    name, other = elsewhere(engine), elsewhere(engine)

    first, second = take_over(engine, name, key="k"), take_over(engine, name, key="k")

    assert (first.replayed, second.replayed) == (False, True)
    assert first.jobs[0].id == second.jobs[0].id
    with pytest.raises(IdempotencyReused):
        take_over(engine, other, key="k")
    assert engine.count("get") == 1


def test_the_key_of_a_deleted_adoption_is_gone(engine: Engine) -> None:
    name = elsewhere(engine)
    job_id = take_over(engine, name, key="k").jobs[0].id
    engine.finish(job_id)
    engine.poll()

    remove.job(engine.context, engine.project_id, job_id)

    with pytest.raises(Gone):
        take_over(engine, name, key="k")
    assert refused(engine, name) == adopt.UNKNOWN.detail
    assert engine.runs()[name]["deleted"]


@pytest.mark.parametrize("key", [None, "k"])
def test_of_two_that_adopt_the_same_interaction_at_once_one_has_it(engine: Engine, key: str | None) -> None:
    name, barrier = elsewhere(engine), Barrier(2)
    # Both have looked before either writes.
    engine.between("gemini").after["get"] = lambda _: barrier.wait(30)

    def one() -> Accepted | Invalid:
        try:
            return take_over(engine, name, key=key)
        except Invalid as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        outcomes = [future.result() for future in [pool.submit(one), pool.submit(one)]]

    taken = [one for one in outcomes if isinstance(one, Accepted)]
    assert len({one.jobs[0].id for one in taken}) == 1
    assert sorted(one.replayed for one in taken) == ([False] if key is None else [False, True])
    assert len(engine.rows(Job)) == len(engine.rows(Interaction)) == 1
    assert len(engine.rows(Idempotency)) == (key is not None)


def test_adoptions_are_counted(engine: Engine) -> None:
    telemetry.drain()

    adopted(engine, elsewhere(engine))

    assert telemetry.drain()["nightdesk_adopted_total", '{"by": "request"}'] == 1
