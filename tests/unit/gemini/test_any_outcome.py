"""Whatever the upstream may give for a resource is read or unreadable, and never a crash."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from tests import anything
from tests.unit.gemini.outcomes import MAX, Json, read
from worker.gemini.result import UnreadableBodyError, classify_failure, read_outcome

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
