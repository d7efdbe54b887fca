"""What a run produces, end to end: over HTTP, by a real Celery worker with the SDK, from the simulator."""

import io
import json
import wave
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai.types import HttpOptions

from tests.stack import Stack
from tests.system.desk import DONE_S, Desk
from tests.waiting import PATIENCE_S, eventually
from worker.states import TERMINAL

AGENT, MODEL = "deep-research-preview-04-2026", "gemini-3.8-flash"
PERSON = {
    "type": "OBJECT",
    "properties": {"name": {"type": "STRING"}, "age": {"type": "INTEGER", "nullable": True}},
    "required": ["name", "age"],
}
PCM = bytes(range(256)) * 20
PDF = b"%PDF-1.7 nothing"

Json = dict[str, Any]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    paces = {f"NIGHTDESK_POLL_{kind}_{name}_S": "0.3" for kind in ("MODEL", "AGENT") for name in ("START", "CAP")}
    simulator = {"model_s": 0.2, "agent_s": 0.5, "jitter": 0.0}
    with Stack(tmp_path_factory.mktemp("outputs"), simulator=simulator, env=paces) as running:
        yield running


def ended(client: httpx2.Client, **fields: Any) -> Json:
    """A job as it is at its end, with its steps."""
    answer = client.post("/v1/jobs", json=fields)
    assert answer.status_code == 202, answer.text
    path = answer.headers["location"]
    eventually(lambda: client.get(path).json()["status"] in TERMINAL, within_s=DONE_S, what="the end of the job")
    job: Json = client.get(path, params={"include": "steps"}).json()
    assert job["status"] == "completed", job
    return job


def answered(stack: Stack, client: httpx2.Client, *contents: Json, **fields: Any) -> Json:
    """A job whose run ends with this output, as a test wants it."""
    path = client.post("/v1/jobs", json={"model": MODEL, "input": "[[sim: duration=1000]]"} | fields).headers[
        "location"
    ]
    eventually(lambda: client.get(path).json()["interaction_id"], within_s=DONE_S, what="the start of the run")
    steps = [{"type": "model_output", "content": list(contents)}]
    name = client.get(path).json()["interaction_id"]
    Desk(stack).control.direct(name, body={"id": name, "status": "completed", "model": MODEL, "steps": steps})
    eventually(lambda: client.get(path).json()["status"] in TERMINAL, within_s=DONE_S, what="the end of the job")
    job: Json = client.get(path, params={"include": "steps"}).json()
    return job


def upstream(stack: Stack, interaction_id: str) -> Any:
    """The interaction as the SDK's own client shows it."""
    options = HttpOptions(base_url=stack.simulator_url)
    sdk = genai.Client(api_key="simulated", vertexai=False, http_options=options)
    try:
        return sdk.interactions.get(interaction_id)
    finally:
        sdk.close()


def test_a_report_has_all_its_text_its_pictures_and_its_sources(stack: Stack, client: httpx2.Client) -> None:
    job = ended(client, agent=AGENT, input="Why do owls hunt in the dark? Draw charts. [[sim: images=2]]")

    shown = upstream(stack, job["interaction_id"])
    contents = [content for step in job["steps"] if step["type"] == "model_output" for content in step["content"]]
    texts = [content["text"] for content in contents if content["type"] == "text"]
    pictures = [f"![image](artifact:{number})" for number in range(2)]
    assert [content["type"] for content in contents] == ["text", "image", "text", "image", "text"]
    assert [part for part in job["output_text"].split("\n\n") if part in pictures] == pictures
    assert all(text.strip() in job["output_text"] for text in texts)
    # The SDK's own property drops what precedes an image.
    assert job["output_text"].endswith(shown.output_text)
    assert len(shown.output_text) < len(job["output_text"]) / 2

    claims = [
        (text.encode()[cited["start_index"] : cited["end_index"]].decode(), cited["url"])
        for text, content in zip(texts, (one for one in contents if one["type"] == "text"), strict=True)
        for cited in content["annotations"]
    ]
    found = [(job["output_text"][one["start_index"] : one["end_index"]], one["url"]) for one in job["citations"]]
    assert found == claims
    assert len({url for _, url in claims}) > 1


def test_steps_come_as_the_upstream_has_them_but_for_the_bytes_of_media(stack: Stack, client: httpx2.Client) -> None:
    job = ended(client, agent=AGENT, input="What do owls eat? [[sim: images=1]]")

    url = f"{stack.simulator_url}/v1/interactions/{job['interaction_id']}"
    raw = httpx2.get(url, headers={"x-goog-api-key": "simulated"}, timeout=PATIENCE_S).json()
    for step in job["steps"]:
        for content in step.get("content") or []:
            if "artifact" in content:
                data = client.get(job["artifacts"][content.pop("artifact")]["url"]).content
                assert content.pop("size") == len(data)
                content["data"] = b64encode(data).decode()
    assert job["steps"] == raw["steps"]


