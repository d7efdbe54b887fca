"""What a create names of the things that the API keeps for somebody, in whatever way it is put."""

from typing import Any

import pytest

from worker.gemini.references import NAME_MAX, made_by, references_of

BASE = "https://gateway.example:8443/gemini"
GOOGLE = "https://generativelanguage.googleapis.com"


def named(fields: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(one.pointer, one.kind, one.name) for one in references_of(fields, BASE)]


def names(uri: str) -> list[str]:
    return [name for _, _, name in named({"input": [{"type": "image", "uri": uri}]})]


@pytest.mark.parametrize(
    "uri",
    [
        f"{GOOGLE}/v1/files/abc-1",
        f"{GOOGLE}/v1beta/files/abc-1",
        f"{GOOGLE}/v9alpha/files/abc-1?alt=media",
        f"{GOOGLE}/download/v1beta/files/abc-1:download?alt=media",
        f"{GOOGLE}:443/v1/files/abc-1#part",
        f"{GOOGLE}./v1/files/abc-1",
        f"{GOOGLE.upper()}/v1/files/abc-1",
        f"{GOOGLE}/v1/files/%61bc-1",
        f"{GOOGLE}/v1%2Ffiles%2Fabc-1",
        f"  {GOOGLE}/v1/files/abc-1\n",
        "http://generativelanguage.googleapis.com/files/abc-1",
        "https://me@generativelanguage.googleapis.com/v1/files/abc-1",
        "https://europe-generativelanguage.googleapis.com/v1/files/abc-1",
        "https://generativelanguage.mtls.googleapis.com/v1/files/abc-1",
        "//generativelanguage.googleapis.com/v1/files/abc-1",
        f"{BASE}/v1/files/abc-1",
        "http://gateway.example/v1/files/abc-1",
        "files/abc-1",
        "/v1beta/files/abc-1",
        "v1/files/abc-1",
    ],
)
def test_a_file_of_the_api_has_one_name(uri: str) -> None:
    assert names(uri) == ["files/abc-1"]


@pytest.mark.parametrize(
    "uri",
    [
        "https://example.com/files/abc-1",
        "https://www.youtube.com/watch?v=files/abc",
        "https://youtu.be/files/abc",
        "gs://bucket/files/abc-1",
        "https://storage.googleapis.com/bucket/files/abc-1",
        "https://example.com/?u=generativelanguage.googleapis.com/v1/files/abc-1",
        "https://generativelanguage.googleapis.com.example.com/v1/files/abc-1",
        f"{GOOGLE}/v1/models/abc",
        f"{GOOGLE}/v1/myfiles/abc",
        "https://example.com/a/../v1//files/abc-1",
        "data:text/plain,files/abc",
        f"data:text/plain,{'x' * 5000}",
        "https://[broken/files/abc",
        "",
    ],
)
def test_whatever_is_public_is_nobodys(uri: str) -> None:
    assert names(uri) == []


@pytest.mark.parametrize(
    "uri",
    [
        f"{GOOGLE}/v1/files/mine/../theirs",
        f"{GOOGLE}/v1/files/mine/%2e%2e/theirs",
        f"{GOOGLE}/v1/files/mine%3F/../theirs",
        f"{GOOGLE}/v1/files/mine/files/theirs",
        f"{GOOGLE}/v1//files//theirs",
        f"{GOOGLE}/v1/files%252Ftheirs",
        f"{GOOGLE}/v1/Files/theirs",
        f"{GOOGLE}/{'./' * 3000}v1/files//theirs",
        "https:generativelanguage.googleapis.com/v1/files/theirs",
        "https:///generativelanguage.googleapis.com/v1/files/theirs",
        "https:\\\\generativelanguage.googleapis.com\\v1\\files\\theirs",
        "https://generativelanguage\u3002googleapis\uff0ecom/v1/files/theirs",
        f"{BASE}/v1/./files/./theirs",
        "./files/theirs",
        "v1//files/theirs",
    ],
)
def test_what_one_reader_may_take_for_another_file_than_the_next_is_nobody_s_file(uri: str) -> None:
    assert names(uri) == [uri[:NAME_MAX]]


FILE = {"type": "document", "uri": f"{GOOGLE}/v1/files/f"}


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        (FILE, "/input/uri"),
        ([FILE], "/input/0/uri"),
        ([{"type": "user_input", "content": [{"type": "text", "text": "x"}, FILE]}], "/input/0/content/1/uri"),
        ([{"type": "model_output", "content": [FILE]}], "/input/0/content/0/uri"),
        ([{"type": "function_result", "call_id": "c", "result": [FILE]}], "/input/0/result/0/uri"),
        ([{"type": "thought", "summary": [FILE]}], "/input/0/summary/0/uri"),
    ],
)
def test_the_whole_input_is_looked_through(given: Any, pointer: str) -> None:
    assert named({"input": given}) == [(pointer, "file", "files/f")]


@pytest.mark.parametrize(
    "given",
    [
        "files/f",
        [{"type": "text", "text": f"{GOOGLE}/v1/files/f"}],
        [{"type": "function_result", "call_id": "c", "result": {"uri": f"{GOOGLE}/v1/files/f"}}],
        [{"type": "function_call", "id": "c", "name": "f", "arguments": {"uri": f"{GOOGLE}/v1/files/f"}}],
        [{"type": "image", "uri": 5}],
        None,
    ],
)
def test_words_and_free_form_values_name_nothing(given: Any) -> None:
    assert named({"input": given}) == []


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ("remote", []),
        ("env-1", [("/environment", "environment", "env-1")]),
        ({"type": "remote"}, []),
        (
            {"type": "remote", "environment_id": "env-1"},
            [("/environment/environment_id", "environment", "env-1")],
        ),
        (
            {"type": "remote", "sources": [{"type": "gcs", "source": "gs://b/o"}, {"source": f"{BASE}/v1/files/f"}]},
            [("/environment/sources/1/source", "file", "files/f")],
        ),
        (None, []),
    ],
)
def test_environments_and_their_sources_are_named(environment: Any, found: list[Any]) -> None:
    assert named({"environment": environment}) == found


def test_what_a_run_left_are_its_environment_and_the_files_of_its_output() -> None:
    body = {
        "environment_id": "env-1",
        "steps": [
            {"type": "user_input", "content": [{"type": "image", "uri": f"{GOOGLE}/v1/files/of-somebody"}]},
            {"type": "model_output", "content": [{"type": "video", "uri": f"{GOOGLE}/v1/files/made"}]},
        ],
    }

    assert made_by(body, BASE) == {"environment": {"env-1"}, "file": {"files/made"}}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"environment_id": 5, "steps": "x"},
        {"environment_id": "remote", "steps": [5, {"type": "model_output", "content": 5}]},
        {"environment_id": "x" * 513, "steps": [{"type": "model_output", "content": [{"uri": "files/" + "x" * 513}]}]},
        {"environment_id": "a\x00b", "steps": [{"type": "model_output"}]},
    ],
)
def test_whatever_cannot_be_kept_is_left(body: dict[str, Any]) -> None:
    assert made_by(body, BASE) == {"environment": set(), "file": set()}
