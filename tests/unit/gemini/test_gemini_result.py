from base64 import b64encode, urlsafe_b64encode
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import anything
from worker.errors import ResultTooLarge
from worker.gemini.media import MAX_MEDIA, Media
from worker.gemini.result import FunctionCall, Outcome, UnreadableBodyError, classify_failure, linked, read_outcome

MAX = 1_000_000
PIXEL = bytes(range(256))
DATA = b64encode(PIXEL).decode()
MISMATCH = "does not match the schema that was asked for at"
Json = dict[str, Any]


def read(body: Any, *, max_bytes: int = MAX, wants_json: bool = False) -> Outcome:
    return read_outcome(orjson.dumps(body), max_bytes=max_bytes, wants_json=wants_json)


def text(words: str) -> Json:
    return {"type": "text", "text": words}


def says(*contents: Any, **more: Any) -> Json:
    return {"type": "model_output", "content": list(contents), **more}


def picture(**more: Any) -> Json:
    return {"type": "image", "mime_type": "image/png", "data": DATA, **more}


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


def test_media_leave_the_json_and_are_numbered_output_first() -> None:
    sketch = picture(mime_type="image/webp")
    body = {"steps": [{"type": "thought", "summary": [sketch]}, says(text("a"), picture(), text("b"), picture())]}

    outcome = read(body)

    assert [(m.n, m.kind, m.mime_type) for m in outcome.media] == [
        (0, "image", "image/png"),
        (1, "image", "image/png"),
        (2, "image", "image/webp"),
    ]
    assert outcome.media[0] == Media(0, "image", "image/png", PIXEL)
    assert outcome.output_text == "a\n\n![image](artifact:0)\n\nb\n\n![image](artifact:1)"
    assert outcome.raw["steps"][1]["content"][1] == {
        "type": "image",
        "mime_type": "image/png",
        "artifact": 0,
        "size": 256,
    }
    assert outcome.raw["steps"][0]["summary"][0]["artifact"] == 2
    assert DATA not in orjson.dumps(outcome.raw).decode()


@pytest.mark.parametrize(
    "data",
    [
        DATA,
        DATA.rstrip("="),
        urlsafe_b64encode(PIXEL).decode(),
        "\n".join(DATA[i : i + 76] for i in range(0, len(DATA), 76)),
    ],
)
def test_base64_is_read_in_every_common_form(data: str) -> None:
    assert [media.data for media in read({"steps": [says(picture(data=data))]}).media] == [PIXEL]


@pytest.mark.parametrize("data", ["not base64!", "é", "a", "===a"])
def test_broken_base64_is_left_as_it_is_and_noted(data: str) -> None:
    outcome = read({"steps": [says(text("a"), picture(data=data), picture())]})

    assert outcome.raw["steps"][0]["content"][1]["data"] == data
    assert len(outcome.media) == 1
    assert len(outcome.notes) == 1
    assert outcome.has_output


@pytest.mark.parametrize("content", [{"type": "image", "data": 5}, {"type": "image", "data": ""}, {"type": "image"}])
def test_a_content_without_bytes_is_left_as_it_is(content: Json) -> None:
    outcome = read({"steps": [says(content)]})

    assert outcome.media == ()
    assert outcome.raw["steps"][0]["content"][0] == content


@pytest.mark.parametrize("mime_type", [None, 5, "", "text", "image/png\r\nX: y", 'a/b; c="d"\n'])
def test_a_mime_type_that_is_none_becomes_a_harmless_one(mime_type: Any) -> None:
    [media] = read({"steps": [says(picture(mime_type=mime_type))]}).media

    assert media.mime_type == "application/octet-stream"


def test_the_callers_own_input_loses_its_bytes_without_becoming_an_artifact() -> None:
    question = {"type": "user_input", "content": [picture()]}

    result = {"type": "mcp_server_tool_result", "result": {"input": [picture()]}}
    outcome = read({"input": [picture()], "steps": [question, result, says(text("a"))]})

    assert [media.n for media in outcome.media] == [0]
    assert outcome.raw["steps"][1]["result"]["input"][0]["artifact"] == 0
    assert outcome.raw["steps"][0]["content"][0] == {
        "type": "image",
        "mime_type": "image/png",
        "size": 258,
        "omitted": True,
    }
    assert "data" not in outcome.raw["input"][0]


def test_an_image_of_an_mcp_server_has_the_type_that_it_calls_mimetype() -> None:
    shown = {"type": "image", "mimeType": "image/webp", "data": DATA}

    outcome = read({"steps": [{"type": "mcp_server_tool_result", "result": [shown]}]})

    assert [media.mime_type for media in outcome.media] == ["image/webp"]


@pytest.mark.parametrize(
    ("mime_type", "beside", "known_as"),
    [
        ("audio/L16", {"sample_rate": 24000, "channels": 1}, "audio/L16;rate=24000;channels=1"),
        ("audio/l16;rate=16000", {"sample_rate": 24000}, "audio/l16;rate=16000"),
        ("audio/l16", {"sample_rate": "x", "channels": 0}, "audio/l16"),
        ("audio/wav", {"sample_rate": 24000}, "audio/wav"),
    ],
)
def test_raw_sound_is_known_with_what_is_needed_to_play_it(mime_type: str, beside: Json, known_as: str) -> None:
    sound = {"type": "audio", "mime_type": mime_type, "data": DATA, **beside}

    [media] = read({"steps": [says(sound)]}).media

    assert media.mime_type == known_as


