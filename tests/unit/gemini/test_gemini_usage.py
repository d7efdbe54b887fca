from typing import Any

import orjson
import pytest
from google.genai import interactions

from worker.gemini.usage import FIELDS, LIMIT, MAX_BYTES, MOST, Tokens, bounded, read_tokens, read_usage, total
from worker.store import usage as ledger

FULL = {
    "total_input_tokens": 100,
    "total_cached_tokens": 40,
    "total_output_tokens": 20,
    "total_thought_tokens": 7,
    "total_tool_use_tokens": 3,
    "total_tokens": 130,
}


def test_every_kind_that_the_api_reports_is_read() -> None:
    assert set(FIELDS.values()) == {name for name in interactions.Usage.model_fields if name.startswith("total_")}
    assert read_tokens(FULL) == Tokens(100, 40, 20, 7, 3, 130)
    assert Tokens._fields == ledger.TOKENS


@pytest.mark.parametrize("usage", [None, {}, [], "12", 12, {"total_tokens": None}, {"total_tokens": True}, {"a": 1}])
def test_what_tells_no_count_tells_nothing(usage: Any) -> None:
    assert read_tokens(usage) is None


@pytest.mark.parametrize(
    ("told", "read"),
    [
        (12.0, 12),
        ("12", 12),
        (-5, 0),
        (10**30, MOST),
        (1e300, MOST),
        (18_446_744_073_709_551_615, MOST),
        ("9" * 40, 0),
        ("twelve", 0),
        ([12], 0),
        ({"tokens": 12}, 0),
    ],
)
def test_an_odd_count_is_read_as_well_as_it_can_be(told: Any, read: int) -> None:
    found = read_tokens({"total_output_tokens": told, "total_input_tokens": 1, "total_tokens": 1})

    assert found is not None
    assert (found.output_tokens, found.input_tokens) == (read, 1)


def test_a_missing_total_is_that_of_its_parts() -> None:
    without = {name: value for name, value in FULL.items() if name != "total_tokens"}

    found = read_tokens(without)

    assert found is not None
    assert found.total_tokens == 100 + 20 + 7 + 3


def test_counts_of_several_interactions_add_up_by_field() -> None:
    before = {"total_tokens": 5, "by_modality": [1], "old": 1}
    now = {"total_tokens": 7, "by_modality": [2], "new": 2.5}

    assert total(before, now) == {"total_tokens": 12, "by_modality": [2], "old": 1, "new": 2.5}
    assert total(None, now) == now
    assert total(before, None) == before
    assert total(None, None) is None


def test_counts_in_lists_add_up_by_what_they_count() -> None:
    before = {"output_tokens_by_modality": [{"modality": "text", "tokens": 3}, {"modality": "image", "tokens": 258}]}
    now = {"output_tokens_by_modality": [{"modality": "text", "tokens": 4}, {"modality": "audio", "tokens": 9}]}
    searches = {"grounding_tool_count": [{"type": "google_search", "count": 2}]}

    assert total(before, now) == {
        "output_tokens_by_modality": [
            {"modality": "text", "tokens": 7},
            {"modality": "image", "tokens": 258},
            {"modality": "audio", "tokens": 9},
        ]
    }
    assert total(searches, searches) == {"grounding_tool_count": [{"type": "google_search", "count": 4}]}


def test_no_sum_leaves_64_bits() -> None:
    assert total({"total_tokens": LIMIT}, {"total_tokens": LIMIT}) == {"total_tokens": LIMIT}
    assert total({"total_tokens": 1.7e308}, {"total_tokens": 1.7e308}) == {"total_tokens": LIMIT}
    assert total({"total_tokens": "5"}, {"total_tokens": 5}) == {"total_tokens": 10}
    assert total({"total_tokens": True}, {"total_tokens": 5}) == {"total_tokens": 5}


def test_a_usage_too_large_for_a_row_keeps_its_counts() -> None:
    noise = {"noise": "x" * MAX_BYTES, "total_cached_tokens": {"not": "a count"}}

    assert bounded(FULL | {"more": 1}) == FULL | {"more": 1}
    assert bounded(FULL | noise) == {name: value for name, value in FULL.items() if name != "total_cached_tokens"}
    assert bounded([1]) is None


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"usage": 3}', b'{"usage": null}', b"{"])
def test_a_body_without_usage_tells_nothing(body: bytes) -> None:
    assert read_usage(body) is None


def test_the_usage_of_a_body_is_safe_to_store() -> None:
    deep: dict[str, Any] = {}
    for _ in range(230):
        deep = {"deeper": deep}
    body = orjson.dumps({"usage": FULL | {"odd": "a\x00b", "x\x00": deep}})

    found = read_usage(body)

    assert found is not None
    assert (found["odd"], found["total_tokens"]) == ("a b", 130)
    assert b"\\u0000" not in orjson.dumps(found)
