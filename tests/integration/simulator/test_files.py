"""Uploads through the SDK's own file client."""

from io import BytesIO
from typing import Any

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
