import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.gemini.requests import ANTIGRAVITY, MODEL, RESEARCH, faults_of, pointers_of
from worker import gemini
from worker.errors import Invalid
from worker.gemini.request import build, schemas_of, wants_json

SECRET = "a secret of the caller"

GOOD: list[dict[str, Any]] = [
    MODEL,
    RESEARCH,
    ANTIGRAVITY,
    MODEL | {"input": {"type": "text", "text": "x"}},
    MODEL | {"input": [{"type": "text", "text": "x", "newer": None}, {"type": "image", "uri": "gs://x"}]},
    MODEL | {"input": [{"type": "user_input", "content": [{"type": "text", "text": "x"}]}]},
    MODEL
    | {
        "previous_interaction_id": "v1_a",
        "input": [
            {"type": "function_result", "call_id": "c1", "result": {"type": "anything", "rows": [1]}},
            {"type": "function_result", "call_id": "c2", "result": "text"},
            {"type": "function_result", "call_id": "c3", "result": [{"type": "text", "text": "x"}], "is_error": True},
        ],
    },
    MODEL
    | {
        "system_instruction": "be brief",
        "tools": [
            {"type": "google_search"},
            {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}},
            {"type": "mcp_server", "name": "M", "url": "https://example.org"},
        ],
        "generation_config": {"temperature": 1, "thinking_level": "xhigh", "brand_new": 1, "stop_sequences": ["x"]},
        "response_format": {"type": "text", "mime_type": "application/json", "schema": {"type": "object"}},
        "safety_settings": [{"type": "harassment", "threshold": "off"}],
        "service_tier": "flex",
        "labels": {"team": "a-b_1", "größe": "日本", "x": ""},
        "background": True,
        "store": True,
        "stream": False,
        "tools_or": None,
        "agent": None,
    },
    MODEL | {"extra_body": {"cached_content": "x", "deeper": {"model": "y"}}},
    {"model": "m", "extra_body": {"continuation_token": "t"}, "previous_interaction_id": "v1_a"},
    RESEARCH
    | {
        "agent_config": {"type": "deep-research", "collaborative_planning": True, "thinking_summaries": "auto"},
        "tools": [{"type": "google_search"}, {"type": "mcp_server", "name": "m", "url": "https://example.org"}],
    },
    ANTIGRAVITY | {"agent_config": {"type": "antigravity", "max_total_tokens": 5}, "system_instruction": "x"},
    ANTIGRAVITY | {"input": [{"type": "image", "uri": "x"}, {"type": "text", "text": "x"}]},
    {
        "agent": "my-own",
        "input": "x",
        "tools": [{"type": "function", "name": "f"}],
        "agent_config": {"type": "dynamic"},
    },
]


