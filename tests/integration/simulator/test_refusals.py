"""Every create that the API refuses, with its status and code, and both shapes of error bodies."""

from typing import Any

import pytest
from google.genai import _interactions as errors

from tests.integration.simulator.conftest import Post, error_of
from worker.dev.simulator import SimulatorServer

MODEL, AGENT, SANDBOX = "gemini-3.8-flash", "deep-research-preview-04-2026", "antigravity-preview-09-2026"
FUNCTION = {"type": "function", "name": "look_up"}
JSON_FORMAT = {"type": "text", "mime_type": "application/json", "schema": {"type": "object"}}

INVALID: dict[str, dict[str, Any]] = {
    "no input": {"model": MODEL},
    "an empty input": {"model": MODEL, "input": ""},
    "an empty list": {"model": MODEL, "input": []},
    "an input of another kind": {"model": MODEL, "input": 3},
    "an unknown content": {"model": MODEL, "input": [{"type": "smell"}]},
    "a text without text": {"model": MODEL, "input": [{"type": "text"}]},
    "neither model nor agent": {"input": "x"},
    "both model and agent": {"model": MODEL, "agent": AGENT, "input": "x", "background": True},
    "a background that is no boolean": {"model": MODEL, "input": "x", "background": "yes"},
    "an agent in the foreground": {"agent": AGENT, "input": "x"},
    "an agent with generation_config": {"agent": AGENT, "input": "x", "background": True, "generation_config": {}},
    "a model with agent_config": {"model": MODEL, "input": "x", "agent_config": {"type": "dynamic"}},
    "an unknown agent_config": {"agent": AGENT, "input": "x", "background": True, "agent_config": {"type": "x"}},
    "research with system_instruction": {"agent": AGENT, "input": "x", "background": True, "system_instruction": "y"},
    "research with functions": {"agent": AGENT, "input": "x", "background": True, "tools": [FUNCTION]},
    "research with response_format": {"agent": AGENT, "input": "x", "background": True, "response_format": JSON_FORMAT},
    "no store in the background": {"model": MODEL, "input": "x", "background": True, "store": False},
    "no store in a chain": {"model": MODEL, "input": "x", "store": False, "previous_interaction_id": "v1_x"},
    "an upper case label": {"model": MODEL, "input": "x", "labels": {"Team": "a"}},
    "a label that starts with a digit": {"model": MODEL, "input": "x", "labels": {"1a": "a"}},
    "a long label": {"model": MODEL, "input": "x", "labels": {"a": "b" * 64}},
    "a label that is no text": {"model": MODEL, "input": "x", "labels": {"a": 1}},
    "an unknown service_tier": {"model": MODEL, "input": "x", "service_tier": "golden"},
    "an unknown tool": {"model": MODEL, "input": "x", "tools": [{"type": "hammer"}]},
    "a function without a name": {"model": MODEL, "input": "x", "tools": [{"type": "function"}]},
    "an unknown thinking_level": {"model": MODEL, "input": "x", "generation_config": {"thinking_level": "deep"}},
    "a token limit of zero": {"model": MODEL, "input": "x", "generation_config": {"max_output_tokens": 0}},
    "a schema without its mime type": {"model": MODEL, "input": "x", "response_format": {"type": "text", "schema": {}}},
    "webhook_config in the foreground": {"model": MODEL, "input": "x", "webhook_config": {"uris": []}},
    "an agent without its environment": {"agent": SANDBOX, "input": "x", "background": True},
    "an agent with response_format": {
        "agent": SANDBOX, "input": "x", "environment": "remote", "response_format": JSON_FORMAT,
    },
    "an agent with maps": {"agent": SANDBOX, "input": "x", "environment": "remote", "tools": [{"type": "google_maps"}]},
    "an agent with video": {
        "agent": SANDBOX, "environment": "remote", "input": [{"type": "video", "uri": "https://example.org/v.mp4"}],
    },
    "an MCP server with capitals": {
        "agent": SANDBOX, "input": "x", "environment": "remote", "tools": [{"type": "mcp_server", "name": "Tools"}],
    },
    "a continuation with input": {
        "model": MODEL, "input": "x", "continuation_token": "t", "previous_interaction_id": "v1_x",
    },
    "a continuation of nothing": {"model": MODEL, "continuation_token": "t"},
    "function results without a call": {
        "model": MODEL, "input": [{"type": "function_result", "call_id": "c", "result": "r"}],
    },
    "an unknown directive": {"model": MODEL, "input": "[[sim: duraton=3]]"},
    "a directive with a bad value": {"model": MODEL, "input": "[[sim: duration=long]]"},
    "a directive with an unknown fault": {"model": MODEL, "input": "[[sim: create=explode]]"},
}  # fmt: skip


