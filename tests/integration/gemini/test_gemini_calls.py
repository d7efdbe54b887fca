"""Get, cancel, delete and probe through the SDK, and what the environment must not change."""

import gzip
import logging
import resource
import zlib
from typing import Any

import pytest

from tests.integration.gemini import stub as wire
from tests.integration.gemini.conftest import KEY
from tests.integration.gemini.stub import Act, Stub
from worker.errors import CreateLost, UpstreamError
from worker.gemini.access import Access
from worker.gemini.client import CancelKind, Gemini, ProbeAnswer
from worker.gemini.loop import LoopThread
from worker.gemini.request import build

REQUEST = build({"model": "gemini-3.8-flash", "input": "the secret of the old mill"})


def error(code: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": "no"}}


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (wire.says(200, {"id": "v1_a", "status": "cancelled"}), CancelKind.ENDED),
        (wire.says(200, {"id": "v1_a", "status": "completed"}), CancelKind.ENDED),
        (wire.says(200, {"id": "v1_a", "status": "in_progress"}), CancelKind.ACCEPTED),
        (wire.says(200, b"what?"), CancelKind.ACCEPTED),
        (wire.says(400, error("failed_precondition")), CancelKind.ENDED),
        (wire.says(409, error("failed_precondition")), CancelKind.ENDED),
        (wire.says(404, [{"error": {"code": 404, "message": "Method not found."}}]), CancelKind.MISSING),
        (wire.says(401, error("authentication")), CancelKind.DENIED),
        (wire.says(403, error("permission_denied")), CancelKind.DENIED),
        (wire.says(429, error("rate_limit_exceeded")), CancelKind.THROTTLED),
        (wire.says(500, error("api_error")), CancelKind.TROUBLE),
        (wire.says(501), CancelKind.TROUBLE),
        (wire.says(302, b"", Location="http://127.0.0.1:1/"), CancelKind.TROUBLE),
        (wire.closes(), CancelKind.TROUBLE),
    ],
)
def test_a_cancel_is_one_post_whose_answer_never_raises(gemini: Gemini, stub: Stub, act: Act, kind: CancelKind) -> None:
    stub.will(act)

    answer = gemini.cancel("v1_a")

    assert answer.kind is kind
    assert [(request.method, request.target) for request in stub.requests] == [("POST", "/v1/interactions/v1_a/cancel")]


def test_a_cancel_that_is_never_answered_ends_in_time(hasty: Gemini, stub: Stub) -> None:
    stub.will(wire.hangs())

    assert hasty.cancel("v1_a").kind is CancelKind.TROUBLE
    assert len(stub.requests) == 1


@pytest.mark.parametrize(
    ("act", "is_gone"),
    [
        (wire.says(200, {}), True),
        (wire.says(204), True),
        (wire.says(404, error("not_found")), True),
        (wire.says(501, error("unimplemented")), True),
        (wire.says(403, error("permission_denied")), False),
        (wire.says(500, error("api_error")), False),
        (wire.closes(), False),
    ],
)
def test_a_delete_is_one_request_that_says_whether_to_try_again(
    gemini: Gemini, stub: Stub, act: Act, *, is_gone: bool
) -> None:
    stub.will(act)

    answer = gemini.delete("v1_a")

    assert answer is is_gone
    assert [(request.method, request.target) for request in stub.requests] == [("DELETE", "/v1/interactions/v1_a")]


@pytest.mark.parametrize(
    ("act", "answer"),
    [
        (wire.says(404, error("not_found")), ProbeAnswer(key_works=True, status=404)),
        (wire.says(401, error("authentication")), ProbeAnswer(key_works=False, status=401)),
        (wire.says(402, error("payment_required")), ProbeAnswer(key_works=False, status=402)),
        (wire.says(403, error("permission_denied")), ProbeAnswer(key_works=False, status=403)),
        (
            wire.says(400, {"error": {"code": 400, "details": [{"reason": "API_KEY_INVALID"}]}}),
            ProbeAnswer(key_works=False, status=401),
        ),
        (wire.says(429, error("quota_exceeded")), ProbeAnswer(key_works=None, status=429)),
        (wire.says(503), ProbeAnswer(key_works=None, status=503)),
        (wire.closes(), ProbeAnswer(key_works=None, status=None)),
    ],
)
def test_a_probe_tells_whether_the_key_works(gemini: Gemini, stub: Stub, act: Act, answer: ProbeAnswer) -> None:
    stub.will(act)

    assert gemini.probe() == answer
    assert [request.method for request in stub.requests] == ["GET"]


@pytest.mark.parametrize(
    ("acts", "status"),
    [
        ([wire.says(200, {"id": "v1_a", "model": "m", "status": "in_progress"})], "in_progress"),
        ([wire.says(404, error("not_found"))], None),
        ([wire.says(400, error("invalid_request"))], None),
        ([wire.says(403, error("permission_denied")), wire.says(404, error("not_found"))], None),
    ],
)
def test_a_get_tells_how_an_interaction_stands_or_that_there_is_none(
    gemini: Gemini, stub: Stub, acts: list[Act], status: str | None
) -> None:
    stub.will(*acts)

    resource = gemini.get("v1_a")

    assert (resource and resource.status) == status
    assert [request.method for request in stub.requests] == ["GET"] * len(acts)
    assert stub.requests[0].target.partition("?")[0] == "/v1/interactions/v1_a"


