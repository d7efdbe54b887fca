"""Substitutions: a job outlives its model, and whoever reads of it is told."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.integration.engine.engine import AGENT, MODEL, Engine
from tests.integration.engine.hooks import Hooks
from worker import retired
from worker.errors import Invalid
from worker.gemini.catalog import load_catalog
from worker.models import Job
from worker.store import gates

GONE = "gemini-3.6-flash"
TODAY = [{"from": GONE, "to": MODEL, "reason": "it was switched off today"}]
RETIREMENT = {"kind": "model", "pattern": GONE, "to": MODEL, "reason": "it was switched off today"}


def retire(engine: Engine, **override: Any) -> None:
    """From now on the catalog is another one, as after a restart with a new file."""
    engine.context = replace(engine.context, catalog=load_catalog(override or {"retired": [RETIREMENT]}))


def later(engine: Engine) -> str:
    return (engine.clock() + timedelta(hours=1)).isoformat()


def test_a_scheduled_job_whose_model_is_retired_meanwhile_runs_as_its_replacement(engine: Engine) -> None:
    job_id = engine.submit(model=GONE, run_at=later(engine))
    assert engine.job(job_id).substitutions == []
    retire(engine)

    engine.sweep(3600)
    assert engine.start(job_id) == "started"

    job = engine.job(job_id)
    assert (job.target, job.substitutions) == (MODEL, TODAY)
    (run,) = engine.runs().values()
    assert run["target"] == MODEL
    events = {event.type: event.data.get("substitutions") for event in engine.event_rows(job_id)}
    assert events == {"job.created": None, "job.started": TODAY}


def test_what_is_substituted_twice_is_noted_twice(engine: Engine) -> None:
    job_id = engine.submit(model="gemini-1.5-flash")
    first = engine.job(job_id).substitutions
    retire(engine, retired=[{"kind": "model", "pattern": MODEL, "to": GONE, "reason": "another name"}])

    engine.start(job_id)

    assert [(one["from"], one["to"]) for one in first] == [("gemini-1.5-flash", MODEL)]
    noted = engine.job(job_id).substitutions
    assert noted == [*first, {"from": MODEL, "to": GONE, "reason": "another name"}]


def test_with_strict_model_it_fails_clearly_and_nothing_is_spent(engine: Engine) -> None:
    job_id = engine.submit(model=GONE, run_at=later(engine), strict_model=True)
    retire(engine)

    engine.sweep(3600)
    engine.start(job_id)

    job = engine.job(job_id)
    error = job.error or {}
    assert (job.status, error["code"], error["retryable"]) == ("failed", "upstream_rejected", False)
    assert error["message"] == f"it was switched off today; use {MODEL}, or leave out strict_model"
    assert (job.substitutions, engine.count("create"), engine.interactions(job_id)) == ([], 0, [])


def test_the_pace_of_polls_is_that_of_the_replacement(engine: Engine) -> None:
    job_id = engine.submit(model=GONE, run_at=later(engine))
    paced = {"kind": "model", "id": "gemini-4-argon", "family": "gemini", "poll": "agent"}
    retire(engine, entries=[paced], retired=[RETIREMENT | {"to": "gemini-4-argon"}])

    engine.set(poll_agent_start_s=7)
    engine.sweep(3600)
    assert engine.start(job_id) == "started"

    job = engine.job(job_id)
    assert (job.target, job.due_at) == ("gemini-4-argon", engine.clock() + timedelta(seconds=7))


def test_event_and_webhook_tell_of_a_substitution(engine: Engine, hooks: Hooks) -> None:
    job_id = engine.started(model="gemini-1.5-flash", webhook_url=hooks.url())
    engine.finish(job_id)
    engine.poll()
    engine.deliver()

    (delivered,) = hooks.of("/hook")
    told = engine.job(job_id).substitutions
    assert [(one["from"], one["to"]) for one in told] == [("gemini-1.5-flash", MODEL)]
    assert delivered.json["data"]["substitutions"] == told
    assert [event.data["substitutions"] for event in engine.event_rows(job_id)] == [told] * 3


def test_waiting_jobs_and_paused_gates_of_retired_ids_are_told_of(engine: Engine) -> None:
    engine.submit(model=GONE)
    engine.submit(model=GONE, run_at=later(engine))
    engine.submit(model=GONE, strict_model=True)
    engine.submit(agent=AGENT)
    with engine.context.database.write() as session:
        for target in (GONE, AGENT, "gemini-3.8-flahs", gates.KEY):
            gates.pause(session, target, paused=True)
        gates.pause(session, "long-gone", paused=False)
    retire(engine)

    told = retired.doubts(engine.context.catalog, engine.context.database)

    assert told == [
        f"model {GONE} is in the catalog, and retired: jobs for it run as {MODEL}",
        f"the gate of {GONE} is paused: {GONE} is retired: jobs for it run as {MODEL}",
        "the gate of gemini-3.8-flahs is paused: the catalog knows no gemini-3.8-flahs; did you mean gemini-3.8-flash?",
        f"{GONE} is retired, and jobs wait for it (2): they will run as {MODEL}",
        f"{GONE} is retired, and jobs wait for it (1): they will fail, as strict_model asks",
    ]


def test_where_all_is_well_nothing_is_told(engine: Engine) -> None:
    engine.submit(model="nobody-knows-this-one")
    engine.started()

    assert retired.doubts(engine.context.catalog, engine.context.database) == []


def test_an_operator_is_not_told_more_than_can_be_read(engine: Engine) -> None:
    with engine.context.database.write() as session:
        for number in range(30):
            gates.pause(session, f"unheard-of-{number:02}", paused=True)

    told = retired.doubts(engine.context.catalog, engine.context.database)

    assert len(told) == retired.MOST_TOLD
    assert told[-1] == "and 11 more"


@pytest.mark.parametrize("kind", ["model", "agent"])
def test_a_retired_id_is_refused_by_strict_model_before_anything_is_written(engine: Engine, kind: str) -> None:
    name = {"model": "gemini-2.5-pro", "agent": "antigravity-preview-05-2026"}[kind]

    with pytest.raises(Invalid, match="leave out strict_model") as refused:
        engine.draft(**{kind: name}, strict_model=True, environment="remote")

    (fault,) = refused.value.faults
    assert fault.pointer == f"/{kind}"
    assert engine.context.catalog.resolve("model" if kind == "model" else "agent", name).id in fault.detail
    assert engine.rows(Job) == []