@pytest.mark.parametrize("number", range(len(GOOD)))
def test_what_the_api_takes_is_accepted(number: int) -> None:
    assert faults_of(GOOD[number]) == []


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["/model", "/input"]),
    (MODEL | {"agent": "x"}, ["/agent"]),
    (MODEL | {"model": ""}, ["/model"]),
    (MODEL | {"model": "two words"}, ["/model"]),
    (MODEL | {"model": 5}, ["/model"]),
    ({"model": "m"}, ["/input"]),
    (MODEL | {"input": ""}, ["/input"]),
    (MODEL | {"input": []}, ["/input"]),
    (MODEL | {"input": 5}, ["/input"]),
    (MODEL | {"input": [5]}, ["/input/0"]),
    (MODEL | {"input": [{"text": "x"}]}, ["/input/0/type"]),
    (MODEL | {"input": [{"type": "hologram"}]}, ["/input/0/type"]),
    (MODEL | {"input": [{"type": ["text"]}]}, ["/input/0/type"]),
    (MODEL | {"environment": {"type": "remote", "sources": [{"type": ["x"]}]}}, ["/environment/sources/0/type"]),
    (MODEL | {"input": [{"type": "text"}]}, ["/input/0/text"]),
    (MODEL | {"input": {"type": "user_input", "content": []}}, ["/input/type"]),
    (MODEL | {"input": [{"type": "text", "text": "x"}, {"type": "user_input", "content": []}]}, ["/input"]),
    (
        MODEL | {"input": [{"type": "user_input", "content": [{"type": "smell"}, {"type": "text", "text": 4}]}]},
        ["/input/0/content/0/type", "/input/0/content/1/text"],
    ),
    (MODEL | {"input": [{"type": "function_result", "result": "x"}]}, ["/input/0/call_id"]),
    (
        MODEL | {"input": [{"type": "function_result", "call_id": "c", "result": [{"type": "row"}]}]},
        ["/input/0/result/0/type"],
    ),
    (MODEL | {"tools": {"type": "google_search"}}, ["/tools"]),
    (
        MODEL | {"tools": [{"type": "teleport"}, {"name": "f"}, {"type": "function", "name": 3}, "search"]},
        ["/tools/0/type", "/tools/1/type", "/tools/3", "/tools/2/name"],
    ),
    (
        MODEL | {"generation_config": {"temperature": "hot", "seed": 1.5, "tool_choice": {"allowed_tools": 3}}},
        [
            "/generation_config/seed",
            "/generation_config/temperature",
            "/generation_config/tool_choice/allowed_tools",
        ],
    ),
    (MODEL | {"response_format": [{"type": "text"}, 5]}, ["/response_format/1"]),
    (MODEL | {"environment": {"type": "local"}}, ["/environment/type"]),
    (MODEL | {"safety_settings": [{"type": "x"}]}, ["/safety_settings/0/threshold"]),
    (MODEL | {"system_instruction": ["x"]}, ["/system_instruction"]),
    (MODEL | {"service_tier": "gold"}, ["/service_tier"]),
    (MODEL | {"labels": {"Team": "a"}}, ["/labels/Team"]),
    (MODEL | {"labels": {"1st": "a"}}, ["/labels/1st"]),
    (MODEL | {"labels": {"": "a"}}, ["/labels/"]),
    (MODEL | {"labels": {"a/b": "x"}}, ["/labels/a~1b"]),
    (MODEL | {"labels": {"x" * 64: "a"}}, ["/labels/" + "x" * 64]),
    (MODEL | {"labels": {"a": "B"}}, ["/labels/a"]),
    (MODEL | {"labels": {"a": "b" * 64}}, ["/labels/a"]),
    (MODEL | {"labels": {"a": 5}}, ["/labels/a"]),
    (MODEL | {"labels": ["a"]}, ["/labels"]),
    (MODEL | {"previous_interaction_id": ""}, ["/previous_interaction_id"]),
    (MODEL | {"previous_interaction_id": 5}, ["/previous_interaction_id"]),
    (MODEL | {"background": False}, ["/background"]),
    (MODEL | {"store": False}, ["/store"]),
    (MODEL | {"stream": True}, ["/stream"]),
    (MODEL | {"webhook_config": {"uris": ["https://example.org"]}}, ["/webhook_config"]),
    (MODEL | {"cached_content": "x", "a b": 1}, ["/a b", "/cached_content"]),
    (MODEL | {"extra_body": [1]}, ["/extra_body"]),
    (MODEL | {"extra_body": {"model": "x", "store": True, "ok": 1}}, ["/extra_body/model", "/extra_body/store"]),
    (MODEL | {"extra_body": {"a": "é" * 33_000}}, ["/extra_body"]),
    (MODEL | {"response_format": deep(101)}, ["/response_format"]),
    (MODEL | {"extra_body": deep(100_000)}, ["/extra_body"]),
    (MODEL | {"input": [{"type": "text"}] * 20_001}, ["/input"]),
    (MODEL | {"input": [{"type": "user_input", "content": [{"type": "text"}] * 20_001}]}, ["/input"]),
    (MODEL | {"agent_config": {"type": "dynamic"}}, ["/agent_config"]),
    (RESEARCH | {"generation_config": {"seed": 1}}, ["/generation_config"]),
    (RESEARCH | {"system_instruction": "x"}, ["/system_instruction"]),
    (RESEARCH | {"response_format": {"type": "text"}}, ["/response_format"]),
    (RESEARCH | {"tools": [{"type": "google_search"}, {"type": "function", "name": "f"}]}, ["/tools/1"]),
    (RESEARCH | {"agent_config": {"type": "antigravity"}}, ["/agent_config/type"]),
    (RESEARCH | {"agent_config": {"type": "unheard-of"}}, ["/agent_config/type"]),
    (RESEARCH | {"agent_config": {}}, ["/agent_config"]),
    (
        RESEARCH | {"agent_config": {"type": "deep-research", "collaborative_planning": "maybe", "visualization": 3}},
        ["/agent_config/collaborative_planning", "/agent_config/visualization"],
    ),
    ({"agent": "antigravity-preview-09-2026", "input": "x"}, ["/environment"]),
    (ANTIGRAVITY | {"response_format": {"type": "text"}}, ["/response_format"]),
    (
        ANTIGRAVITY | {"tools": [{"type": t} for t in ("file_search", "computer_use", "google_maps", "url_context")]},
        ["/tools/0", "/tools/1", "/tools/2"],
    ),
    (ANTIGRAVITY | {"tools": [{"type": "mcp_server", "name": "Mixed", "url": "https://x"}]}, ["/tools/0/name"]),
    (
        ANTIGRAVITY
        | {
            "input": [{"type": "user_input", "content": [{"type": "text", "text": "x"}, {"type": "video", "uri": "x"}]}]
        },
        ["/input/0/content/1"],
    ),
]


