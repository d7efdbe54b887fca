"""The whole gateway against the simulator: create, poll until the end, read the outcome; faults as the API has them."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google import genai
from google.genai.types import HttpOptions

from tests.waiting import eventually
from worker.dev.simulator import Options, SimulatorServer
from worker.errors import CreateLost, CreateRefused, CreateRejected, UpstreamError
from worker.gemini.access import Access
from worker.gemini.answer import Answer, AnswerKind
from worker.gemini.client import CancelKind, Gemini, Timeouts
from worker.gemini.loop import LoopThread
from worker.gemini.poller import Bounds, Poller
from worker.gemini.request import build, validate, wants_json
from worker.gemini.result import Outcome, classify_failure, read_outcome

KEY = "simulated"


@pytest.fixture(scope="module")
def sim() -> Iterator[SimulatorServer]:
    with SimulatorServer(Options(speed=50, api_key=KEY)) as server:
        yield server


@pytest.fixture(scope="module")
def client(sim: SimulatorServer, loop: LoopThread) -> Iterator[Gemini]:
    access = Access(api_key=KEY, base_url=sim.url)
    opened = Gemini(access, loop)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def hasty(sim: SimulatorServer, loop: LoopThread) -> Iterator[Gemini]:
    """A client for those who never answer."""
    opened = Gemini(Access(api_key=KEY, base_url=sim.url), loop, timeouts=Timeouts(create_s=0.5))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def eyes(sim: SimulatorServer, loop: LoopThread) -> Iterator[Poller]:
    opened = Poller(Access(api_key=KEY, base_url=sim.url), loop, Bounds(get_s=30.0, fetch_s=30.0))
    yield opened
    opened.close()


Run = Callable[..., Outcome]


@pytest.fixture
def run(client: Gemini, eyes: Poller) -> Run:
    """Takes a job's fields through submission, create, polling and reading."""

    def from_start_to_end(**fields: Any) -> Outcome:
        validate(fields)
        created = client.create(build(fields)).result(30)
        body = eventually(lambda: look(eyes, created.upstream_id).body, what="the run ends") or b""
        return read_outcome(body, max_bytes=10_000_000, wants_json=wants_json(fields))

    return from_start_to_end


def look(eyes: Poller, upstream_id: str) -> Answer:
    [[answer]] = eyes.fetch([upstream_id])
    return answer


def test_a_models_answer_is_what_the_sdk_makes_of_it(run: Run, sim: SimulatorServer) -> None:
    outcome = run(model="gemini-3.8-flash", input="What is a nightdesk?")

    sdk = genai.Client(vertexai=False, api_key=KEY, http_options=HttpOptions(base_url=sim.url, api_version="v1"))
    theirs = sdk.interactions.get(outcome.raw["id"])
    sdk.close()
    assert outcome.status == "completed"
    assert outcome.output_text == theirs.output_text
    assert outcome.usage is not None
    assert outcome.errors == ()


def test_a_research_report_has_text_images_and_citations_that_fit(run: Run) -> None:
    outcome = run(
        agent="deep-research-preview-04-2026",
        input="Warum schläft Zürich? With charts. [[sim: duration=5 images=2]]",
        agent_config={"type": "deep-research", "visualization": "auto", "thinking_summaries": "auto"},
    )

    assert outcome.status == "completed"
    assert [media.kind for media in outcome.media] == ["image", "image"]
    assert outcome.output_text is not None
    assert outcome.output_text.count("](artifact:") == 2
    assert len(outcome.citations) > 3
    for citation in outcome.citations:
        cited = outcome.output_text[citation.start_index : citation.end_index]
        assert cited == cited.strip()
        assert cited.endswith(".")


def test_structured_output_is_parsed(run: Run) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}

    outcome = run(
        model="gemini-3.8-flash",
        input="Name the desk.",
        response_format={"type": "text", "mime_type": "application/json", "schema": schema},
    )

    assert isinstance(outcome.output_json, dict)
    assert "name" in outcome.output_json


