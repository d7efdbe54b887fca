from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import CreateLost, CreateRefused, CreateRejected, UpstreamError
from worker.gemini.refusal import Create503, Refusal, create_error, read_refusal, retry_after_s

OURS = {"error": {"code": "rate_limit_exceeded", "message": "slow down"}}
PLATFORM = {"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED", "details": [{"x": 1}, 5]}}


@pytest.mark.parametrize(
    ("body", "code"),
    [(OURS, "rate_limit_exceeded"), (PLATFORM, "resource_exhausted"), ([PLATFORM], "resource_exhausted")],
)
def test_every_shape_of_the_api_is_read(body: Any, code: str) -> None:
    refusal = read_refusal(429, {}, orjson.dumps(body))

    assert (refusal.status, refusal.code, refusal.detail) == (429, code, "slow down")
    assert refusal.is_api_shape


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"[5]", b"null", b'{"error": "x"}', b'{"error": {"x": 1}}'])
def test_any_other_body_is_not_the_apis(body: bytes) -> None:
    refusal = read_refusal(503, {}, body)

    assert (refusal.status, refusal.code, refusal.detail) == (503, None, None)
    assert not refusal.is_api_shape


def test_the_apis_words_are_cut_and_cleaned_and_kept_out_of_sight() -> None:
    body = {"error": {"code": "x" * 70 + " spaces", "message": "secret\x00\x1b" + "y" * 1000}}

    refusal = read_refusal(400, {}, orjson.dumps(body))

    assert refusal.code is None
    assert refusal.detail is not None
    assert (len(refusal.detail), refusal.detail[:9]) == (500, "secret  y")
    assert "secret" not in repr(refusal)


@pytest.mark.parametrize("reason", ["API_KEY_INVALID", "API_KEY_EXPIRED"])
def test_a_bad_key_is_told_as_401_although_the_platform_says_400(reason: str) -> None:
    body = {"error": {"code": 400, "status": "INVALID_ARGUMENT", "details": [{"reason": reason}]}}

    refusal = read_refusal(400, {}, orjson.dumps(body))

    assert (refusal.status, refusal.code) == (401, "authentication")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "999999999"}, 86_400.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Sat, 21 Nov 2026 10:01:00 GMT", "date": "Sat, 21 Nov 2026 10:00:00 GMT"}, 60.0),
        ({"retry-after": "Sat, 21 Nov 2026 10:01:00 GMT"}, None),
    ],
)
def test_retry_after_is_read_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds


def test_the_platforms_own_delay_counts_where_there_is_no_header() -> None:
    body = orjson.dumps({"error": {"code": 429, "details": [{"retryDelay": "37.5s"}]}})

    assert read_refusal(429, {}, body).retry_after_s == 37.5
    assert read_refusal(429, {"retry-after": "3"}, body).retry_after_s == 3


def refusal(status: int, code: str | None = None) -> Refusal:
    return Refusal(status=status, code=code, is_api_shape=code is not None)


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        *[(refusal(status, "x"), CreateRefused) for status in (401, 402, 429, 503)],
        *[(refusal(status), CreateRefused) for status in (401, 402, 429)],
        *[(refusal(status, "x"), CreateRejected) for status in (400, 403, 404, 405, 409, 410, 413, 416, 422, 451, 501)],
        (refusal(409, "already_exists"), CreateRejected),
        (refusal(501), CreateRejected),
        *[(refusal(status, "x"), CreateLost) for status in (408, 499, 500, 502, 504, 520, 599)],
        (refusal(409, "aborted"), CreateLost),
        (refusal(503), CreateLost),
    ],
)
def test_each_answer_to_a_create_has_its_meaning(answer: Refusal, meaning: type[UpstreamError]) -> None:
    assert type(create_error(answer)) is meaning


@pytest.mark.parametrize(("choice", "meaning"), [("refused", CreateRefused), ("unconfirmed", CreateLost)])
def test_what_a_503_means_is_the_operators_choice(choice: Create503, meaning: type[UpstreamError]) -> None:
    assert type(create_error(refusal(503, "service_unavailable"), create_503=choice)) is meaning


def test_a_create_error_carries_what_the_engine_needs() -> None:
    answer = Refusal(status=429, code="quota_exceeded", detail="secret", retry_after_s=5.0, is_api_shape=True)

    error = create_error(answer)

    assert (error.status, error.code, error.retry_after_s, error.detail) == (429, "quota_exceeded", 5.0, "secret")
    assert str(error) == "create answered with HTTP 429 quota_exceeded"


@given(status=st.integers(100, 999), body=st.binary(max_size=200))
def test_any_bytes_are_read_without_a_crash(status: int, body: bytes) -> None:
    assert isinstance(create_error(read_refusal(status, {}, body)), UpstreamError)
