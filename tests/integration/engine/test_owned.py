"""What the upstream keeps belongs to a project: files it uploaded, environments that its runs left."""

from datetime import timedelta
from typing import Any

import pytest

from tests import factories
from tests.integration.engine.engine import MODEL, Engine
from worker.errors import Fault, Invalid
from worker.flow import owned, respond, submit
from worker.flow.again import retry_draft
from worker.flow.draft import prepare
from worker.flow.forget import EVERY
from worker.gemini.references import ENVIRONMENT, FILE
from worker.models import Holding, Job
from worker.store import holdings
from worker.store.holdings import Held

ANTIGRAVITY = "antigravity-preview-09-2026"
WORK = {"agent": ANTIGRAVITY, "input": "Write a program.", "environment": "remote"}


def hold(engine: Engine, project_id: str, *names: str, kind: str = FILE, hours: float = 48) -> None:
    now = engine.clock()
    with engine.context.database.write() as session:
        until = now + timedelta(hours=hours)
        holdings.hold(session, [Held(name, kind, project_id, until) for name in names], now)


def another(engine: Engine) -> str:
    with engine.context.database.write() as session:
        return factories.project(session, "another").id


def faults_of(engine: Engine, *, is_admin: bool = False, **fields: Any) -> list[Fault]:
    given = {"model": MODEL, "input": "x"} | fields
    draft = prepare(engine.context, given, project_id=engine.project_id, is_admin=is_admin)
    (outcome,) = submit.accept(engine.context, [submit.Order(engine.project_id, [draft], "/v1/jobs")])
    return list(outcome.faults) if isinstance(outcome, Invalid) else []


def document(engine: Engine, name: str) -> dict[str, Any]:
    uri = f"{engine.context.settings.gemini}/v1/{name}"
    return {"type": "document", "uri": uri, "mime_type": "application/pdf"}


def test_its_own_may_be_named_and_another_projects_never(engine: Engine) -> None:
    hold(engine, engine.project_id, "files/mine")
    hold(engine, another(engine), "files/theirs")

    own, foreign, as_admin = (
        faults_of(engine, input=[document(engine, "files/mine")]),
        faults_of(engine, input=[document(engine, "files/theirs")]),
        faults_of(engine, input=[document(engine, "files/theirs")], is_admin=True),
    )

    assert own == []
    assert [fault.pointer for fault in foreign] == ["/input/0/uri"]
    assert as_admin == foreign


def test_one_that_nobody_holds_needs_the_scope_admin(engine: Engine) -> None:
    unknown = [document(engine, "files/unknown")]

    refused, taken = faults_of(engine, input=unknown), faults_of(engine, input=unknown, is_admin=True)

    hold(engine, another(engine), "files/unknown")
    assert refused == faults_of(engine, input=unknown)
    assert [fault.pointer for fault in refused] == ["/input/0/uri"]
    assert taken == []


@pytest.mark.parametrize("name", ["files/a\x00b", "files/" + "x" * 4000])
def test_a_name_that_no_database_holds_is_held_by_nobody(engine: Engine, name: str) -> None:
    assert [fault.pointer for fault in faults_of(engine, input=[document(engine, name)])] == ["/input/0/uri"]


def test_every_name_that_may_not_be_used_is_told(engine: Engine) -> None:
    hold(engine, engine.project_id, "files/mine")
    contents = [document(engine, name) for name in ("files/a", "files/mine", "files/b")]

    faults = faults_of(engine, input=contents, environment="env-of-nobody")

    assert [fault.pointer for fault in faults] == ["/environment", "/input/0/uri", "/input/2/uri"]


def test_a_bad_name_does_not_spoil_its_group(engine: Engine) -> None:
    bad = prepare(
        engine.context,
        {"model": MODEL, "input": [document(engine, "files/x")]},
        project_id=engine.project_id,
        is_admin=False,
        at="/jobs/0",
    )
    orders = [submit.Order(engine.project_id, [draft], "/v1/jobs") for draft in (bad, engine.draft())]

    refused, taken = submit.accept(engine.context, orders)

    assert isinstance(refused, Invalid)
    assert refused.faults[0].pointer == "/jobs/0/input/0/uri"
    assert isinstance(taken, submit.Accepted)
    assert len(engine.rows(Job)) == 1


