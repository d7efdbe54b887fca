from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.gemini.answer import ENDED, Answer, AnswerKind, read_answer

RUNNING = {"id": "v1_a", "status": "in_progress", "updated": "2026-11-21T10:00:00Z", "steps": []}


def answer(body: Any, status: int = 200, **headers: str) -> Answer:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return read_answer("v1_a", status, {name.replace("_", "-"): text for name, text in headers.items()}, raw)


@pytest.mark.parametrize("status", sorted(ENDED))
def test_an_ended_interaction_comes_with_its_body(status: str) -> None:
    body = orjson.dumps({"status": status})

    found = answer(body)

    assert (found.kind, found.status, found.body, found.http_status) == (AnswerKind.ENDED, status, body, 200)


@pytest.mark.parametrize("status", ["queued", "in_progress", "COMPLETED", "dreaming"])
def test_every_other_status_is_running(status: str) -> None:
    found = answer({"status": status})

    assert (found.kind, found.status, found.body) == (AnswerKind.RUNNING, status, None)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"5", b'{"status": ', {}, {"status": 5}, {"status": ""}])
def test_a_body_without_a_status_is_trouble(body: Any) -> None:
    assert answer(body).kind == AnswerKind.TROUBLE


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, AnswerKind.MISSING),
        (429, AnswerKind.THROTTLED),
        (401, AnswerKind.DENIED),
        (402, AnswerKind.DENIED),
        (403, AnswerKind.DENIED),
        (400, AnswerKind.TROUBLE),
        (302, AnswerKind.TROUBLE),
        (500, AnswerKind.TROUBLE),
        (503, AnswerKind.TROUBLE),
    ],
)
def test_an_http_error_has_its_kind(status: int, kind: AnswerKind) -> None:
    found = answer(b"", status)

    assert (found.kind, found.http_status, found.body) == (kind, status, None)


def test_a_throttled_answer_says_how_long_to_wait() -> None:
    assert answer(b"", 429, retry_after="12").retry_after_s == 12


def test_a_bad_key_is_denied() -> None:
    assert answer({"error": {"code": 400, "details": [{"reason": "API_KEY_INVALID"}]}}, 400).kind == AnswerKind.DENIED


@pytest.mark.parametrize(
    "later",
    [
        {"status": "queued"},
        {"updated": "2026-11-21T10:00:05Z"},
        {"steps": [{"type": "thought"}]},
        {"usage": {"total_tokens": 5}},
    ],
)
def test_the_mark_changes_with_visible_progress(later: dict[str, Any]) -> None:
    assert answer(RUNNING).mark == answer(dict(RUNNING)).mark
    assert answer(RUNNING).mark != answer(RUNNING | later).mark


def thought(*texts: Any) -> dict[str, Any]:
    return {"type": "thought", "summary": [{"type": "text", "text": text} for text in texts]}


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], None),
        ([thought("one"), thought("two")], "two"),
        ([thought("one"), thought(), thought(" "), {"type": "model_output"}], "one"),
        ([thought("a", "b")], "a b"),
        ([thought("x" * 900)], "x" * 500),
        ([thought("a\0b")], "a b"),
        ([thought(None, 5), {"type": "thought", "summary": "text"}, "thought", None], None),
        ("thoughts", None),
        (None, None),
    ],
)
def test_the_latest_thought_is_shown_while_running(steps: Any, expected: str | None) -> None:
    assert answer(RUNNING | {"steps": steps}).thought == expected


def test_an_ended_interaction_shows_no_thought() -> None:
    assert answer({"status": "completed", "steps": [thought("one")]}).thought is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "summary"]), inner),
    max_leaves=10,
)


@given(status=JSON | st.just("in_progress"), steps=JSON | st.lists(JSON), updated=JSON)
def test_any_json_is_read_without_a_crash(status: Any, steps: Any, updated: Any) -> None:
    body = orjson.dumps({"status": status, "steps": steps, "updated": updated})

    assert answer(body).kind in AnswerKind


def test_an_answer_shows_neither_body_nor_thought_in_logs() -> None:
    found = Answer(upstream_id="v1_a", kind=AnswerKind.ENDED, body=b"secret", thought="secret")

    assert "secret" not in repr(found)