def test_the_report_is_a_document_with_footnotes_and_pictures(client: httpx2.Client) -> None:
    job = ended(client, agent=AGENT, input="How do owls see? <script>alert(1)</script> [[sim: images=1]]")
    path = job["links"]["report"]

    markdown = client.get(path)
    html = client.get(path, headers={"Accept": "text/html"})

    urls = list(dict.fromkeys(citation["url"] for citation in job["citations"]))
    assert markdown.headers["content-type"] == "text/markdown; charset=utf-8"
    assert f"![image]({job['artifacts'][0]['url']})" in markdown.text
    assert all(f"]({url})" in markdown.text.rpartition("[^1]: ")[2] for url in urls)
    assert "sandbox" in html.headers["content-security-policy"]
    data = b64encode(client.get(job["artifacts"][0]["url"]).content).decode()
    assert f'<img src="data:image/png;base64,{data}"' in html.text
    assert html.text.count('<li id="source-') == len(urls)
    assert "<script" not in html.text


@pytest.mark.parametrize(
    ("prompt", "output_json", "note"),
    [
        ("Ada is 36.", None, None),
        ("""[[sim: text='{"name": "Ada", "age": null}']]""", {"name": "Ada", "age": None}, None),
        ("""[[sim: text='{"name": "Ada", "age": "36"}']]""", {"name": "Ada", "age": "36"}, "at /age: type"),
        ("[[sim: text='I would rather not.']]", None, "is not the JSON that was asked for"),
    ],
)
def test_structured_output_is_parsed_and_checked(
    client: httpx2.Client, prompt: str, output_json: Any, note: str | None
) -> None:
    wanted = {"type": "text", "mime_type": "application/json", "schema": PERSON}

    job = ended(client, model=MODEL, input=prompt, response_format=wanted)

    if prompt == "Ada is 36.":
        output_json = json.loads(job["output_text"])
    assert job["output_json"] == output_json
    assert [one.endswith(note or "") for one in job["notes"]] == ([True] if note else [])


@pytest.mark.parametrize(
    ("model", "kind", "mime_type", "begin"),
    [
        ("gemini-3-pro-image", "image", "image/png", b"\x89PNG"),
        ("gemini-3.8-flash-tts", "audio", "audio/wav", b"RIFF"),
        ("lyria-3.5", "audio", "audio/wav", b"RIFF"),
        ("gemini-omni-1.2-flash", "video", "video/mp4", b"\0\0\0\x1cftyp"),
    ],
    ids=["image", "speech", "music", "video"],
)
def test_media_become_artifacts(client: httpx2.Client, model: str, kind: str, mime_type: str, begin: bytes) -> None:
    job = ended(client, model=model, input="An owl at night.")

    (artifact,) = job["artifacts"]
    whole = client.get(artifact["url"])
    part = client.get(artifact["url"], headers={"Range": "bytes=-4"})
    again = client.get(artifact["url"], headers={"If-None-Match": whole.headers["etag"]})
    assert (artifact["kind"], artifact["mime_type"]) == (kind, mime_type)
    assert (whole.headers["content-type"], whole.headers["content-length"]) == (mime_type, str(artifact["size"]))
    assert whole.content.startswith(begin)
    assert (part.status_code, part.content) == (206, whole.content[-4:])
    assert again.status_code == 304
    assert job["output_text"] is None


def test_media_that_are_delivered_by_uri_become_artifacts_too(client: httpx2.Client) -> None:
    wanted = {"type": "video", "delivery": "uri"}

    job = ended(client, model="gemini-omni-1.2-flash", input="An owl takes off.", response_format=wanted)

    ((content,),) = (step["content"] for step in job["steps"] if step["type"] == "model_output")
    (artifact,) = job["artifacts"]
    assert content["uri"].startswith("https://generativelanguage.googleapis.com/v1beta/files/video-")
    assert "artifact" not in content
    assert (artifact["kind"], artifact["mime_type"]) == ("video", "video/mp4")
    assert client.get(artifact["url"]).content[4:8] == b"ftyp"
    assert job["notes"] == []


def test_raw_speech_and_documents_become_artifacts(stack: Stack, client: httpx2.Client) -> None:
    speech = {"type": "audio", "mime_type": "audio/L16", "sample_rate": 24000, "channels": 1}
    document = {"type": "document", "mime_type": "application/pdf"}

    job = answered(
        stack,
        client,
        {"type": "text", "text": "Listen: "},
        speech | {"data": b64encode(PCM).decode()},
        document | {"data": b64encode(PDF).decode()},
    )

    sound, paper = (client.get(artifact["url"]) for artifact in job["artifacts"])
    assert [one["mime_type"] for one in job["artifacts"]] == ["audio/L16;rate=24000;channels=1", "application/pdf"]
    assert (sound.content, paper.content) == (PCM, PDF)
    assert paper.headers["content-disposition"].startswith("attachment")
    with wave.open(io.BytesIO(client.get(job["artifacts"][0]["url"], params={"format": "wav"}).content)) as playable:
        assert (playable.getframerate(), playable.readframes(len(PCM))) == (24000, PCM)
