"""Model runs: memory, function calls, structured output, media, limits, continuation."""

import wave
from base64 import b64decode
from io import BytesIO
from typing import Any

import orjson
import pytest
from google.genai import _interactions as errors
from jsonschema import Draft202012Validator

from tests.integration.simulator.conftest import error_of
from worker.dev.simulator import SimulatorServer

MODEL = "gemini-3.8-flash"

WEATHER = {
    "type": "function",
    "name": "get_current_temperature",
    "description": "Gets the current temperature for a given location.",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
}
CLOCK = {"type": "function", "name": "get_local_time", "parameters": {"type": "object", "properties": {}}}

RECIPE = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 12},
        "kind": {"enum": ["bread", "soup"]},
        "minutes": {"type": "integer", "minimum": 5, "maximum": 9, "multipleOf": 4},
        "price": {"type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 3},
        "steps": {"type": "array", "items": {"$ref": "#/$defs/step"}, "minItems": 3, "maxItems": 3},
        "note": {"type": ["string", "null"]},
        "best_before": {"type": "string", "format": "date"},
    },
    "required": ["name", "kind", "minutes", "price", "steps"],
    "additionalProperties": False,
    "$defs": {
        "step": {
            "type": "object",
            "properties": {
                "text": {"type": "string", "maxLength": 4},
                "then": {"anyOf": [{"$ref": "#/$defs/step"}, {"type": "null"}]},
            },
            "required": ["text", "then"],
        }
    },
}


def test_an_answer_remembers_earlier_turns(interactions: Any) -> None:
    first = interactions.create(model=MODEL, input="Hi, my name is Phil and I have 2 dogs in my house.")
    second = interactions.create(model=MODEL, input="Tell me about cats.", previous_interaction_id=first.id)

    third = interactions.create(model=MODEL, input="What is my name?", previous_interaction_id=second.id)
    fourth = interactions.create(model=MODEL, input="How many paws are in my house?", previous_interaction_id=third.id)

    assert third.output_text == "Your name is Phil."
    assert "I have 2 dogs" in fourth.output_text


def test_without_the_earlier_turn_there_is_no_memory(interactions: Any) -> None:
    interactions.create(model=MODEL, input="My name is Phil")

    assert "Phil" not in interactions.create(model=MODEL, input="What is my name?").output_text


def test_chaining_on_a_running_interaction_is_refused(interactions: Any) -> None:
    running = interactions.create(model=MODEL, input="Hello [[sim: duration=1000]]", background=True)

    with pytest.raises(errors.BadRequestError) as caught:
        interactions.create(model=MODEL, input="And?", background=True, previous_interaction_id=running.id)

    assert error_of(caught.value)["code"] == "failed_precondition"


def test_a_function_is_called_and_its_result_is_used(interactions: Any) -> None:
    asked = interactions.create(model=MODEL, input="What is the temperature in London?", tools=[WEATHER, CLOCK])
    (call,) = [step for step in asked.steps if step.type == "function_call"]

    answered = interactions.create(
        model=MODEL,
        input=[
            {
                "type": "function_result",
                "name": call.name,
                "call_id": call.id,
                "result": [{"type": "text", "text": "22 °C"}],
            }
        ],
        tools=[WEATHER, CLOCK],
        previous_interaction_id=asked.id,
    )

    assert (asked.status, call.name, call.arguments) == ("requires_action", WEATHER["name"], {"location": "London"})
    assert answered.status == "completed"
    assert "22 °C" in answered.output_text


def test_parallel_calls_are_all_owed_a_result(interactions: Any) -> None:
    asked = interactions.create(model=MODEL, input="Go [[sim: calls=2]]", tools=[WEATHER, CLOCK])
    calls = [step for step in asked.steps if step.type == "function_call"]
    results = [{"type": "function_result", "call_id": call.id, "result": {"ok": True}} for call in calls]

    with pytest.raises(errors.BadRequestError):
        interactions.create(model=MODEL, input=results[:1], previous_interaction_id=asked.id)
    answered = interactions.create(model=MODEL, input=results, previous_interaction_id=asked.id)

    assert [call.name for call in calls] == [WEATHER["name"], CLOCK["name"]]
    assert answered.status == "completed"


def test_a_result_for_an_unknown_call_is_refused(interactions: Any) -> None:
    asked = interactions.create(model=MODEL, input="What is the temperature in London?", tools=[WEATHER])
    foreign = [{"type": "function_result", "call_id": "call_of_another", "result": "1"}]

    with pytest.raises(errors.BadRequestError):
        interactions.create(model=MODEL, input=foreign, previous_interaction_id=asked.id)


@pytest.mark.parametrize(
    ("choice", "status"), [("any", "requires_action"), ("none", "completed"), ("auto", "completed")]
)
def test_the_tool_choice_is_obeyed(interactions: Any, choice: str, status: str) -> None:
    made = interactions.create(
        model=MODEL, input="Say hello", tools=[WEATHER], generation_config={"tool_choice": choice}
    )

    assert made.status == status


