import pytest
from starlette.requests import Request

from api import headers
from api.headers import LastEvent
from worker.errors import BadRequest


def request(**given: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in given.items()]
    return Request({"type": "http", "headers": raw})


@pytest.mark.parametrize(
    ("given", "wait_s"),
    [
        ("wait=10", 10),
        ("wait=0", 0),
        ("Wait = 60", 60),
        ('wait="5"', 5),
        ("wait", 60),
        ("respond-async, wait=3; x=y", 3),
        ("respond-async", None),
        ("waiting=3", None),
        ("", None),
    ],
)
def test_a_preference_to_wait_is_read(given: str, wait_s: int | None) -> None:
    assert headers.prefer_wait(request(prefer=given)) == wait_s


@pytest.mark.parametrize("given", ["wait=61", "wait=1000", "wait=-1", "wait=", "wait=x", "wait=1.0", "wait=\u00b2"])
def test_a_wait_that_cannot_be_is_refused(given: str) -> None:
    with pytest.raises(BadRequest):
        headers.prefer_wait(request(prefer=given))


def test_without_the_header_there_is_no_idempotency_key() -> None:
    assert headers.idempotency_key(request()) is None
    assert headers.idempotency_key(request(idempotency_key=" a b ")) == "a b"


@pytest.mark.parametrize(
    ("given", "is_known"),
    [('"a"', True), ('W/"a"', True), ('"b", "a"', True), ("*", True), ('"b"', False), ("", False), ("a", False)],
)
def test_an_entity_tag_is_compared_weakly(given: str, is_known: bool) -> None:  # noqa: FBT001
    assert headers.matches(request(if_none_match=given), '"a"') is is_known


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "text/markdown"),
        ("*/*", "text/markdown"),
        ("text/html", "text/html"),
        ("text/html;q=0.5, text/markdown", "text/markdown"),
        ("text/*;q=0.1, text/html;q=0.9", "text/html"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
        ("*/*, text/markdown;q=0", "text/html"),
        ("application/pdf", "text/markdown"),
        ("text/html;q=nonsense", "text/markdown"),
        (", ,", "text/markdown"),
    ],
)
def test_the_media_type_wanted_most_is_chosen(accept: str, chosen: str) -> None:
    assert headers.preferred(request(accept=accept), ["text/markdown", "text/html"]) == chosen


@pytest.mark.parametrize(
    ("given", "sequence", "live_id"),
    [
        ("", 0, None),
        ("7", 7, ""),
        ("7.", 7, ""),
        ("7.up-1", 7, "up-1"),
        ("7.1.2", 7, "1.2"),
        ("7.\u00e9 =", 7, "\u00e9 ="),
    ],
)
def test_the_last_event_is_a_sequence_number_and_perhaps_an_upstream_id(
    given: str, sequence: int, live_id: str | None
) -> None:
    assert headers.last_event(request(last_event_id=given)) == LastEvent(sequence, live_id)
