"""Media in results: which become artifacts, as what they are known, and where they are named."""

from base64 import b64encode, urlsafe_b64encode
from typing import Any

import orjson
import pytest

from tests.unit.gemini.outcomes import DATA, PIXEL, Json, picture, read, says, text
from worker.gemini.media import MAX_MEDIA, Media
from worker.gemini.result import linked


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


def test_media_do_not_count_towards_the_limit() -> None:
    outcome = read({"steps": [says(picture(data=b64encode(bytes(100_000)).decode()))]}, max_bytes=2000)

    assert len(outcome.media[0].data) == 100_000
