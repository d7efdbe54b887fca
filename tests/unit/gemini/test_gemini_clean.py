"""JSON as the upstream may send it, made fit for databases, serialisers and clients."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.gemini import clean

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner | st.text(), max_size=4),
    max_leaves=20,
)


@given(value=PLAIN)
def test_plain_json_is_read_as_it_is(value: Any) -> None:
    assert clean.parse(orjson.dumps(value)) == value


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": "x\\ud800y"}', {"a": "x\ufffdy"}),
        (b'{"\\udc00": "\\ud83d\\ude00 \\ud83d"}', {"\ufffd": "😀 \ufffd"}),
        (b'{"a": 1e999, "b": -1e999, "c": NaN, "d": Infinity}', {"a": None, "b": None, "c": None, "d": None}),
        (b'{"a": %s, "b": 7}' % (b"9" * 5000), {"a": None, "b": 7}),
        (b'{"a": 1e999, "b": 18446744073709551616}', {"a": None, "b": 2.0**64}),
        (b'{"a": 1e999, "b": [-9223372036854775808, 18446744073709551615]}', {"a": None, "b": [-(2**63), 2**64 - 1]}),
        (b'{"a": 1e999, "b": -9223372036854775809}', {"a": None, "b": -(2.0**63)}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": "\xff"}', {"a": "\ufffd"}),
        (b'{"a": "line\nbreak\x00"}', {"a": "line\nbreak\x00"}),
    ],
)
def test_what_only_just_is_json_is_read_as_well(body: bytes, value: Any) -> None:
    assert clean.parse(body) == value


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"a": ', b"{'a': 1}", b"[1,]", b"[" * 100_000, b'"' * 100_000])
def test_anything_else_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        clean.parse(body)


@pytest.mark.parametrize("depth", [150, 199, 200, 201, 250, 300, 1024, 1025, 50_000])
def test_json_of_any_depth_is_read_and_cut_where_it_is_of_no_use(depth: int) -> None:
    body = b'{"status": "completed", "deep": ' + b'["]", {"a":' * depth + b'"[{"' + b"}]" * depth + b', "last": "\\"]"}'

    value = clean.parse(body)
    was_cut = clean.tidy(value, has_nul=False)

    assert (value["status"], value["last"]) == ("completed", '"]')
    assert was_cut == (2 * depth + 1 > clean.MAX_DEPTH)
    assert orjson.loads(orjson.dumps(value)) == json.loads(orjson.dumps(value)) == value


def test_names_with_nul_stay_in_their_place_and_push_out_no_others() -> None:
    value = {"a": 1, "\0": 2, " ": 3, "b\0": {"c\0d": "\0"}, "  ": 5}

    clean.tidy(value, has_nul=True)

    assert list(value.items()) == [("a", 1), ("   ", 2), (" ", 3), ("b ", {"c d": " "}), ("  ", 5)]


@given(body=st.binary(max_size=60) | st.text(alphabet='{}[]":,\\ud80e9.-1 \x00', max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused_and_never_spoil_what_comes_after(body: bytes) -> None:
    try:
        value = {"value": clean.parse(body)}
    except ValueError:
        return
    clean.tidy(value, has_nul=True)

    text = orjson.dumps(value).decode()
    assert "\\u0000" not in text.replace("\\\\", "")
    assert json.loads(text) == value
