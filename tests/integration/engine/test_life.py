"""The straight life of a job, from submission to its end, and what it leaves behind."""

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from tests.integration.engine.engine import AGENT, MODEL, Engine
from tests.integration.engine.hooks import Hooks
from worker.flow.draft import prepare
from worker.store import results

STEPS = ["job.start", "job.settle", "webhook.deliver"]


def outcome(engine: Engine, job_id: str, turn: int = 1) -> dict[str, object]:
    found = engine.read(lambda session: results.outcome(session, job_id, turn))
    assert found is not None
    kept: dict[str, object] = found[0]
    return kept


def test_a_job_completes_with_its_text_and_usage(engine: Engine) -> None:
    job_id = engine.submit(input="[[sim: text='Hello there.']]", metadata={"for": "me"}, labels={"team": "red"})

    assert (engine.status(job_id), engine.start(job_id)) == ("queued", "started")
    assert engine.poll()["running"] == 1
    engine.finish(job_id)
    assert engine.poll()["ended"] == 1

    job = engine.job(job_id)
    assert (job.status, job.upstream_status, job.polls, job.attempt, job.turn) == ("completed", "completed", 2, 1, 1)
    assert job.started_at is not None
    assert job.finished_at == engine.clock()
    assert (job.usage or {})["total_tokens"] > 0
    assert outcome(engine, job_id)["output_text"] == "Hello there."
    assert engine.events(job_id) == ["job.created", "job.started", "job.completed"]
    (interaction,) = engine.interactions(job_id)
    assert (interaction.status, interaction.upstream_id, interaction.usage) == (
        "completed",
        job.interaction_id,
        job.usage,
    )


def test_the_create_carries_what_the_user_gave_and_nothing_of_ours(engine: Engine) -> None:
    job_id = engine.started(labels={"team": "red"}, metadata={"secret": "plan"}, webhook_url="https://hooks.example/in")

    (run,) = engine.runs().values()
    assert (run["labels"], run["user_metadata"], run["background"]) == ({"team": "red"}, None, True)
    assert run["id"] == engine.job(job_id).interaction_id


def test_a_report_shows_its_thoughts_and_comes_with_citations(engine: Engine) -> None:
    config = {"type": "deep-research", "thinking_summaries": "auto"}
    job_id = engine.started(agent=AGENT, input="Report on tea.", agent_config=config)
    engine.control.advance(5000)
    engine.poll()
    assert engine.job(job_id).thought

    engine.finish(job_id)
    engine.poll()

    kept = outcome(engine, job_id)
    assert engine.status(job_id) == "completed"
    citations, text = kept["citations"], str(kept["output_text"])
    assert isinstance(citations, list)
    assert citations
    assert all(0 <= one["start_index"] <= one["end_index"] <= len(text) for one in citations)


def test_media_lie_in_the_artifact_store_and_not_in_the_row(engine: Engine, artifacts_folder: Path) -> None:
    job_id = engine.started(model="gemini-3-pro-image", input="[[sim: images=2]]")

    engine.finish(job_id)
    engine.poll()

    artifacts = outcome(engine, job_id)["artifacts"]
    assert isinstance(artifacts, list)
    assert [one["url"] for one in artifacts] == [f"/v1/jobs/{job_id}/artifacts/{n}" for n in (0, 1)]
    stored = sorted(path for path in artifacts_folder.rglob("*") if path.is_file())
    assert [path.stat().st_size for path in stored] == [one["size"] for one in artifacts]
    (result,) = engine.results(job_id)
    assert result.has_artifacts
    assert b'"data"' not in result.raw


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ("status=failed code=invalid_request", "failed", "upstream_rejected"),
        ("status=failed code=safety", "failed", "safety_blocked"),
        ("status=incomplete", "incomplete", None),
        ("status=budget_exceeded", "budget_exceeded", None),
        ("status=completed text=' '", "incomplete", None),
        ("status=cancelled", "cancelled", None),
    ],
)
def test_a_job_ends_as_its_run_did(engine: Engine, how: str, status: str, code: str | None) -> None:
    job_id = engine.started(input=f"[[sim: {how}]]")

    engine.finish(job_id)
    engine.poll()

    assert engine.status(job_id) == status
    assert (engine.job(job_id).error or {}).get("code") == code
    assert engine.events(job_id)[-1] == f"job.{status}"
    assert len(engine.results(job_id)) == 1


def test_json_is_parsed_where_it_was_asked_for(engine: Engine) -> None:
    wanted = {"type": "text", "mime_type": "application/json", "schema": {"type": "object"}}
    job_id = engine.started(input="[[sim: text='{\"a\": 1}']]", response_format=wanted)

    engine.finish(job_id)
    engine.poll()

    assert outcome(engine, job_id)["output_json"] == {"a": 1}


def test_the_raw_body_is_kept(engine: Engine) -> None:
    job_id = engine.started(input="[[sim: text=Hello]]")

    engine.finish(job_id)
    engine.poll()

    raw = engine.read(lambda session: results.raw(session, job_id, 1))
    assert orjson.loads(raw)["id"] == engine.job(job_id).interaction_id


def test_the_request_id_follows_a_job_through_every_step(engine: Engine, hooks: Hooks, said: Callable[[], str]) -> None:
    fields = {"model": MODEL, "input": "Say hello.", "webhook_url": hooks.url()}
    draft = prepare(engine.context, fields, project_id=engine.project_id, is_admin=True, request_id="request-of-mine")
    job_id = engine.accept(draft).jobs[0].id
    engine.start(job_id)
    engine.finish(job_id)
    engine.poll()
    engine.deliver()

    lines = [line for line in said().splitlines() if job_id in line]
    assert [step for step in STEPS if any(step in line for line in lines)] == STEPS
    assert all("request-of-mine" in line for line in lines)


def test_a_retired_model_is_substituted_and_noted(engine: Engine) -> None:
    job_id = engine.started(model="gemini-2.5-flash")

    job = engine.job(job_id)
    assert job.target == MODEL
    assert [(one["from"], one["to"]) for one in job.substitutions] == [("gemini-2.5-flash", MODEL)]
    assert [run["target"] for run in engine.runs().values()] == [MODEL]
