"""What is read of an interaction that has ended: output, JSON, function calls, and limits."""

from typing import Any

import orjson
import pytest

from tests.unit.gemini.outcomes import DATA, MAX, Json, call, picture, read, says, text
from worker.errors import ResultTooLarge
from worker.gemini.result import FunctionCall, UnreadableBodyError, read_outcome

MISMATCH = "does not match the schema that was asked for at"


def test_a_finished_interaction_is_read() -> None:
    outcome = read(
        {
            "id": "v1_a",
            "status": "completed",
            "steps": [says(text("hello"))],
            "usage": {"total_tokens": 5},
            "environment_id": "env",
            "continuation_token": "token",
            "unheard_of": {"kept": None},
        }
    )

    assert (outcome.status, outcome.output_text, outcome.usage) == ("completed", "hello", {"total_tokens": 5})
    assert (outcome.environment_id, outcome.continuation_token) == ("env", "token")
    assert outcome.raw["unheard_of"] == {"kept": None}
    assert outcome.has_output
    assert outcome.notes == ()


def test_what_a_function_is_called_with_is_left_alone() -> None:
    call = {"type": "function_call", "id": "c", "name": "show", "arguments": {"picture": picture()}}

    outcome = read({"steps": [call]})

    assert outcome.media == ()
    assert outcome.function_calls == (FunctionCall("c", "show", {"picture": picture()}),)


@pytest.mark.parametrize(
    "steps", [[], None, [{"type": "thought"}], [says()], [says(text(" "))], [{"type": "google_search_result"}], "x", {}]
)
def test_thoughts_and_tool_results_are_no_output(steps: Any) -> None:
    assert not read({"status": "completed", "steps": steps}).has_output


def test_the_older_schema_is_read_too() -> None:
    outcome = read({"model": "lyria-3-pro-preview", "outputs": [text("a song"), {"type": "audio", "data": DATA}]})

    assert outcome.output_text == "a song\n\n[audio](artifact:0)"
    assert [media.kind for media in outcome.media] == ["audio"]


@pytest.mark.parametrize(
    ("steps", "parsed"),
    [
        ([says(text('{"a": '), text("[1]}"))], {"a": [1]}),
        ([says(text("Let me think.")), {"type": "google_search_call"}, says(text('{"a": 1}'))], {"a": 1}),
        ([says(text('{"a": 1}'), picture())], {"a": 1}),
        ([says(text('"x\\u0000y"'))], "x y"),
        ([says(text('```json\n{"a": 1}\n```'))], None),
        ([says(text('{"a": NaN}'))], None),
        ([], None),
    ],
)
def test_json_is_parsed_where_it_was_asked_for(steps: list[Json], parsed: Any) -> None:
    assert read({"steps": steps}, wants_json=True).output_json == parsed
    assert read({"steps": steps}).output_json is None


@pytest.mark.parametrize(
    ("words", "schemas", "notes"),
    [
        ('{"a": 1}', [{"type": "OBJECT", "required": ["a"]}], []),
        ('{"a": "x"}', [{"properties": {"a": {"type": "integer"}}}], [f"{MISMATCH} /a: type"]),
        ('{"a": 1}', [{"type": "string"}, {"type": "object"}], []),
        ('{"a": 1}', [{"type": "string"}, {"type": "array"}], [f"{MISMATCH} the root: type"]),
        ('{"a": 1}', [{"$ref": "https://nowhere.example/"}], ["was not checked against its schema: "]),
        ("Sorry, no.", [{"type": "string"}], ["is null: "]),
        ("null", [{"nullable": True}], []),
    ],
)  # fmt: skip
def test_json_is_held_against_the_schema_that_was_asked_for(words: str, schemas: list[Json], notes: list[str]) -> None:
    body = orjson.dumps({"status": "completed", "steps": [says(text(words))]})

    outcome = read_outcome(body, max_bytes=MAX, wants_json=True, schemas=schemas)

    assert len(outcome.notes) == len(notes)
    assert all(note.startswith(f"output_json {told}") for note, told in zip(outcome.notes, notes, strict=True))
    assert outcome.output_json == (None if words == "Sorry, no." else orjson.loads(words))


def test_function_calls_without_a_result_are_open() -> None:
    answered = {"type": "function_result", "call_id": "c1", "result": "x"}

    outcome = read({"steps": [call("c1"), call("c2"), answered, call("c2"), call("c3", arguments=None), call("")]})

    assert outcome.function_calls == (FunctionCall("c2", "f", {}), FunctionCall("c3", "f", None))


def test_an_id_that_comes_again_after_its_result_is_open_again() -> None:
    answered = {"type": "function_result", "call_id": "c1", "result": "x"}

    outcome = read({"steps": [answered, call("c1", arguments={"turn": 2})]})

    assert outcome.function_calls == (FunctionCall("c1", "f", {"turn": 2}),)


def test_a_tool_search_that_nobody_has_answered_is_the_clients() -> None:
    search = {"type": "tool_search_call", "id": "s1", "arguments": {"function_names": ["f"]}}
    answered = {"type": "tool_search_result", "call_id": "s2", "result": []}

    outcome = read({"steps": [search, search | {"id": "s2"}, answered]})

    assert outcome.function_calls == (FunctionCall("s1", "tool_search", {"function_names": ["f"]}),)


def test_a_result_over_the_limit_without_its_media_is_too_large() -> None:
    big = {"steps": [says(text("x" * 2000))]}

    with pytest.raises(ResultTooLarge):
        read(big, max_bytes=2000)
    with pytest.raises(ResultTooLarge):
        read_outcome(big, max_bytes=2000)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"a": ', b"\xff"])
def test_what_is_no_json_object_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableBodyError):
        read_outcome(body, max_bytes=MAX)


def test_nul_characters_become_spaces_and_offsets_stay() -> None:
    cited = {"type": "url_citation", "url": "u", "start_index": 3, "end_index": 4}
    body = {"k\0y": ["\0"], "steps": [says({**text("é\0bc"), "annotations": [cited]})]}

    outcome = read(body)

    assert outcome.output_text == "é bc"
    assert outcome.raw["k y"] == [" "]
    assert outcome.output_text[outcome.citations[0].start_index : outcome.citations[0].end_index] == "b"
    assert b"\\u0000" not in orjson.dumps(outcome.raw)


def test_json_nested_beyond_use_is_cut_and_noted() -> None:
    body = b'{"status": "completed", "deep": ' + b'{"a":[' * 400 + b"]}" * 400 + b"}"

    outcome = read_outcome(body, max_bytes=MAX)

    assert len(outcome.notes) == 1
    assert len(orjson.dumps(outcome.raw)) < len(body)


def test_an_outcome_shows_nothing_of_the_work_in_logs() -> None:
    outcome = read({"status": "completed", "steps": [says(text("secret")), call("c", arguments={"x": "secret"})]})

    assert "secret" not in repr(outcome)
