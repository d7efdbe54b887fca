"""What a parsed output is held against, in the words that the Gemini API takes; hostile schemas cost little."""

from contextlib import suppress
from time import sleep, thread_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests import anything
from worker.gemini.schema import MAX_S, UncheckableError, mismatches

Json = dict[str, Any]

PERSON: Json = {
    "type": "OBJECT",
    "properties": {
        "name": {"type": "STRING", "minLength": "1"},
        "age": {"type": "INTEGER", "format": "int32", "minimum": "0", "nullable": True},
        "tags": {"type": "ARRAY", "items": {"type": "STRING", "enum": ["a", "b"]}, "maxItems": "2"},
    },
    "required": ["name"],
    "propertyOrdering": ["name", "age"],
}


@pytest.mark.parametrize(
    ("value", "places"),
    [
        ({"name": "Ada", "age": 36, "tags": ["a"]}, []),
        ({"name": "Ada", "age": None, "more": 1}, []),
        ({"age": 1}, ["the root: required"]),
        ({"name": "", "age": -1, "tags": ["c"]}, ["/name: minLength", "/age: minimum", "/tags/0: enum"]),
        ({"name": "Ada", "tags": ["a", "b", "a"]}, ["/tags: maxItems"]),
        ([1], ["the root: type"]),
        (None, ["the root: type"]),
    ],
)
def test_the_words_of_the_gemini_api_are_understood(value: Any, places: list[str]) -> None:
    assert mismatches(PERSON, value) == places


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": ["string", "null"]}, None, 1),
        ({"nullable": True, "anyOf": [{"type": "string"}]}, None, 1),
        ({"nullable": True, "type": "STRING", "enum": ["a"]}, None, "b"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, None, 1),
        ({"oneOf": [{"minimum": 1}, {"maximum": 3}]}, 5, 2),
        ({"pattern": "^[a-z]+$"}, "abc", "a1"),
        ({"uniqueItems": True}, [1, "1", {"a": 1}], [{"a": 1, "b": 2}, {"b": 2, "a": 1}]),
        ({"items": [{"type": "string"}]}, ["a", 1], [1]),
        ({"properties": {"type": {"type": "string"}}}, {"type": "x"}, {"type": 1}),
        ({"properties": {"a": False}}, {"b": 1}, {"a": 1}),
        ({"additionalProperties": False}, {}, {"a": 1}),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}, "x", 1),
        ({"$schema": "https://nowhere.example/", "$id": "https://nowhere.example/", "type": "string"}, "x", 1),
        ({"definitions": {"t": {"items": {"$ref": "#/definitions/t"}}}, "$ref": "#/definitions/t"}, [[[]]], None),
        ({"type": "TYPE_UNSPECIFIED", "minimum": 1}, "x", 0),
    ],
)
def test_json_schema_is_understood(schema: Json, good: Any, bad: Any) -> None:
    assert mismatches(schema, good) == []
    assert (mismatches(schema, bad) != []) or bad is None


def test_a_long_way_is_cut_short_and_shows_no_value() -> None:
    value: Any = "secret"
    for _ in range(50):
        value = {"key/with~signs": value}
    schema: Json = {"additionalProperties": {"$ref": "#"}, "type": "object"}

    (place,) = mismatches(schema, value)

    assert place.startswith("/key~1with~0signs/")
    assert len(place) < 220
    assert "secret" not in place


LAUGHS: Json = {
    "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(60)},
    "$ref": "#/$defs/d0",
}
LAUGHS["$defs"]["d60"] = {}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": r"^(a+)+$"}, "a" * 100_000 + "b"),
        ({"pattern": r"(\w{100}){100}"}, "x"),
        ({"pattern": r"(a)\1"}, "aa"),
        ({"pattern": "a" * 10_000_000}, "a"),
        ({"patternProperties": {r"^(a+)+$": {}}, "additionalProperties": False}, {"a" * 1000 + "b": 1}),
        ({"unevaluatedProperties": False, "patternProperties": {r"^(a+)+$": {}}}, {"a" * 1000 + "b": 1}),
        (LAUGHS, 1),
        ({"$ref": "#"}, 1),
        ({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}, 1),
        ({"$ref": "http://127.0.0.1:1/schema.json"}, 1),
        ({"$ref": "file:///etc/passwd"}, 1),
        ({"$dynamicRef": "#x"}, 1),
        ({"enum": list(range(1_000_000))}, -1),
        ({"anyOf": [False] * 300_000}, ["x" * 1000] * 10_000),
        ({"items": {"enum": list(range(10_000))}}, [-1] * 100_000),
        ({"uniqueItems": True}, [[n] for n in range(200_000)]),
        ({"items": {"items": {"items": {}}}}, [[[1]] * 1000] * 1000),
        ({"type": {}, "minimum": "x"}, 1),
        ({"properties": 5, "required": 7, "anyOf": {"a": 1}}, {"a": 1}),
        ({"multipleOf": 0}, 5),
        ({"multipleOf": 1e-300}, 1e300),
        ({"minItems": "NaN", "maximum": "1e999"}, [1]),
    ],
)  # fmt: skip
def test_a_hostile_schema_is_given_up_soon(schema: Json, value: Any) -> None:
    began = thread_time()

    with suppress(UncheckableError):
        mismatches(schema, value)

    assert thread_time() - began < 10


def test_a_process_that_stood_still_meanwhile_has_its_time_all_the_same() -> None:
    """Or a busy machine would decide whether an output is checked."""

    class Slow(dict[str, int]):
        def __getitem__(self, name: str) -> int:
            sleep(MAX_S + 0.1)
            return super().__getitem__(name)

    assert mismatches({"properties": {"a": {"type": "string"}}, "required": ["b"]}, Slow(a=1)) == [
        "/a: type",
        "the root: required",
    ]


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_a_deep_value_is_checked_and_a_deeper_one_given_up() -> None:
    assert mismatches({"items": {"$ref": "#"}}, nested(200)) == []
    with pytest.raises(UncheckableError, match="nested too deep"):
        mismatches({"items": {"$ref": "#"}}, nested(2000))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=6,
)
SCHEMAS = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array", "string", "integer", "null", ["string", "null"]]),
            "enum": st.lists(VALUES, min_size=1, max_size=3),
            "minimum": st.integers(-2, 2),
            "maxItems": st.integers(0, 2),
            "pattern": st.sampled_from(["a", "^b$"]),
            "uniqueItems": st.booleans(),
            "required": st.lists(st.sampled_from(["a", "b"]), unique=True),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "items": inner | st.booleans(),
            "anyOf": st.lists(inner | st.booleans(), min_size=1, max_size=3),
            "oneOf": st.lists(inner, min_size=1, max_size=3),
            "not": inner,
            "properties": st.dictionaries(st.sampled_from(["a", "b"]), inner | st.booleans(), max_size=2),
            "additionalProperties": inner | st.booleans(),
        },
    ),
    max_leaves=6,
)


@anything.examples(300)
@given(schema=SCHEMAS, value=VALUES)
def test_what_fits_is_what_the_library_says(schema: Json, value: Any) -> None:
    assert (mismatches(schema, value) == []) == Draft202012Validator(schema).is_valid(value)
