"""Uploads through the SDK's own file client."""

from io import BytesIO
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import errors

from worker.dev.simulator import SimulatorServer


def test_a_file_is_uploaded_found_used_and_deleted(
    sim: SimulatorServer, genai_client: genai.Client, interactions: Any
) -> None:
    made = genai_client.files.upload(
        file=BytesIO(b"hello"), config={"mime_type": "text/plain", "display_name": "greeting"}
    )
    name, uri = made.name or "", made.uri

    found = genai_client.files.get(name=name)
    answer = interactions.create(
        model="gemini-3.8-flash",
        input=[{"type": "text", "text": "Read"}, {"type": "document", "uri": uri, "mime_type": "text/plain"}],
    )
    genai_client.files.delete(name=name)

    assert (found.size_bytes, found.mime_type, found.display_name) == (5, "text/plain", "greeting")
    assert uri is not None
    assert uri.startswith(sim.url)
    assert answer.status == "completed"
    with pytest.raises(errors.ClientError):
        genai_client.files.get(name=name)


def test_a_file_is_forgotten_after_two_days(sim: SimulatorServer, genai_client: genai.Client) -> None:
    made = genai_client.files.upload(file=BytesIO(b"hello"), config={"mime_type": "text/plain"})

    sim.control.advance(48 * 3600)

    with pytest.raises(errors.ClientError):
        genai_client.files.get(name=made.name or "")
    assert list(genai_client.files.list()) == []


def test_a_video_can_be_used_after_a_while(sim: SimulatorServer, genai_client: genai.Client) -> None:
    made = genai_client.files.upload(file=BytesIO(b"hello"), config={"mime_type": "video/mp4"})

    sim.control.advance(60)

    found = genai_client.files.get(name=made.name or "")
    assert [str(file.state) for file in (made, found)] == ["FileState.PROCESSING", "FileState.ACTIVE"]


@pytest.mark.parametrize(
    ("size", "offset", "command", "status", "under_way"),
    [
        (256 * 1024, 0, "upload", 200, 1),
        (5, 0, "upload, finalize", 200, 0),
        (5, 0, "upload", 400, 1),
        (5, 5, "upload, finalize", 400, 1),
        (0, 0, "cancel", 200, 0),
    ],
)
def test_pieces_come_in_order_and_in_whole_grains(  # noqa: PLR0917
    sim: SimulatorServer, size: int, offset: int, command: str, status: int, under_way: int
) -> None:
    start = {"X-Goog-Upload-Command": "start", "x-goog-api-key": "any"}
    url = httpx2.post(f"{sim.url}/upload/v1/files", headers=start).headers["x-goog-upload-url"]

    headers = {"X-Goog-Upload-Command": command, "X-Goog-Upload-Offset": str(offset)}
    answer = httpx2.post(url, content=b"x" * size, headers=headers)

    assert (answer.status_code, sim.control.files()["under_way"]) == (status, under_way)


def test_media_delivered_by_uri_are_downloaded_and_uploads_are_not(
    genai_client: genai.Client, interactions: Any
) -> None:
    answer = interactions.create(
        model="gemini-omni-1.2-flash", input="An owl.", response_format={"type": "video", "delivery": "uri"}
    )
    made = genai_client.files.upload(file=BytesIO(b"hello"), config={"mime_type": "text/plain"})

    (content,) = answer.steps[-1].content
    data = genai_client.files.download(file=content.uri)

    assert content.data is None
    assert data[4:8] == b"ftyp"
    assert data == genai_client.files.download(file=content.uri)
    with pytest.raises(errors.ClientError):
        genai_client.files.download(file=made.name or "")