def test_structured_output_satisfies_its_schema(interactions: Any) -> None:
    made = interactions.create(
        model=MODEL,
        input="Give me a recipe for banana bread",
        response_format={"type": "text", "mime_type": "application/json", "schema": RECIPE},
    )

    value = orjson.loads(made.output_text)

    Draft202012Validator(RECIPE).validate(value)
    assert value["minutes"] == 8


def test_an_image_model_answers_with_an_image(interactions: Any) -> None:
    made = interactions.create(model="gemini-3.1-flash-image", input="A city at sunset")

    assert made.output_image.mime_type == "image/png"
    assert b64decode(made.output_image.data).startswith(b"\x89PNG")


def test_a_speech_model_answers_with_sound(interactions: Any) -> None:
    made = interactions.create(model="gemini-3.8-flash-tts", input="Say hello")

    with wave.open(BytesIO(b64decode(made.output_audio.data))) as sound:
        assert sound.getframerate() == made.output_audio.sample_rate


def test_a_video_model_answers_with_a_video(interactions: Any) -> None:
    made = interactions.create(model="gemini-omni-1.2-flash", input="Waves")

    assert b64decode(made.output_video.data)[4:8] == b"ftyp"


def test_a_small_token_limit_makes_the_answer_incomplete(interactions: Any) -> None:
    made = interactions.create(model=MODEL, input="Explain photosynthesis", generation_config={"max_output_tokens": 5})

    assert made.status == "incomplete"
    assert len(made.output_text) == 20
    assert made.usage.total_output_tokens == 5


def test_the_sdk_goes_on_by_itself_where_a_continuation_is_required(sim: SimulatorServer, interactions: Any) -> None:
    prompt = 'Go [[sim: status=requires_continuation text="one two three four"]]'

    made = interactions.create(model=MODEL, input=prompt)

    assert made.status == "completed"
    assert made.output_text == "one two three four"
    assert len(made.continuation_ids) == 2
    assert len(sim.control.interactions()) == 2


def test_a_background_continuation_is_left_to_the_client(sim: SimulatorServer, interactions: Any) -> None:
    made = interactions.create(
        model=MODEL, input='Go [[sim: status=requires_continuation text="one two"]]', background=True
    )
    sim.control.advance(1)
    half = interactions.get(made.id)

    rest = interactions.create(
        model=MODEL, previous_interaction_id=made.id, continuation_token=half.continuation_token, background=True
    )
    sim.control.advance(1)

    assert half.status == "requires_continuation"
    assert half.output_text + interactions.get(rest.id).output_text == "one two"


def test_a_grounded_answer_shows_its_search_and_its_source(interactions: Any) -> None:
    made = interactions.create(model=MODEL, input="Who won the cup?", tools=[{"type": "google_search"}])

    assert [step.type for step in made.steps][1:3] == ["google_search_call", "google_search_result"]
    assert made.steps[-1].content[0].annotations[0].url.startswith("https://")


def test_media_in_the_input_is_accepted_and_counted(interactions: Any) -> None:
    picture = {"type": "image", "data": "aGVsbG8=", "mime_type": "image/png"}

    made = interactions.create(model=MODEL, input=[{"type": "text", "text": "What is this?"}, picture])

    assert made.status == "completed"
    assert made.usage.total_input_tokens > 258


PLAYED: list[dict[str, Any]] = [
    {"type": "code_execution"},
    {"type": "url_context"},
    {"type": "file_search", "file_search_store_names": ["fileSearchStores/a"]},
    {"type": "google_maps"},
    {"type": "mcp_server", "name": "books", "url": "https://example.com/mcp"},
    {"type": "retrieval", "retrieval_types": ["rag_store"]},
    {"type": "tool_search"},
]


def test_every_tool_leaves_a_signed_call_and_its_result(interactions: Any) -> None:
    made = interactions.create(model=MODEL, input="Which owls hunt by day?", tools=PLAYED)

    steps = [step.model_dump() for step in made.steps[1:-1]]
    calls, results = steps[::2], steps[1::2]
    kinds = [step["type"].removesuffix("_call") for step in calls]
    assert kinds == [tool["type"].replace("mcp_server", "mcp_server_tool") for tool in PLAYED]
    assert [f"{kind}_result" for kind in kinds] == [step["type"] for step in results]
    assert [step["id"] for step in calls] == [step["call_id"] for step in results]
    assert all(step["signature"] and step["x_newer"]["kept"] for step in steps)


def test_the_steps_of_tools_are_streamed_like_others(interactions: Any) -> None:
    events = list(interactions.create(model=MODEL, input="Which owls hunt by day?", tools=PLAYED, stream=True))

    begun = [event.step.type for event in events if event.event_type == "step.start"]
    assert begun[1:3] == ["code_execution_call", "code_execution_result"]
    assert len(begun) == 2 + 2 * len(PLAYED)


def test_a_computer_is_used_by_calling_its_functions(interactions: Any) -> None:
    made = interactions.create(model=MODEL, input="Open the browser.", tools=[{"type": "computer_use"}])

    assert (made.status, made.steps[-1].name) == ("requires_action", "open_web_browser")