@pytest.mark.parametrize(
    "acts",
    [
        [wire.says(200, {"status": "in_progress"})],
        [wire.says(200, b"what?")],
        [wire.says(403, error("permission_denied")), wire.says(403, error("permission_denied"))],
        [wire.says(400, {"error": {"code": 400, "details": [{"reason": "API_KEY_INVALID"}]}})],
        [wire.says(401, error("authentication"))],
        [wire.says(429, error("rate_limit_exceeded"))],
        [wire.says(503)],
        [wire.closes()],
    ],
)
def test_a_get_that_does_not_tell_is_an_error(gemini: Gemini, stub: Stub, acts: list[Act]) -> None:
    stub.will(*acts)

    with pytest.raises(UpstreamError):
        gemini.get("v1_a")


def test_an_id_never_leaves_its_place_in_the_path(gemini: Gemini, stub: Stub) -> None:
    stub.will(wire.says(200, {}))

    gemini.delete("../../v1beta/files/x?force=true#y")
    gemini.cancel("..")

    assert [request.target for request in stub.requests] == [
        "/v1/interactions/..%2F..%2Fv1beta%2Ffiles%2Fx%3Fforce=true%23y",
        "/v1/interactions/%2E%2E/cancel",
    ]


def test_warming_opens_a_connection_that_the_next_call_uses(stub: Stub, access: Access, loop: LoopThread) -> None:
    stub.will(wire.says(404, error("not_found")))
    gemini = Gemini(access, loop)

    answer = gemini.warm()
    gemini.close()

    assert answer.key_works is True


def test_the_environment_changes_nothing(
    stub: Stub, access: Access, loop: LoopThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "GOOGLE_API_KEY": "another",
        "GEMINI_API_KEY": "a third",
        "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:1",
        "GOOGLE_GENAI_API_VERSION": "beta",
        "GOOGLE_GENAI_USE_VERTEXAI": "true",
        "GOOGLE_GENAI_USE_ENTERPRISE": "true",
        "GOOGLE_CLOUD_PROJECT": "p",
        "GOOGLE_CLOUD_LOCATION": "us",
        "GOOGLE_GENAI_HTTP_CLIENT": "httpx",
        "GOOGLE_GENAI_ACCESS_TOKEN": "token",
    }.items():
        monkeypatch.setenv(name, value)
    stub.will(wire.says(200, {"id": "v1_a", "status": "in_progress"}))
    gemini = Gemini(access, loop)

    gemini.create(REQUEST).result(30)
    gemini.close()

    assert stub.requests[0].headers["x-goog-api-key"] == KEY
    assert stub.requests[0].target == "/v1/interactions"
    assert "authorization" not in stub.requests[0].headers


def test_the_sdk_logs_neither_prompts_nor_the_key(
    stub: Stub, access: Access, loop: LoopThread, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GOOGLE_GENAI_DEBUG", "1")
    caplog.set_level(logging.DEBUG)
    stub.will(wire.says(500, {"error": {"code": "api_error", "message": "the secret of the old mill"}}))
    gemini = Gemini(access, loop)

    with pytest.raises(CreateLost):
        gemini.create(REQUEST).result(30)
    gemini.close()

    assert "old mill" not in caplog.text
    assert KEY not in caplog.text
    assert KEY not in repr(access)


def test_the_api_version_and_a_path_before_it_are_kept(stub: Stub, loop: LoopThread) -> None:
    stub.will(wire.says(404))
    gemini = Gemini(Access(api_key=KEY, base_url=stub.url + "/proxy/", api_version="v1beta"), loop)

    gemini.cancel("v1_a")
    gemini.close()

    assert stub.requests[0].target == "/proxy/v1beta/interactions/v1_a/cancel"


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def bomb(mib: int) -> bytes:
    """A small body that is so many MiB of zeros."""
    packer, zeros = zlib.compressobj(1, wbits=31), bytes(1024 * 1024)
    return b"".join([packer.compress(zeros) for _ in range(mib)]) + packer.flush()


def test_no_answer_is_asked_to_be_compressed_and_a_small_one_that_is_is_read(gemini: Gemini, stub: Stub) -> None:
    stub.will(wire.says(200, gzip.compress(b'{"status": "cancelled"}'), Content_Encoding="gzip"))

    assert gemini.cancel("v1_a").kind is CancelKind.ENDED
    assert stub.requests[0].headers["accept-encoding"] == "identity"


def test_an_answer_that_would_fill_the_memory_is_given_up(gemini: Gemini, stub: Stub) -> None:
    stub.will(wire.says(200, bomb(400), Content_Encoding="gzip"))
    before = peak_mib()

    answer = gemini.cancel("v1_a")
    with pytest.raises(CreateLost):
        gemini.create(REQUEST).result(30)

    assert answer.kind == CancelKind.TROUBLE
    assert peak_mib() - before < 300
