"""Create bodies of any kind, and those meant to cost much: each is judged, soon, and left as it is."""

import json
from time import thread_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import anything
from tests.unit.gemini.requests import ANTIGRAVITY, MODEL, faults_of
from worker.gemini.request import build

Fields = dict[str, Any]


def nested(schema: Any, levels: int) -> Any:
    for _ in range(levels):
        schema = {"items": schema}
    return schema


def test_the_faults_of_a_hostile_body_are_bounded() -> None:
    fields = MODEL | {"input": [{"type": "text"}] * 1_000, "tools": [{"type": "x"}] * 1_000}

    assert len(faults_of(fields)) == 50


WORST: dict[str, Fields] = {
    "contents of no type": {"input": [{}] * 19_000},
    "tools of no type": {"tools": [{}] * 19_000},
    "labels": {"labels": {f"a{n}": "b" for n in range(200_000)}},
    "parameters nearly known": {"generation_config": {f"temperatur{n}": 1 for n in range(19_000)}},
    "newer parameters": {"extra_body": {f"inputA{n}": 1 for n in range(200_000)}},
    "schemas far down": {"response_format": nested({"anyOf": [{}] * 200_000}, 90)},
}


@pytest.mark.parametrize("name", WORST)
def test_a_hostile_body_is_judged_as_soon_as_a_large_good_one(name: str) -> None:
    good = MODEL | {"input": [{"type": "text", "text": "x"}] * 19_000}
    assert faults_of(MODEL) == []  # which has the SDK's types built

    took_s = {}
    for what, fields in {"good": good, "hostile": MODEL | WORST[name]}.items():
        began = thread_time()
        faults_of(fields)
        took_s[what] = thread_time() - began

    assert took_s["hostile"] < 3 * took_s["good"] + 0.1, took_s


def test_large_free_form_json_is_no_trouble() -> None:
    rows = {"rows": [[n, str(n)] for n in range(20_000)]}

    assert faults_of(MODEL | {"input": [{"type": "function_result", "call_id": "c", "result": rows}]}) == []


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@anything.examples(150)
@given(fields=st.dictionaries(st.sampled_from([*MODEL, *ANTIGRAVITY, "tools", "labels", "extra_body", "x"]), JSON))
def test_any_json_is_judged_without_a_crash(fields: dict[str, Any]) -> None:
    assert all(fault.pointer.startswith("/") and fault.detail for fault in faults_of(fields))


@anything.examples(100)
@given(value=JSON.filter(lambda value: value is not None))
def test_a_build_alters_nothing_of_what_was_given(value: Any) -> None:
    body = {"model": "m", "input": value, "tools": [value], "extra_body": {"newer": value}}
    before = json.dumps(body)

    request = build(body)

    assert request.payload == {
        "model": "m",
        "input": value,
        "tools": [value],
        "newer": value,
        "background": True,
        "store": True,
    }
    assert json.dumps(body) == before
