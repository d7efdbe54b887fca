from typing import Any

import pytest

from worker.cli import sheet, text

JOB: dict[str, Any] = {
    "id": "job_1",
    "status": "in_progress",
    "turn": 2,
    "attempt": 3,
    "run_at": None,
    "created_at": "2026-11-21T20:00:00.000Z",
    "finished_at": None,
    "progress": {"thought": None},
}


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.9, "0 s"),
        (59, "59 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d 0 h"),
        (200_000, "2 d 7 h"),
    ],
)
def test_a_span_is_told_in_its_two_largest_units(seconds: float, told: str) -> None:
    assert text.span(seconds) == told


def test_what_a_terminal_would_obey_is_taken_out() -> None:
    assert text.plain("a\x1b[2Jb\x9bc\rd\x07\ne\tf") == "a\ufffd[2Jb\ufffdc\ufffdd\ufffd\ne\tf"


def test_a_long_text_becomes_one_line_that_is_cut() -> None:
    assert text.line("owls\n hunt \t by ear", 12) == "owls hunt b…"
    assert text.line("owls\nhunt", 9) == "owls hunt"


def test_progress_ends_with_the_latest_thought() -> None:
    job = JOB | {"progress": {"thought": "Reading\nabout owls"}}

    assert sheet.progress(JOB) == "in_progress, turn 2, attempt 3"
    assert sheet.progress(job) == "in_progress, turn 2, attempt 3: Reading about owls"
    assert sheet.progress(job, "…by\tear") == "in_progress, turn 2, attempt 3: …by ear"
    assert sheet.progress(job | {"status": "completed"}) == "completed, turn 2, attempt 3"


def test_a_scheduled_job_tells_when_it_will_run() -> None:
    job = JOB | {"status": "scheduled", "run_at": "2099-12-24T18:00:00Z"}

    assert sheet.progress(job).endswith(f", until {text.clock('2099-12-24T18:00:00Z')}")


def test_an_end_tells_how_long_it_took() -> None:
    ended = JOB | {"status": "completed", "finished_at": "2026-11-21T20:01:05.000Z"}

    assert sheet.ending(JOB) == "job_1 in_progress"
    assert sheet.ending(ended) == "job_1 completed after 1 min 5 s"


def test_an_error_tells_whether_to_try_again_and_what_the_upstream_said() -> None:
    upstream = {"status": 400, "code": "invalid_request", "message": "no\x1b owl"}
    error = {"code": "upstream_rejected", "message": "refused", "retryable": True, "upstream": upstream}

    told = sheet.trouble(JOB | {"error": error})

    assert told[0].split(None, 1) == ["error", "upstream_rejected: refused; it may be tried again"]
    assert told[1].split(None, 1) == ["upstream", "400 invalid_request no\ufffd owl"]


def test_steps_are_told_by_their_texts_or_by_what_they_call() -> None:
    steps: list[dict[str, Any]] = [
        {"type": "thought", "summary": [{"type": "text", "text": "Owls"}, {"type": "text", "text": "fly"}]},
        {"type": "function_call", "id": "1", "name": "weather", "arguments": {"city": "Bonn"}},
        {"type": "model_output", "content": [{"type": "image", "data": "aGk="}]},
    ]

    assert sheet.steps(steps) == [
        "   1  thought: Owls fly",
        '   2  function_call: {"name": "weather", "arguments": {"city": "Bonn"}}',
        "   3  model_output: ",
    ]
