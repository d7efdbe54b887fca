import orjson
import pytest

from api import body
from worker.errors import BadRequest, Invalid


@pytest.mark.parametrize(
    "text",
    ['{"a": 18446744073709551615, "b": [-9223372036854775808]}', '{"a": "12345678901234567890123"}', '{"a": 1e300}'],
)
def test_numbers_that_can_be_passed_on_are_read(text: str) -> None:
    assert body.parse(text.encode()) == orjson.loads(text)


def test_whole_numbers_that_would_be_passed_on_as_others_are_refused_each_at_its_place() -> None:
    text = b'{"a": 18446744073709551616, "b/c": [1, {"d": -9223372036854775809}], "e": 5}'

    with pytest.raises(Invalid) as caught:
        body.parse(text)

    assert sorted(fault.pointer for fault in caught.value.faults) == ["/a", "/b~1c/1/d"]


@pytest.mark.parametrize(
    "text", [b"", b"{", b"NaN", b'{"a": 1e999}', b'{"a": "\\ud800"}', b'{"a": ' + b"9" * 400 + b"}"]
)
def test_what_is_not_json_is_a_bad_request(text: bytes) -> None:
    with pytest.raises(BadRequest):
        body.parse(text)


@pytest.mark.parametrize(
    "text", [b"[]", b"5", *(b'{"a": 1234567890123456789012, "b": ' + b"[" * n + b"]" * n + b"}" for n in (128, 1000))]
)
def test_what_is_no_object_or_nested_too_deep_is_refused(text: bytes) -> None:
    with pytest.raises(Invalid):
        body.parse(text)


def test_what_is_read_can_be_written() -> None:
    text = b'{"a": ' + b"[" * 126 + b'{"b": "' + b"[{" * 500 + b'"}' + b"]" * 126 + b"}"

    content = body.parse(text)

    assert orjson.loads(orjson.dumps(content)) == content
    assert body.digest(content)
