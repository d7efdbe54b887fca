"""Creates through the unmodified SDK over real HTTP: one POST whatever happens, and what each outcome means."""

import socket
from typing import Any

import pytest

from tests.integration.gemini import stub as wire
from tests.integration.gemini.stub import Act, Stub
from worker.errors import CreateLost, CreateRefused, CreateRejected, UpstreamError
from worker.gemini.access import Access
from worker.gemini.client import Created, Gemini
from worker.gemini.loop import LoopThread
from worker.gemini.request import build

PROMPT = "the secret of the old mill"
REQUEST = build({"model": "gemini-3.8-flash", "input": PROMPT})
ACCEPTED = {"id": "v1_abc", "status": "in_progress", "object": "interaction"}
SAID = f"no: {PROMPT}"


def error(code: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": SAID}}


def platform(number: int, status: str, **more: Any) -> dict[str, Any]:
    return {"error": {"code": number, "status": status, "message": SAID, **more}}


def refusal_of(gemini: Gemini) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        gemini.create(REQUEST).result(20)
    return caught.value


def test_an_accepted_create_gives_the_id_and_the_status(gemini: Gemini, stub: Stub) -> None:
    stub.will(wire.says(200, ACCEPTED))

    created = gemini.create(REQUEST).result(30)

    assert created == Created("v1_abc", "in_progress")
    assert [request.method for request in stub.requests] == ["POST"]
    assert stub.requests[0].target == "/v1/interactions"


HARD: dict[str, Any] = {
    "agent": "my-agent",
    "input": [
        {
            "type": "user_input",
            "content": [{"type": "text", "text": "é😀\u2028\n", "new": None, "deep": [{"a": [None]}]}],
        },
        {"type": "function_result", "call_id": "c", "result": {"n": 12345678901234567890, "f": 1.0, "e": 1e300}},
    ],
    "tools": [
        {"type": "function", "name": "f", "parameters": {"properties": {"x": {"default": None, "const": False}}}},
        {"type": "mcp_server", "name": "m", "url": "https://example.org", "headers": {"A": ""}, "unheard_of": [0, ""]},
    ],
    "agent_config": {"type": "antigravity", "max_total_tokens": 7, "future": {"x": None}},
    "environment": {"type": "remote", "env": {"A": {"value": "1"}}, "network": "disabled"},
    "labels": {"team": ""},
    "continuation_token": "opaque",
}


@pytest.mark.parametrize("name", sorted(HARD))
def test_every_field_goes_over_the_wire_untouched(gemini: Gemini, stub: Stub, name: str) -> None:
    stub.will(wire.says(200, ACCEPTED))
    body = {"agent": "my-agent", "input": "x", name: HARD[name], "extra_body": {"newer": [None, {"a": 1.0}]}}

    gemini.create(build(body)).result(30)

    assert stub.requests[0].json == {
        "agent": "my-agent",
        "input": "x",
        name: HARD[name],
        "newer": [None, {"a": 1.0}],
        "background": True,
        "store": True,
    }


@pytest.mark.parametrize(
    ("act", "upstream_id"),
    [
        (wire.says(202, ACCEPTED), "v1_abc"),
        (wire.says(201, ACCEPTED | {"surprise": {"x": [1]}}), "v1_abc"),
        (wire.says(200, ACCEPTED, Content_Type="text/plain; charset=x-unknown"), "v1_abc"),
        (wire.says(200, ACCEPTED, Content_Type="text/event-stream"), "v1_abc"),
        (wire.says(200, b"\xef\xbb\xbf" + b'{"id":"v1_bom"}'), "v1_bom"),
        (wire.says(200, {"id": 17, "status": 3, "steps": "none"}), "17"),
        (wire.says(200, [ACCEPTED]), "v1_abc"),
        (wire.says(200, {"id": "v1_" + "x" * 2000}), "v1_" + "x" * 2000),
    ],
)
def test_an_id_in_a_2xx_is_kept_whatever_else_is_odd(gemini: Gemini, stub: Stub, act: Act, upstream_id: str) -> None:
    stub.will(act)

    created = gemini.create(REQUEST).result(30)

    assert created.upstream_id == upstream_id


LOST = {
    "500": wire.says(500, error("api_error")),
    "502": wire.says(502, b"<html>bad gateway</html>", Content_Type="text/html"),
    "504": wire.says(504, error("deadline_exceeded")),
    "503 as a page": wire.says(503, b"<html>busy</html>", Content_Type="text/html"),
    "503 without a body": wire.says(503),
    "503 in a foreign shape": wire.says(503, {"error": "overloaded"}),
    "408": wire.says(408, error("deadline_exceeded")),
    "409 aborted": wire.says(409, error("aborted")),
    "409 aborted by the platform": wire.says(409, [platform(409, "ABORTED")]),
    "499": wire.says(499, error("cancelled")),
    "a redirect": wire.says(307, b"", Location="http://127.0.0.1:1/"),
    "200 with broken JSON": wire.says(200, b'{"id": "v1_abc", "sta'),
    "200 without an id": wire.says(200, {"status": "in_progress"}),
    "200 with an id that no database would take": wire.says(200, {"id": "v" * 9000, "status": "in_progress"}),
    "200 with an empty body": wire.says(200),
    "a list": wire.says(200, b"[]"),
    "a truncated body": wire.breaks_off(b'{"id": "v1_abc", "status": "in_progress"}'),
    "no answer": wire.closes(),
    "a reset": wire.resets(),
}
ENDLESS = {
    "a hang": wire.hangs(),
    "a dripping body": wire.drips(b'{"id": "v1_abc", "status": "in_progress"}' + b" " * 1000, gap_s=0.05),
}


@pytest.mark.parametrize("name", LOST)
def test_an_unclear_answer_is_lost_after_one_post(gemini: Gemini, stub: Stub, name: str) -> None:
    stub.will(LOST[name])

    refusal = refusal_of(gemini)

    assert type(refusal) is CreateLost
    assert len(stub.requests) == 1


@pytest.mark.parametrize("name", ENDLESS)
def test_an_answer_without_end_is_lost_in_time(hasty: Gemini, stub: Stub, name: str) -> None:
    stub.will(ENDLESS[name])

    refusal = refusal_of(hasty)

    assert type(refusal) is CreateLost
    assert len(stub.requests) == 1


REFUSED = {
    "401": (wire.says(401, error("authentication")), 401, "authentication"),
    "402": (wire.says(402, error("payment_required")), 402, "payment_required"),
    "429": (wire.says(429, error("quota_exceeded")), 429, "quota_exceeded"),
    "429 of the platform": (wire.says(429, platform(429, "RESOURCE_EXHAUSTED")), 429, "resource_exhausted"),
    "429 as a page": (wire.says(429, b"<html>", Content_Type="text/html"), 429, None),
    "503": (wire.says(503, error("service_unavailable")), 503, "service_unavailable"),
    "503 of the platform": (wire.says(503, [platform(503, "UNAVAILABLE")]), 503, "unavailable"),
    "a bad key": (
        wire.says(400, platform(400, "INVALID_ARGUMENT", details=[{"reason": "API_KEY_INVALID"}])),
        401,
        "authentication",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_was_surely_not_accepted_is_refused_after_one_post(gemini: Gemini, stub: Stub, name: str) -> None:
    act, status, code = REFUSED[name]
    stub.will(act)

    refusal = refusal_of(gemini)

    assert type(refusal) is CreateRefused
    assert (refusal.status, refusal.code) == (status, code)
    assert len(stub.requests) == 1


REJECTED = {
    "400": (wire.says(400, error("invalid_request")), 400, "invalid_request"),
    "400 without a word": (wire.says(400), 400, None),
    "403": (wire.says(403, platform(403, "PERMISSION_DENIED")), 403, "permission_denied"),
    "404": (wire.says(404, [platform(404, "NOT_FOUND")]), 404, "not_found"),
    "409": (wire.says(409, error("already_exists")), 409, "already_exists"),
    "416": (wire.says(416, error("out_of_range")), 416, "out_of_range"),
    "422": (wire.says(422, b"\x00\xff"), 422, None),
    "501": (wire.says(501, error("unimplemented")), 501, "unimplemented"),
}


@pytest.mark.parametrize("name", REJECTED)
def test_a_plain_refusal_is_rejected_after_one_post(gemini: Gemini, stub: Stub, name: str) -> None:
    act, status, code = REJECTED[name]
    stub.will(act)

    refusal = refusal_of(gemini)

    assert type(refusal) is CreateRejected
    assert (refusal.status, refusal.code) == (status, code)
    assert len(stub.requests) == 1


def test_a_503_of_the_api_is_lost_where_the_operator_says_so(stub: Stub, access: Access, loop: LoopThread) -> None:
    gemini = Gemini(access, loop, create_503="unconfirmed")
    stub.will(wire.says(503, error("service_unavailable")))

    refusal = refusal_of(gemini)
    gemini.close()

    assert type(refusal) is CreateLost


def test_a_refused_connection_was_surely_not_accepted(loop: LoopThread) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        gemini = Gemini(Access(api_key="k", base_url=f"http://127.0.0.1:{unused.getsockname()[1]}"), loop)

        refusal = refusal_of(gemini)
        gemini.close()

    assert type(refusal) is CreateRefused
    assert str(refusal) == "create was not sent: ConnectError"


def test_a_create_after_the_loop_has_stopped_was_surely_not_sent(access: Access) -> None:
    loop = LoopThread()
    gemini = Gemini(access, loop)

    refusal = refusal_of(gemini)
    gemini.close()

    assert type(refusal) is CreateRefused


def test_retry_after_is_told_and_not_obeyed(gemini: Gemini, stub: Stub) -> None:
    stub.will(wire.says(429, error("rate_limit_exceeded"), Retry_After="120"))

    refusal = refusal_of(gemini)

    assert refusal.retry_after_s == 120
    assert len(stub.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
def test_an_error_says_nothing_of_the_prompt_but_to_the_owner(gemini: Gemini, stub: Stub, status: int) -> None:
    stub.will(wire.says(status, error("invalid_request")))

    refusal = refusal_of(gemini)

    assert PROMPT not in str(refusal)
    assert PROMPT not in repr(refusal)
    assert (refusal.__cause__, refusal.__context__) == (None, None)
    assert refusal.detail == SAID
