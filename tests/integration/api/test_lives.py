"""Whole lives against the simulator, the real engine in between: what it writes is what the contract shows."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.api.serving import Server, Tenant, prepared, serving, start_one
from tests.waiting import eventually
from worker.dev.simulator import Options, SimulatorServer
from worker.flow import poll

WEATHER = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}}
SCHEMA = {"type": "object", "properties": {"greeting": {"type": "string"}}, "required": ["greeting"]}

Live = Callable[..., dict[str, Any]]
GoOn = Callable[[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def lively(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Server]:
    """An application that shares its database with an engine on the simulator."""
    folder = tmp_path_factory.mktemp("lives")
    shutil.copyfile(sqlite_template, folder / "nightdesk.db")
    paces = {"poll_model_start_s": 0.05, "poll_model_cap_s": 0.1, "poll_agent_start_s": 0.05, "poll_agent_cap_s": 0.1}
    with SimulatorServer(Options(speed=50)) as upstream:
        settings = prepared(data_dir=folder, gemini_api_key="simulated", gemini_base_url=upstream.url, **paces)
        with serving(settings) as server:
            yield server


@pytest.fixture
def rich(lively: Server) -> Tenant:
    return lively.tenant()


@pytest.fixture
def live(rich: Tenant, go_on: GoOn) -> Live:
    """Submits a job and plays worker until it has ended or needs an action; gives back what the API shows then."""

    def run(**fields: Any) -> dict[str, Any]:
        return go_on(rich.submit(**fields)["id"], "steps,input")

    return run


@pytest.fixture
def go_on(lively: Server, rich: Tenant) -> GoOn:
    """Plays worker for a queued job until it has ended or needs an action; gives back what the API shows then."""

    def run(job_id: str, include: str) -> dict[str, Any]:
        start_one(lively.context, job_id)

        def settled() -> dict[str, Any] | None:
            job: dict[str, Any] = rich.get(f"/v1/jobs/{job_id}?include={include}").json()
            if job["status"] in {"in_progress", "queued", "starting"}:
                poll.run(lively.context)
                return None
            return job

        found = eventually(settled, within_s=30)
        assert found is not None
        return found

    return run


def test_research_ends_as_a_report_with_sources_and_pictures(rich: Tenant, live: Live) -> None:
    research = {
        "agent": "deep-research-preview-04-2026",
        "model": None,
        "input": "Heat pumps. [[sim: duration=1 images=1]]",
    }

    job = live(**research)

    assert (job["status"], job["agent"]) == ("completed", research["agent"])
    assert job["citations"]
    assert job["steps"]
    assert job["usage"]
    (artifact,) = job["artifacts"]
    picture = rich.get(artifact["url"])
    assert (picture.headers["content-type"], len(picture.content)) == (artifact["mime_type"], artifact["size"])
    report = rich.get(job["links"]["report"]).text
    assert "[^1]" in report
    assert artifact["url"] in report
    assert "(artifact:" not in report


def test_a_model_answers_in_the_shape_asked_for(live: Live) -> None:
    shape = {"type": "text", "mime_type": "application/json", "schema": SCHEMA}

    job = live(input='Greet. [[sim: text=\'{"greeting": "hello"}\']]', response_format=shape)

    assert job["output_json"] == {"greeting": "hello"}


def test_a_model_that_calls_functions_needs_an_action(rich: Tenant, live: Live) -> None:
    job = live(input="Weather? [[sim: calls=1]]", tools=[WEATHER])

    assert job["status"] == "requires_action"
    assert job["required_action"]["function_calls"][0]["name"] == "get_weather"
    told = rich.get(f"/v1/jobs/{job['id']}/events", headers={"Accept": "application/json"}).json()["data"][-1]
    assert (told["type"], told["data"]["required_action"]) == ("job.requires_action", job["required_action"])


def test_an_answered_job_shows_its_turns(rich: Tenant, live: Live, go_on: GoOn) -> None:
    job = live(input="Weather? [[sim: calls=2]]", tools=[WEATHER])
    calls = job["required_action"]["function_calls"]
    given = [{"type": "function_result", "call_id": call["id"], "result": "Dry."} for call in calls]

    answer = rich.post(job["links"]["respond"], {"input": given})
    done = go_on(job["id"], "turns,input")

    assert (answer.status_code, answer.json()["id"], answer.json()["turn"]) == (202, job["id"], 2)
    assert (done["status"], done["turn"], done["input"]) == ("completed", 2, "Weather? [[sim: calls=2]]")
    first, second = done["turns"]
    assert (first["turn"], first["status"], first["function_calls"]) == (1, "requires_action", calls)
    assert (second["turn"], second["status"], second["function_calls"]) == (2, "completed", [])
    assert (first["interaction_id"], second["interaction_id"]) == (job["interaction_id"], done["interaction_id"])
    assert sum(turn["usage"]["total_tokens"] for turn in done["turns"]) == done["usage"]["total_tokens"]
    assert "respond" not in done["links"]


def test_a_failure_tells_the_upstreams_own_words(live: Live) -> None:
    job = live(input="Fail. [[sim: status=failed code=safety message='not nice']]", max_attempts=1)

    assert job["status"] == "failed"
    assert job["error"]["code"] == "safety_blocked"
    assert job["links"]["retry"]


def test_a_refused_create_fails_with_the_upstreams_status(live: Live) -> None:
    job = live(input="Refuse. [[sim: create=400]]")

    assert (job["status"], job["error"]["code"]) == ("failed", "upstream_rejected")
    assert job["error"]["upstream"]["status"] == 400