def test_thousands_of_names_are_looked_up(engine: Engine) -> None:
    names = [f"files/{number}" for number in range(6000)]
    hold(engine, engine.project_id, *names)

    assert faults_of(engine, input=[document(engine, name) for name in names]) == []


def test_the_environment_that_a_run_left_is_its_projects(engine: Engine) -> None:
    job_id = engine.started(**WORK)
    engine.finish(job_id)
    engine.poll()

    (held,) = engine.rows(Holding)

    assert (held.kind, held.project_id) == (ENVIRONMENT, engine.project_id)
    again = {"agent": ANTIGRAVITY, "model": None, "environment": held.name}
    assert faults_of(engine, **again) == []
    assert faults_of(engine, **again | {"environment": {"type": "remote", "environment_id": held.name}}) == []
    stranger = {**again, "input": "x"}
    draft = prepare(engine.context, stranger, project_id=another(engine), is_admin=True)
    with pytest.raises(Invalid):
        engine.accept(draft)


def test_runs_that_end_together_leave_each_its_own(engine: Engine) -> None:
    job_ids = [engine.started(**WORK) for _ in range(2)]
    for job_id in job_ids:
        engine.finish(job_id)

    engine.poll()

    left = {engine.job(job_id).environment_id for job_id in job_ids}
    assert {held.name for held in engine.rows(Holding)} == left
    assert len(left) == 2


def test_of_two_who_leave_the_same_the_first_has_it(engine: Engine) -> None:
    first, second = another(engine), engine.project_id
    with engine.context.database.write() as session:
        runs = [(project_id, {"environment_id": "shared"}) for project_id in (first, second)]
        owned.keep(session, runs, engine.context.settings.gemini, engine.clock())

    assert [held.project_id for held in engine.rows(Holding)] == [first]


def test_a_run_that_loses_its_race_leaves_nothing(engine: Engine) -> None:
    job_id = engine.started(**WORK)
    engine.finish(job_id)
    stand = engine.between("poller")
    stand.after["fetch"] = lambda _: engine.change(job_id, claim="of another")

    engine.poll()

    assert engine.status(job_id) == "in_progress"
    assert engine.rows(Holding) == []


def test_a_retry_may_name_what_the_first_did(engine: Engine) -> None:
    job_id = engine.submit(input=[document(engine, "files/of-an-admin")])
    engine.cancel(job_id)

    draft = retry_draft(engine.context, engine.project_id, job_id)

    assert engine.accept(draft).jobs[0].retry_of == job_id


def test_a_result_names_what_its_project_holds_only(engine: Engine) -> None:
    hold(engine, engine.project_id, "files/mine")
    asking = engine.started(tools=[{"type": "function", "name": "look"}], input="Look. [[sim: calls=1]]")
    engine.finish(asking)
    engine.poll()
    (call,) = (engine.job(asking).required_action or {})["function_calls"]

    def answer(name: str, *, is_admin: bool = False) -> respond.Asked:
        result = {"type": "function_result", "call_id": call["id"], "result": [document(engine, name)]}
        order = submit.Order(engine.project_id, (), "/v1/jobs/x/respond")
        return respond.Asked(order=order, job_id=asking, fields={"input": [result]}, is_admin=is_admin)

    with pytest.raises(Invalid) as refused:
        respond.respond(engine.context, answer("files/of-nobody"))
    respond.respond(engine.context, answer("files/mine"))

    assert [fault.pointer for fault in refused.value.faults] == ["/input/0/result/0/uri"]
    assert (engine.status(asking), engine.job(asking).turn) == ("queued", 2)


def test_what_is_held_stays_its_owners_and_is_kept_as_long_as_asked(engine: Engine) -> None:
    hold(engine, engine.project_id, "files/a", hours=10)
    hold(engine, another(engine), "files/a", hours=99)
    hold(engine, engine.project_id, "files/a", hours=20)
    hold(engine, engine.project_id, "files/a", hours=1)

    (held,) = engine.rows(Holding)

    assert (held.project_id, held.expires_at - held.created_at) == (engine.project_id, timedelta(hours=20))


def test_what_is_gone_upstream_is_forgotten(engine: Engine) -> None:
    hold(engine, engine.project_id, "files/old", hours=1)
    hold(engine, engine.project_id, "files/new", hours=3)

    engine.sweep(after_s=2 * 3600 + EVERY.total_seconds())

    assert [held.name for held in engine.rows(Holding)] == ["files/new"]
