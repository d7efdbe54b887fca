"""What is read from an answer: the wish to wait, the snippet, and success by status alone."""

from datetime import UTC, datetime

import pytest

from worker.webhooks.reply import ReplyKind, answered, retry_after_s, snippet

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 120 ", 120.0),
        ("86400", 86_400.0),
        ("86401", 86_400.0),
        pytest.param("9" * 5000, 86_400.0, id="thousands of digits"),
        ("Sun, 01 Mar 2026 12:02:00 GMT", 120.0),
        ("Sun, 01 Mar 2026 14:02:00 +0200", 120.0),
        ("Sun, 01 Mar 2026 12:02:00 -0000", 120.0),
        ("Sunday, 01-Mar-26 12:02:00 GMT", 120.0),
        ("Sun Mar  1 12:02:00 2026", 120.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("Fri, 01 Mar 2999 12:00:00 GMT", 86_400.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_date_up_to_a_day(value: str, expected: float) -> None:
    assert retry_after_s(value, now=NOW) == expected


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "soon",
        "-1",
        "1.5",
        "1e3",
        "inf",
        "nan",
        "\u0661",
        "12 34",
        "Sun, 99 Mar 2026 12:00:00 GMT",
        "0x10",
        ",,,,",
    ],
)
def test_a_retry_after_that_cannot_be_read_is_no_wish(value: str | None) -> None:
    assert retry_after_s(value, now=NOW) is None


def test_a_snippet_is_the_first_kibibyte() -> None:
    assert snippet(b"a" * 3000) == "a" * 1024


def test_a_snippet_can_be_stored_whatever_the_bytes() -> None:
    text = snippet(bytes(range(256)) + b"\xf0\x9f\x98")

    assert "\x00" not in text
    assert text.encode("utf-8").decode("utf-8") == text


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_success(status: int) -> None:
    assert answered(status, b"", None).kind is ReplyKind.OK


@pytest.mark.parametrize("status", [101, 199, 300, 301, 304, 308, 400, 404, 410, 429, 500, 503, 599, 999])
def test_anything_else_is_not(status: int) -> None:
    reply = answered(status, b"", None)

    assert (reply.kind, reply.status) == (ReplyKind.HTTP, status)
    assert str(status) in reply.detail