@pytest.mark.parametrize("body", INVALID.values(), ids=INVALID.keys())
def test_a_create_that_is_not_valid_is_refused(sim: SimulatorServer, post: Post, body: dict[str, Any]) -> None:
    status, answer = post(body)

    assert (status, answer["error"]["code"]) == (400, "invalid_request")
    assert sim.control.stats()["created"] == 0


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"'])
def test_a_body_that_is_no_json_object_is_refused(post: Post, body: bytes) -> None:
    status, answer = post(body)

    assert (status, answer["error"]["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("place", ["top level", "generation_config"])
def test_an_unknown_parameter_is_named(post: Post, place: str) -> None:
    extra = {"temprature": 1} if place == "top level" else {"generation_config": {"temprature": 1}}

    status, answer = post({"model": MODEL, "input": "x", **extra})

    assert (status, answer["error"]["code"]) == (400, "parameter_unknown")
    assert "temprature" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("target", "version"),
    [
        ({"model": "gemini-9"}, "v1"),
        ({"model": "gemini-2.0-flash"}, "v1"),
        ({"model": "gemini-1.5-pro"}, "v1beta"),
        ({"model": "gemini-3-pro-image-preview"}, "v1"),
        ({"model": "gemini-flash-latest"}, "v1"),
        ({"agent": "antigravity-preview-05-2026", "environment": "remote"}, "v1"),
        ({"agent": "nobody", "background": True}, "v1"),
    ],
)
def test_an_unknown_or_retired_target_is_not_found(post: Post, target: dict[str, Any], version: str) -> None:
    status, answer = post({**target, "input": "x"}, version=version)

    assert (status, answer["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    "body",
    [
        {"model": MODEL, "input": "x", "labels": {"größe": "1-a_b", "empty": ""}},
        {"model": MODEL, "input": {"type": "text", "text": "x"}, "service_tier": "flex"},
        {"model": MODEL, "input": "x", "system_instruction": None},
        {"agent": "my-agent", "input": "x", "background": True},
        {"agent": SANDBOX, "input": "x", "background": True, "environment": {"type": "remote"}},
        {"model": MODEL, "input": [{"type": "user_input", "content": [{"type": "text", "text": "x"}]}]},
    ],
)
def test_what_the_api_takes_is_taken(post: Post, body: dict[str, Any]) -> None:
    status, _ = post({"background": True, **body})

    assert status == 200


def test_an_unknown_previous_interaction_is_not_found(interactions: Any) -> None:
    with pytest.raises(errors.NotFoundError):
        interactions.create(model=MODEL, input="x", previous_interaction_id="v1_nothing")


def test_a_wrong_continuation_token_is_refused(sim: SimulatorServer, interactions: Any) -> None:
    made = interactions.create(model=MODEL, input="[[sim: status=requires_continuation]]", background=True)
    sim.control.advance(1)

    with pytest.raises(errors.BadRequestError):
        interactions.create(model=MODEL, previous_interaction_id=made.id, continuation_token="wrong", background=True)


@pytest.mark.parametrize(("query", "status"), [("?fields=id", 400), ("?fields=*", 200), ("?last_event_id=e1", 400)])
def test_a_get_takes_no_field_mask_and_no_event_id_without_stream(
    post: Post, interactions: Any, query: str, status: int
) -> None:
    made = interactions.create(model=MODEL, input="x", background=True)

    assert post(b"", method="GET", path=f"/{made.id}{query}")[0] == status


@pytest.mark.parametrize("shape", ["interactions", "platform", "list"])
def test_the_sdk_reads_every_shape_of_an_error(sim: SimulatorServer, interactions: Any, shape: str) -> None:
    sim.control.fault("get", status=403, shape=shape)
    made = interactions.create(model=MODEL, input="x", background=True)

    with pytest.raises(errors.PermissionDeniedError) as caught:
        interactions.get(made.id)

    assert isinstance(caught.value.body, list) is (shape == "list")
    assert error_of(caught.value)["code"] == ("permission_denied" if shape == "interactions" else 403)