def test_of_too_many_media_the_rest_stays_in_the_steps() -> None:
    outcome = read({"steps": [says(*(picture(data="QUJD") for _ in range(MAX_MEDIA + 5)))]})

    assert len(outcome.media) == MAX_MEDIA
    assert outcome.raw["steps"][0]["content"][-1]["data"] == "QUJD"
    assert outcome.notes == ("5 outputs of type image are not valid base64, or one too many, and left in the steps",)


def test_what_a_function_is_called_with_is_left_alone() -> None:
    call = {"type": "function_call", "id": "c", "name": "show", "arguments": {"picture": picture()}}

    outcome = read({"steps": [call]})

    assert outcome.media == ()
    assert outcome.function_calls == (FunctionCall("c", "show", {"picture": picture()}),)


def test_media_by_uri_count_as_output_and_stay() -> None:
    content = {"type": "video", "uri": "gs://bucket/film.mp4"}

    outcome = read({"steps": [says(content)]})

    assert outcome.has_output
    assert outcome.media == ()
    assert outcome.raw["steps"][0]["content"] == [content]


def test_media_that_are_named_are_told_each_once_and_become_artifacts_where_they_stand() -> None:
    clip, film = ({"type": "video", "uri": f"https://x.example/{name}", "mime_type": "video/mp4"} for name in "ab")
    steps = [
        says(text("é"), clip, text("b"), film, clip, picture(uri="https://x.example/c"), {"type": "text", "uri": "d"})
    ]
    body = {"steps": [{"type": "thought", "summary": [{"type": "image", "uri": "e"}]}, *steps]}

    outcome = read(body)
    known = linked(outcome, {clip["uri"]: 1}, ["a note"])

    assert [(link.uri, link.kind, link.mime_type) for link in outcome.links] == [
        ("https://x.example/a", "video", "video/mp4"),
        ("https://x.example/b", "video", "video/mp4"),
    ]
    assert known.output_text == (
        "é\n\n[video](artifact:1)\n\nb\n\n[video](https://x.example/b)\n\n[video](artifact:1)\n\n![image](artifact:0)"
    )
    assert known.notes == ("a note",)
    assert known.raw["steps"][1]["content"][1] == clip


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


def call(name: str, **more: Any) -> Json:
    return {"type": "function_call", "id": name, "name": "f", "arguments": {}, **more}


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


def test_media_do_not_count_towards_the_limit() -> None:
    outcome = read({"steps": [says(picture(data=b64encode(bytes(100_000)).decode()))]}, max_bytes=2000)

    assert len(outcome.media[0].data) == 100_000


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


NAMES = st.sampled_from(
    [
        "status",
        "steps",
        "outputs",
        "errors",
        "error",
        "usage",
        "type",
        "content",
        "text",
        "annotations",
        "url",
        "start_index",
        "end_index",
        "data",
        "mime_type",
        "summary",
        "id",
        "call_id",
        "name",
        "arguments",
        "code",
        "message",
        "input",
        "raw\0",
        "continuation_token",
    ]
)
VALUES = st.sampled_from(
    [
        "completed",
        "failed",
        "model_output",
        "user_input",
        "thought",
        "function_call",
        "function_result",
        "text",
        "image",
        "audio",
        "url_citation",
        "QUJD",
        "A",
        "\0",
        "é😀",
        "https://x",
    ]
)
ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | VALUES
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=25,
)
CONTENT = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image", "audio", "hologram"])},
    optional={
        "text": st.text(max_size=8),
        "data": VALUES | ANY,
        "annotations": st.lists(ANY, max_size=3) | ANY,
        "uri": ANY,
    },
)
STEP = st.fixed_dictionaries(
    {"type": VALUES | ANY},
    optional={"content": st.lists(CONTENT | ANY, max_size=4) | ANY, "error": ANY, "summary": ANY},
)
BODY = st.dictionaries(NAMES, ANY) | st.fixed_dictionaries({"steps": st.lists(STEP | ANY, max_size=5), "errors": ANY})


@anything.examples(200)
@given(body=BODY, wants_json=st.booleans())
def test_any_json_object_is_read_without_a_crash(body: Json, *, wants_json: bool) -> None:
    outcome = read(body, wants_json=wants_json)

    words = outcome.output_text or ""
    assert b"\\u0000" not in orjson.dumps(outcome.raw)
    assert all(0 <= c.start_index <= c.end_index <= len(words) for c in outcome.citations)
    assert [media.n for media in outcome.media] == list(range(len(outcome.media)))
    classify_failure(outcome.errors)


@anything.examples(200)
@given(body=st.binary(max_size=300))
def test_any_bytes_are_read_or_unreadable(body: bytes) -> None:
    try:
        outcome = read_outcome(body, max_bytes=MAX)
    except UnreadableBodyError:
        return
    assert isinstance(outcome.raw, dict)