def test_open_function_calls_are_found(run: Run) -> None:
    tool = {
        "type": "function",
        "name": "look_up",
        "parameters": {"type": "object", "properties": {"q": {"type": "string"}}},
    }

    outcome = run(model="gemini-3.8-flash", input="Use it. [[sim: calls=2 status=requires_action]]", tools=[tool])

    assert outcome.status == "requires_action"
    assert [call.name for call in outcome.function_calls] == ["look_up", "look_up"]


def test_a_failed_run_says_why(run: Run) -> None:
    outcome = run(model="gemini-3.8-flash", input="x [[sim: status=failed code=safety message=blocked]]")

    assert outcome.status == "failed"
    assert classify_failure(outcome.errors).code == "safety_blocked"


@pytest.mark.parametrize(
    ("fault", "error", "posts_made"),
    [
        ("lost", CreateLost, 1),
        ("close", CreateLost, 0),
        ("reset", CreateLost, 0),
        ("broken", CreateLost, 1),
        ("truncated", CreateLost, 1),
        ("html", CreateLost, 0),
        ("500", CreateLost, 0),
        ("503", CreateRefused, 0),
        ("429", CreateRefused, 0),
        ("400", CreateRejected, 0),
        ("404", CreateRejected, 0),
        ("501", CreateRejected, 0),
    ],
)
def test_each_fault_of_a_create_is_one_post_with_its_meaning(
    client: Gemini, sim: SimulatorServer, fault: str, error: type[UpstreamError], posts_made: int
) -> None:
    prompt = f"one post {fault} {time.monotonic()} [[sim: create={fault}]]"

    with pytest.raises(error) as caught:
        client.create(build({"model": "gemini-3.8-flash", "input": prompt})).result(30)

    assert type(caught.value) is error
    assert sim.control.posts(prompt) == 1
    assert sim.control.created(prompt) == posts_made


def test_a_create_that_is_never_answered_is_one_post_and_lost(hasty: Gemini, sim: SimulatorServer) -> None:
    prompt = f"one post for ever {time.monotonic()} [[sim: create=hang]]"

    with pytest.raises(CreateLost):
        hasty.create(build({"model": "gemini-3.8-flash", "input": prompt})).result(20)

    assert (sim.control.posts(prompt), sim.control.created(prompt)) == (1, 1)


def test_an_id_in_a_202_is_kept(client: Gemini, eyes: Poller) -> None:
    created = client.create(build({"model": "gemini-3.8-flash", "input": "x [[sim: create=accepted]]"})).result(30)

    assert look(eyes, created.upstream_id).kind in (AnswerKind.RUNNING, AnswerKind.ENDED)


def test_a_cancelled_run_is_cancelled_in_the_end(client: Gemini, eyes: Poller) -> None:
    created = client.create(build({"model": "gemini-3.8-flash", "input": "x [[sim: duration=1000]]"})).result(30)

    answer = client.cancel(created.upstream_id)

    assert answer.kind in (CancelKind.ACCEPTED, CancelKind.ENDED)
    eventually(lambda: look(eyes, created.upstream_id).status == "cancelled")
    assert client.cancel(created.upstream_id).kind == CancelKind.ENDED
    assert client.delete(created.upstream_id)
    assert look(eyes, created.upstream_id).kind == AnswerKind.MISSING
    assert client.delete(created.upstream_id)


def test_the_probe_knows_a_good_key_from_a_bad_one(client: Gemini, sim: SimulatorServer, loop: LoopThread) -> None:
    stranger = Gemini(Access(api_key="another", base_url=sim.url), loop)

    verdicts = client.probe().key_works, stranger.probe().key_works
    stranger.close()

    assert verdicts == (True, False)


def test_thoughts_and_progress_show_while_a_run_goes_on(client: Gemini, eyes: Poller) -> None:
    request = build({"agent": "deep-research-preview-04-2026", "input": "x [[sim: duration=1000]]"})
    created = client.create(request).result(30)

    thought = eventually(lambda: look(eyes, created.upstream_id).thought, what="a thought shows")

    assert len(thought or "") <= 500
    client.cancel(created.upstream_id)
