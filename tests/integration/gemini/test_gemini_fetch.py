"""Fetching a file that a run made: its bytes and nothing else, from the API and from nowhere else, within bounds."""

from collections.abc import Iterator
from io import BytesIO

import pytest

from tests.integration.gemini import stub as wire
from tests.integration.gemini.stub import Act, Stub
from worker.errors import UpstreamError
from worker.gemini.access import Access
from worker.gemini.files import Files
from worker.gemini.loop import LoopThread

CLIP = bytes(range(256)) * 20_000


@pytest.fixture
def files(access: Access, loop: LoopThread) -> Iterator[Files]:
    made = Files(access, loop, call_s=30)
    yield made
    made.close()


@pytest.fixture
def hasty(access: Access, loop: LoopThread) -> Iterator[Files]:
    """For those who never answer."""
    made = Files(access, loop, call_s=0.3)
    yield made
    made.close()


def test_the_bytes_come_with_the_key_by_the_name_of_the_file(stub: Stub, files: Files) -> None:
    stub.will(wire.says(200, CLIP))
    into = BytesIO()

    size = files.fetch("files/a clip", into, len(CLIP)).result(60)

    (request,) = stub.requests
    assert (size, into.getvalue()) == (len(CLIP), CLIP)
    assert (request.method, request.target) == ("GET", "/v1/files/a%20clip:download?alt=media")
    assert request.headers["x-goog-api-key"] == files._access.api_key


@pytest.mark.parametrize(
    ("act", "status"),
    [
        (wire.says(404, {"error": {"code": 404, "message": "secret", "status": "NOT_FOUND"}}), 404),
        (wire.says(302, b"", Location="http://127.0.0.1:1/elsewhere"), 302),
        (wire.says(206, CLIP[:5]), 206),
        (wire.says(200, CLIP), 413),
        (wire.breaks_off(CLIP[:1000]), None),
        (wire.closes(), None),
        (wire.resets(), None),
    ],
    ids=["missing", "moved", "part", "large", "broken", "closed", "reset"],
)
def test_anything_else_is_an_error(stub: Stub, files: Files, act: Act, status: int | None) -> None:
    stub.will(act)

    with pytest.raises(UpstreamError) as caught:
        files.fetch("files/clip", BytesIO(), len(CLIP) - 1).result(60)

    assert caught.value.status == status
    assert "secret" not in str(caught.value)
    assert {request.target for request in stub.requests} == {"/v1/files/clip:download?alt=media"}


@pytest.mark.parametrize("act", [wire.drips(CLIP[:1000]), wire.hangs()], ids=["slow", "silent"])
def test_what_never_comes_to_an_end_is_an_error_in_time(stub: Stub, hasty: Files, act: Act) -> None:
    stub.will(act)

    with pytest.raises(UpstreamError):
        hasty.fetch("files/clip", BytesIO(), len(CLIP)).result(20)


def test_what_cannot_be_written_any_more_is_an_error(stub: Stub, files: Files) -> None:
    stub.will(wire.says(200, CLIP))
    closed = BytesIO()
    closed.close()

    with pytest.raises(UpstreamError):
        files.fetch("files/clip", closed, len(CLIP)).result(60)