@pytest.mark.parametrize("number", range(len(BAD)))
def test_what_the_api_refuses_is_refused_with_one_fault_for_each_problem(number: int) -> None:
    fields, pointers = BAD[number]

    assert pointers_of(fields) == pointers


def test_no_fault_echoes_a_value() -> None:
    fields = {
        name: {SECRET: SECRET} for name in ("model", "input", "system_instruction", "environment", "service_tier")
    }
    fields |= {"tools": [{"type": SECRET}], "generation_config": {"seed": SECRET}, "labels": {"a": SECRET}}  # type: ignore[dict-item]

    faults = faults_of(fields)

    assert len(faults) >= 7
    assert SECRET not in repr(faults)


@pytest.mark.parametrize("detail", ["must be a whole number", "is required", "must be 'remote'"])
def test_faults_are_told_in_plain_words(detail: str) -> None:
    fields = MODEL | {
        "generation_config": {"seed": "x"},
        "safety_settings": [{"type": "x"}],
        "environment": {"type": "local"},
    }

    assert detail in [fault.detail for fault in faults_of(fields)]


def test_a_build_drops_nulls_and_the_stream_flag_at_the_top_and_shows_no_prompt() -> None:
    request = build({"agent": "a", "model": None, "input": SECRET, "stream": False, "background": None})

    assert request.payload == {"agent": "a", "input": SECRET, "background": True, "store": True}
    assert SECRET not in repr(request)


def test_a_build_takes_what_the_engine_adds() -> None:
    request = build({"model": "m", "continuation_token": "t", "webhook_config": {"uris": ["https://x"]}})

    assert request.payload["continuation_token"] == "t"
    assert request.payload["webhook_config"] == {"uris": ["https://x"]}


def test_a_build_without_a_target_is_refused() -> None:
    with pytest.raises(Invalid):
        build({"input": "x"})


@pytest.mark.parametrize(
    ("formats", "wanted"),
    [
        (None, False),
        ({"type": "text"}, False),
        ({"type": "text", "mime_type": "text/plain"}, False),
        ({"type": "text", "mime_type": "application/json"}, True),
        ({"type": "text", "schema": {}}, True),
        ({"type": "object", "properties": {}}, True),
        ({"type": "image"}, False),
        ([{"type": "image"}, {"type": "text", "schema": {"type": "object"}}], True),
        ([], False),
        ({}, False),
    ],
)
def test_json_is_wanted_where_the_response_format_says_so(formats: Any, *, wanted: bool) -> None:
    assert wants_json({"response_format": formats}) is wanted


@pytest.mark.parametrize(
    ("formats", "schemas"),
    [
        (None, []),
        ({"type": "text", "mime_type": "application/json"}, []),
        ({"type": "text", "mime_type": "application/json", "schema": {"type": "object"}}, [{"type": "object"}]),
        ([{"type": "image"}, {"type": "text", "schema": {"type": "STRING"}}], [{"type": "STRING"}]),
        ({"type": "object", "properties": {}}, [{"type": "object", "properties": {}}]),
        ({"type": "text", "schema": "x"}, []),
        ("json", []),
    ],
)
def test_the_schemas_that_are_asked_for_are_found(formats: Any, schemas: list[Any]) -> None:
    assert schemas_of({"response_format": formats}) == schemas


def test_importing_the_package_does_not_import_the_sdk() -> None:
    names = [path.stem for path in Path(gemini.__file__).parent.glob("*.py") if path.stem != "__init__"]
    imports = "; ".join(f"import worker.gemini.{name}" for name in names)

    script = f"import sys; {imports}; sys.exit('google.genai' in sys.modules or 'httpx2' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
