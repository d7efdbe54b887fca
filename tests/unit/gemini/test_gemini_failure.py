import pytest

from tests.unit.gemini.outcomes import Json, says
from worker.gemini.failure import BLOCKED, REJECTED, TRANSIENT, classify_failure, errors_of


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({"errors": [{"code": "safety", "message": "no"}, {"code": "safety", "message": "no"}]}, [("safety", "no")]),
        ({"errors": None, "error": {"code": "api_error"}}, [("api_error", None)]),
        ({"steps": [says(error={"code": 14, "message": "gone"})]}, [("unavailable", "gone")]),
        ({"errors": [{"code": 429, "status": "RESOURCE_EXHAUSTED"}, {"code": 503}]}, [("resource_exhausted", None),
         ("service_unavailable", None)]),
        ({"errors": [{"code": 777}, {"code": True}, "words", 5, {}]}, [("777", None), (None, None), (None, "words")]),
        ({"errors": {"code": "x", "message": 5}}, [("x", None)]),
        ({"errors": [{"message": "y" * 5000}]}, [(None, "y" * 2000)]),
        ({}, []),
    ],
)  # fmt: skip
def test_errors_are_gathered_from_everywhere(body: Json, errors: list[tuple[str | None, str | None]]) -> None:
    assert [(error["code"], error["message"]) for error in errors_of(body, body.get("steps", []))] == errors


@pytest.mark.parametrize(
    ("codes", "code", "is_retryable"),
    [
        *[([code], "safety_blocked", False) for code in sorted(BLOCKED)],
        *[([code], "upstream_rejected", False) for code in sorted(REJECTED)],
        *[([code], "upstream_failed", True) for code in sorted(TRANSIENT)],
        (["api_error", "safety"], "safety_blocked", False),
        (["api_error", "invalid_request"], "upstream_rejected", False),
        (["never_seen", "api_error"], "upstream_failed", True),
        (["never_seen"], "upstream_failed", False),
        ([None], "upstream_failed", False),
        ([], "upstream_failed", False),
    ],
)
def test_a_failure_is_told_by_its_gravest_code(codes: list[str | None], code: str, *, is_retryable: bool) -> None:
    failure = classify_failure(tuple({"code": name, "message": "a secret"} for name in codes))

    assert (failure.code, failure.retryable) == (code, is_retryable)
    assert "secret" not in failure.message


def test_a_code_made_of_words_is_not_repeated() -> None:
    assert "prompt" not in classify_failure(({"code": "your prompt was", "message": None},)).message
