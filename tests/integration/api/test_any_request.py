"""Whatever is submitted is taken or refused with reasons, and what is taken reaches the upstream as it came.

Requests are made from the SDK's types, and then spoiled; the upstream keeps the bytes that the SDK sends it.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from google.genai.interactions import Content, CreateAgentInteraction, CreateModelInteraction, GenerationConfig
from hypothesis import example, given
from hypothesis import strategies as st
from sqlmodel import col

from tests import anything
from tests.conftest import MakeSettings
from tests.integration.api.serving import Server, serving
from tests.integration.gemini.stub import Act, Request, Stub, says
from worker.context import Context
from worker.flow import claim, poll, start
from worker.gemini.rules import FIELDS
from worker.models import Job
from worker.store import jobs

SAID = {"type": "model_output", "content": [{"type": "text", "text": "Hello."}]}


class Taker(Stub):
    """An upstream that takes every create, keeps its body by the id that it gives, and completes it at once."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: dict[str, bytes] = {}

    def _act(self, request: Request) -> Act:
        if request.method != "POST":
            return says(200, {"status": "completed", "steps": [SAID]})
        name = f"v1_{len(self.taken)}"
        self.taken[name] = request.body
        return says(200, {"id": name, "status": "in_progress"})


@pytest.fixture(scope="module")
def upstream() -> Iterator[Taker]:
    with Taker() as server:
        yield server


@pytest.fixture
def taking(own_settings: MakeSettings, upstream: Taker) -> Iterator[Server]:
    """An application before that upstream."""
    with serving(own_settings(gemini_base_url=upstream.url)) as server:
        yield server


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.dictionaries(anything.TEXTS, anything.TEXTS | anything.ANYTHING, max_size=2),
        "priority": st.sampled_from(["low", "high", "none"]),
        "timeout_seconds": st.sampled_from([1, 60.5, -1, 10**9, "60"]),
        "max_attempts": st.just(1) | anything.ANYTHING,
        "webhook_url": anything.TEXTS,
        "run_at": st.sampled_from(["2020-01-01T00:00:00Z", "now", 5]),
    },
)
ODD = st.just(anything.LONG)
"""Becomes JSON that Python would not write."""

FREE = st.dictionaries(anything.TEXTS, anything.ANYTHING, max_size=3)
"""What a function's parameters, a schema or a newer parameter may hold: it has to come through whatever it is."""

USUAL = st.fixed_dictionaries(
    {"model": st.just("gemini-3.8-flash"), "input": st.text(min_size=1) | anything.of(list[Content], 4)},
    optional={
        "tools": FREE.map(lambda free: [{"type": "function", "name": "f", "parameters": free}]),
        "response_format": FREE.map(lambda free: {"type": "text", "mime_type": "application/json", "schema": free}),
        "generation_config": anything.record(GenerationConfig, 4),
        "extra_body": st.dictionaries(st.sampled_from(["unheard_of", "a b"]), ODD | anything.ANYTHING, max_size=2),
    },
)
CREATES = [anything.record(kind, always=("input",)) for kind in (CreateModelInteraction, CreateAgentInteraction)]
TYPED = st.one_of(CREATES).map(lambda made: {name: value for name, value in made.items() if name in FIELDS})
WHOLE = st.builds(lambda fields, options: fields | options, USUAL | TYPED, st.just({}) | OPTIONS)
BODIES = st.builds(
    lambda body, spliced: json.dumps(body).replace(f'"{anything.LONG}"', spliced).encode(),
    WHOLE | anything.spoiled(WHOLE),
    st.sampled_from(
        ['"x"', "1e999", "9" * 30, "1" * 5000, "-9223372036854775809", '"\\ud800"', "[" * 99 + "]" * 99, "NaN"]
    ),
)


# The SDK warns of types that it will drop; who still uses them is served as long as the API takes them.
@pytest.mark.filterwarnings("ignore:warning. .* DEPRECATED:DeprecationWarning")
def test_any_request_is_refused_with_reasons_or_sent_as_it_came(taking: Server, upstream: Taker) -> None:
    tenant, taken, seen = taking.tenant(), list[str](), Counter[int]()

    @anything.examples(150)
    @given(body=BODIES)
    @example(
        b'{"model": "m", "input": "x", "extra_body": {"n": [1.0, 1, 0.1, -0.0, 1e300, null, 18446744073709551615]}}'
    )
    @example(b'{"model": "m", "input": "x", "extra_body": {"n": 18446744073709551617}}')
    def throw(body: bytes) -> None:
        answer = tenant.http.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})

        seen[answer.status_code] += 1
        if answer.status_code != 202:
            assert_refused(answer)
            return
        job = started(taking.context, answer.json()["id"])
        taken.append(job.id)
        assert exact(upstream.taken[job.interaction_id or ""]) == expected(json.loads(body), job)

    throw()
    later = replace(taking.context, clock=lambda: taking.context.clock() + timedelta(minutes=5))
    poll.run(later)

    with taking.context.database.read() as session:
        rows = list(session.scalars(sa.select(Job).where(col(Job.project_id) == tenant.project_id)))
    assert {job.id: job.status for job in rows} == dict.fromkeys(taken, "completed")
    assert seen[202] > 30, seen
    assert seen[422] > 30, seen


def assert_refused(answer: httpx2.Response) -> None:
    """A refusal names what is wrong, place by place, and nothing of what was sent."""
    told = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, told["code"]) in {(422, "invalid_request"), (400, "bad_request")}
    for fault in told.get("errors", []):
        assert fault["pointer"] == "" or fault["pointer"].startswith("/")
        assert fault["detail"]
        assert anything.LONG not in fault["detail"]
    assert (answer.status_code == 422) == bool(told.get("errors"))


def started(context: Context, job_id: str) -> Job:
    """Send the job's one POST, as a round of starts does."""
    sent = [(one, start.talk(context, one)) for one in claim.ready(context, [job_id])]
    words = start.record(context, [(one, start.outcome(future)) for one, future in sent])
    assert words == {job_id: "started"}
    with context.database.read() as session:
        job = jobs.get(session, job_id)
    assert job is not None
    return job


def expected(body: dict[str, Any], job: Job) -> str:
    """What the upstream shall get: all fields of the interaction, and what makes it a job."""
    fields = {name: value for name, value in body.items() if name in FIELDS and value is not None}
    extra = fields.pop("extra_body", None) or {}
    return exact(json.dumps({**fields, **extra, job.kind: job.target, "background": True, "store": True}))


def exact(text: str | bytes) -> str:
    """JSON by which two documents are the same in all but the order of keys: 1 is not 1.0 and null is not absent."""
    return json.dumps(json.loads(text), sort_keys=True)
