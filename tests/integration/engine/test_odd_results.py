"""Whatever the upstream says of a run, its job is recorded: each oddity here is sent as the bytes of a GET."""

from typing import Any

import orjson
import pytest

from tests.integration.engine.engine import Engine
from worker import document
from worker.gemini.answer import read_answer
from worker.gemini.result import MAX_CALLS

ODD = "odd \x00 \x7f \u2028 \U0001f600"
LONG = "x" * 1_000_000
SAID = {"type": "model_output", "content": [{"type": "text", "text": "Hello."}]}


def deep(levels: int) -> bytes:
    return b'[{"a":' * levels + b"1" + b"}]" * levels


def body(status: str = "completed", **fields: Any) -> bytes:
    return orjson.dumps({"status": status, "steps": [SAID], **fields})


def answered(engine: Engine, raw: bytes) -> str:
    """A job whose interaction is answered with these bytes; polled once."""
    job_id = engine.started(max_attempts=1)
    poller = engine.between("poller")
    poller.instead["fetch"] = lambda names: [[read_answer(name, 200, {}, raw)] for name in names]
    engine.poll()
    return job_id


def call(number: int, **more: Any) -> dict[str, Any]:
    return {"type": "function_call", "id": f"c{number}", "name": "f", "arguments": {}, **more}


@pytest.mark.parametrize(
    "raw",
    [
        body(usage={ODD: ODD, "total_tokens": 2**64 - 1, "x": [ODD, {ODD: None}], "huge": 1.7e308}),
        body()[:-1] + b', "usage": {"total_tokens": 1e999, "a": "\\ud800", "b": ' + b"9" * 5000 + b"}}",
        body()[:-1] + b', "usage": {"deep": ' + deep(150) + b"}}",
        body()[:-1] + b', "unknown": ' + deep(5000) + b"}",
        body(environment_id=LONG, continuation_token=LONG, id=ODD, model={"a": ODD}, updated=5, created=[ODD]),
        body(steps=[SAID, {"type": ODD, "id": ODD, ODD: {"signature": LONG}}, call(1, name=ODD, id=ODD), 5, None]),
        body(steps=[{"type": "thought", "summary": [{"type": "text", "text": LONG + ODD}]}, SAID]),
        body(errors=[{"code": LONG, "message": LONG}, ODD], usage=[ODD], steps=[{**SAID, "error": {"code": 2**63}}]),
    ],
    ids=["usage", "numbers", "deep-usage", "deep", "long", "steps", "thought", "errors"],
)  # fmt: skip
def test_a_finished_run_completes_its_job_whatever_else_it_says(engine: Engine, raw: bytes) -> None:
    job_id = answered(engine, raw)

    assert engine.status(job_id) == "completed"
    assert b'"status":"completed"' in orjson.dumps(document.render(engine.job(job_id)))
    assert len(engine.results(job_id)) == 1


@pytest.mark.parametrize("thought", [ODD, LONG, "\ufffd" * 600, ""])
def test_a_run_that_goes_on_is_recorded_whatever_it_thinks(engine: Engine, thought: str) -> None:
    steps = [{"type": "thought", "summary": [{"type": "text", "text": thought}]}]

    job_id = answered(engine, body(ODD + LONG, steps=steps, updated=ODD))

    job = engine.job(job_id)
    assert (job.status, job.polls) == ("in_progress", 1)
    assert len(job.upstream_status or "") == 64


def test_a_failure_with_odd_words_fails_its_job_with_them(engine: Engine) -> None:
    raw = body("failed", errors=[{"code": "invalid_request", "message": ODD}], usage={ODD: 1})

    job_id = answered(engine, raw)

    assert (engine.status(job_id), engine.error(job_id)) == ("failed", "upstream_rejected")
    upstream = (engine.job(job_id).error or {})["upstream"]
    assert upstream["message"] == ODD.replace("\x00", " ")


def test_function_calls_with_odd_arguments_are_kept(engine: Engine) -> None:
    raw = body(
        "requires_action", steps=[call(1, arguments={ODD: [ODD]}), call(1, name=[]), call(2, arguments={ODD: 1e300})]
    )

    job_id = answered(engine, raw)

    calls = (engine.job(job_id).required_action or {})["function_calls"]
    told = ODD.replace("\x00", " ")
    assert engine.status(job_id) == "requires_action"
    assert [one["id"] for one in calls] == ["c1", "c2"]
    assert (calls[0]["arguments"], calls[1]["arguments"]) == ({}, {told: 1e300})
    assert told.encode() in orjson.dumps(document.render(engine.job(job_id)))


@pytest.mark.parametrize(
    "calls", [[call(n) for n in range(MAX_CALLS + 1)], [call(n, arguments={"a": LONG}) for n in range(5)]]
)
def test_calls_that_nobody_could_answer_fail_the_job(engine: Engine, calls: list[dict[str, Any]]) -> None:
    job_id = answered(engine, body("requires_action", steps=calls))

    assert (engine.status(job_id), engine.error(job_id)) == ("failed", "result_too_large")
