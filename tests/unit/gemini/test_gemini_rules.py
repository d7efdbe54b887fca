"""What is refused before it is spent: media, settings, schemas, tools, and what each family of agents does not take."""

from time import process_time
from typing import Any

import pytest

from tests.unit.gemini.requests import ANTIGRAVITY, MODEL, RESEARCH, faults_of, pointers_of
from worker.gemini.agents import prepended

GOOD: list[dict[str, Any]] = [
    {
        "agent": "code-mender-1",
        "input": "x",
        "agent_config": {"type": "code-mender", "session_config": {"max_rounds": 2}},
    },
    MODEL
    | {
        "input": [
            {"type": "image", "data": "aGVsbG8=", "mime_type": "image/png", "resolution": "high"},
            {"type": "audio", "data": "aGVs bG8\r\n", "mime_type": "audio/wav", "sample_rate": 8000, "channels": 1},
            {"type": "document", "data": "-_8", "mime_type": "application/pdf"},
            {"type": "video", "uri": "https://www.youtube.com/watch?v=x"},
        ]
    },
    MODEL
    | {
        "generation_config": {
            "tool_choice": {"allowed_tools": {"mode": "any", "tools": ["f"]}},
            "thinking_summaries": "none",
            "speech_config": [{"voice": "Kore", "speaker": "A"}],
            "transcription_config": {"language_codes": ["de"], "mode": {"type": "verbatim"}},
            "video_config": {"task": "extend"},
            "image_config": {"aspect_ratio": "1:1"},
            "top_p": 0.5,
            "max_output_tokens": 1,
        }
    },
    MODEL
    | {
        "response_format": [
            {"type": "image", "aspect_ratio": "16:9", "image_size": "2K", "delivery": "uri"},
            {"type": "audio", "mime_type": "audio/mp3"},
            {"type": "video", "duration": "8s"},
            {"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "x-newer": 1},
            {"anyOf": [{"type": "string"}, {"enum": [1, None]}]},
            {
                "type": "text",
                "mime_type": "application/json",
                "schema": {
                    "type": "object",
                    "properties": {
                        "type": {"type": "STRING"},
                        "items": {"type": "array", "items": {"$ref": "#/$defs/a~1b"}},
                    },
                    "required": ["type"],
                    "additionalProperties": False,
                    "$defs": {"a/b": True},
                },
            },
        ]
    },
    MODEL
    | {
        "tools": [
            {"type": "function", "name": "ns:f.1-x", "parameters": {"type": "OBJECT"}},
            {"type": "function", "name": "g"},
        ]
    },
]


@pytest.mark.parametrize("number", range(len(GOOD)))
def test_what_the_api_takes_is_accepted(number: int) -> None:
    assert faults_of(GOOD[number]) == []


BAD: list[tuple[dict[str, Any], list[str]]] = [
    (MODEL | {"labels": {f"a{number}": "x" for number in range(65)}}, ["/labels"]),
    (MODEL | {"input": [{"type": "image"}]}, ["/input/0"]),
    (MODEL | {"input": {"type": "image", "uri": "", "mime_type": "image/png"}}, ["/input"]),
    (MODEL | {"input": [{"type": "image", "data": "aGVsbG8="}]}, ["/input/0/mime_type"]),
    (MODEL | {"input": [{"type": "image", "data": "aGVs*G8=", "mime_type": "image/png"}]}, ["/input/0/data"]),
    (MODEL | {"input": [{"type": "audio", "data": "größe", "mime_type": "audio/wav"}]}, ["/input/0/data"]),
    (MODEL | {"input": [{"type": "video", "data": "aGVsb", "mime_type": "video/mp4"}]}, ["/input/0/data"]),
    (
        MODEL | {"input": [{"type": "image", "data": "data:image/png;base64,aGVs", "mime_type": "image/png"}]},
        ["/input/0/data"],
    ),
    (
        MODEL | {"input": [{"type": "user_input", "content": [{"type": "document", "data": "?"}]}]},
        ["/input/0/content/0/data", "/input/0/content/0/mime_type"],
    ),
    (
        MODEL | {"input": [{"type": "function_result", "call_id": "c", "result": [{"type": "image"}]}]},
        ["/input/0/result/0"],
    ),
    (
        MODEL
        | {
            "generation_config": {
                "thinkingLevel": "low",
                "maxOutputTokens": 5,
                "temprature": 1,
                "thinking_level": "extreme",
                "thinking_summaries": "yes",
                "tool_choice": "always",
                "max_output_tokens": 0,
            }
        },
        [
            "/generation_config/thinkingLevel",
            "/generation_config/maxOutputTokens",
            "/generation_config/temprature",
            "/generation_config/thinking_level",
            "/generation_config/thinking_summaries",
            "/generation_config/tool_choice",
            "/generation_config/max_output_tokens",
        ],
    ),
    (
        MODEL | {"generation_config": {"tool_choice": {"allowed_tools": {"mode": "sometimes"}}}},
        ["/generation_config/tool_choice/allowed_tools/mode"],
    ),
    (MODEL | {"response_format": {"type": "prose"}}, ["/response_format/type"]),
    (MODEL | {"response_format": {"type": "image", "schema": {}}}, ["/response_format/schema"]),
    (MODEL | {"response_format": {"type": "text", "schema": {"type": "object"}}}, ["/response_format/mime_type"]),
    (
        MODEL
        | {
            "response_format": [
                {"type": "text", "mime_type": "application/json", "schema": {"properties": ["a"], "type": "dict"}},
                {"type": "object", "properties": {"a": 5, "b": {"enum": []}, "c": {"required": "x", "anyOf": []}}},
                {"type": "array", "items": {"$ref": "#/$defs/nowhere"}},
            ]
        },
        [
            "/response_format/0/schema/type",
            "/response_format/0/schema/properties",
            "/response_format/1/properties/c/required",
            "/response_format/1/properties/c/anyOf",
            "/response_format/1/properties/b/enum",
            "/response_format/1/properties/a",
            "/response_format/2/items/$ref",
        ],
    ),
    (
        MODEL
        | {
            "tools": [
                {"type": "function"},
                {"type": "function", "name": "two words"},
                {
                    "type": "function",
                    "name": "f",
                    "parameters": {"type": "object", "properties": {"a": {"type": "int"}}},
                },
                {"type": "function", "name": "f", "parameters": "none"},
            ]
        },
        [
            "/tools/0/name",
            "/tools/1/name",
            "/tools/2/parameters/properties/a/type",
            "/tools/3/name",
            "/tools/3/parameters",
        ],
    ),
    (
        MODEL | {"tools": [{"type": "mcp_server", "name": "m"}, {"type": "mcp_server", "name": "m", "url": "stdio:x"}]},
        ["/tools/0/url", "/tools/1/url"],
    ),
    (MODEL | {"environment": " "}, ["/environment"]),
    (
        RESEARCH | {"tools": [{"type": kind} for kind in ("computer_use", "google_maps", "retrieval", "tool_search")]},
        ["/tools/0", "/tools/1", "/tools/2", "/tools/3"],
    ),
    (
        ANTIGRAVITY | {"agent_config": {"type": "antigravity", "temperature": 1, "max_output_tokens": 5}},
        ["/agent_config/temperature", "/agent_config/max_output_tokens"],
    ),
    ({"agent": "code-mender-1", "input": "x", "agent_config": {"type": "antigravity"}}, ["/agent_config/type"]),
    (MODEL | {"extra_body": {"previousInteractionId": "x", "store_": 1}}, ["/extra_body/previousInteractionId"]),
    (ANTIGRAVITY | {"environment": {"type": "remote", "environmentId": "x"}}, ["/environment/environmentId"]),
]


@pytest.mark.parametrize("number", range(len(BAD)))
def test_what_the_api_refuses_is_refused_with_one_fault_for_each_problem(number: int) -> None:
    fields, pointers = BAD[number]

    assert pointers_of(fields) == pointers


def test_the_way_out_is_told_and_no_value() -> None:
    secret = "what nobody may read"
    fields = RESEARCH | {
        "input": [{"type": "image", "data": f"data:image/png;base64,{secret}"}],
        "system_instruction": secret,
        "tools": [
            {"type": "function", "name": secret},
            {"type": "mcp_server", "url": secret, "headers": {"a": secret}},
        ],
        "response_format": {"type": secret},
        "environment": {"type": secret, "env": {"TOKEN": secret}},
    }

    told = " ".join(fault.detail for fault in faults_of(fields))

    assert secret not in told
    assert all(words in told for words in ("prepend_system_instruction", "without the 'data:", "an mcp_server works"))


def test_large_media_are_judged_at_once() -> None:
    data = "abcd" * (5 * 1024 * 1024)

    started = process_time()
    faults = faults_of(MODEL | {"input": [{"type": "video", "data": data, "mime_type": "video/mp4"}]})

    assert faults == []
    assert process_time() - started < 2


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("Owls?", "Be brief.\n\nOwls?"),
        ({"type": "text", "text": "Owls?"}, [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Owls?"}]),
        ([{"type": "image", "uri": "x"}], [{"type": "text", "text": "Be brief."}, {"type": "image", "uri": "x"}]),
        (
            [{"type": "user_input", "content": []}],
            [
                {"type": "user_input", "content": [{"type": "text", "text": "Be brief."}]},
                {"type": "user_input", "content": []},
            ],
        ),
    ],
)
def test_a_system_instruction_can_be_put_before_the_input_of_deep_research(given: Any, wanted: Any) -> None:
    made = prepended(RESEARCH | {"input": given, "system_instruction": "Be brief."})

    assert made == RESEARCH | {"input": wanted}
    assert faults_of(made) == []


@pytest.mark.parametrize(
    "fields", [MODEL | {"system_instruction": "x"}, RESEARCH, RESEARCH | {"system_instruction": 5}, {"agent": 5}]
)
def test_nothing_is_put_there_where_it_need_not_or_cannot_be(fields: dict[str, Any]) -> None:
    assert prepended(fields) is None
