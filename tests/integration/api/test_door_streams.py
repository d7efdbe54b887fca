"""The door's streams: what they tell of a job whose end is known, and how they bear with its client."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
from google import genai

from api.places import Streams
from tests.conftest import MakeSettings
from tests.integration.api.door import HELLO, PATH, RAW, create, error, get
from tests.integration.api.engine import Worker
from tests.integration.api.serving import Server, Tenant, serving
from tests.waiting import eventually

HEARTBEAT = ": still here"


def frames(text: str) -> list[dict[str, Any]]:
    found = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert found.pop() == "[DONE]"
    return [orjson.loads(line) for line in found]


def test_a_stream_waits_for_the_end(server: Server, tenant: Tenant, worker: Worker) -> None:
    name = create(tenant)["id"]
    with ThreadPoolExecutor() as pool:
        streamed = pool.submit(tenant.get, f"{PATH}/{name}?stream=true")
        eventually(lambda: server.awaited(tenant))
        worker.start(name)
        worker.finish(name, raw=RAW)
        answer = streamed.result()

    events = frames(answer.text)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [event["event_type"] for event in events] == [
        "interaction.created",
        "interaction.status_update",
        "step.start",
        "step.delta",
        "step.stop",
        "interaction.completed",
    ]
    assert events[-1]["interaction"]["usage"] == {"total_tokens": 3}
    assert "steps" not in events[-1]["interaction"]


def test_a_stream_of_a_failure_says_why(guest: Tenant, local: Worker) -> None:
    name = create(guest)["id"]
    local.fail(name)

    events = frames(guest.get(f"{PATH}/{name}?stream=true").text)

    assert events[-2]["error"] == {"code": "upstream_failed", "message": "it broke"}
    assert events[-1]["interaction"]["status"] == "failed"


def test_the_client_takes_signs_of_life_for_what_they_are(own_settings: MakeSettings) -> None:
    streams = Streams(heartbeat_s=0.02)
    with serving(own_settings(), streams=streams) as server:
        tenant, worker = server.tenant(), Worker(server.context)
        name = create(tenant)["id"]
        client = genai.Client(api_key=tenant.token, http_options={"base_url": f"{server.url}/gemini"})
        calls: Any = client.interactions
        stream = calls.get(name, stream=True)
        begun = [next(stream), next(stream)]
        with tenant.http.stream("GET", f"{PATH}/{name}?stream=true") as another:
            assert any(line == HEARTBEAT for line in another.iter_lines())
        with ThreadPoolExecutor() as pool:
            rest = pool.submit(list, stream)
            worker.start(name)
            worker.finish(name, raw=RAW)
            kinds = [event.event_type for event in [*begun, *rest.result()]]
        client.close()

    assert (kinds[0], kinds[-1]) == ("interaction.created", "interaction.completed")
    assert len(kinds) == 6


def test_what_the_older_schema_gave_is_one_step(guest: Tenant, local: Worker) -> None:
    name = create(guest)["id"]
    local.start(name)
    raw = {key: value for key, value in RAW.items() if key != "steps"} | {"outputs": [{"type": "text", "text": "La."}]}
    local.finish(name, raw=raw)

    deltas = [event["delta"] for event in frames(guest.get(f"{PATH}/{name}?stream=true").text) if "delta" in event]

    assert deltas == raw["outputs"]
    assert get(guest, name)["outputs"] == raw["outputs"]


def test_streams_have_a_place_or_are_told_to_come_again(sqlite_server: Server, guest: Tenant) -> None:
    name, streams = create(guest)["id"], sqlite_server.desk.streams.places
    streams.open += streams.limit
    try:
        answers = [guest.get(f"{PATH}/{name}?stream=true"), guest.post(PATH, HELLO)]
    finally:
        streams.open -= streams.limit

    assert [error(answer) for answer in answers] == [(429, "rate_limit_exceeded")] * 2
    assert len(guest.get("/v1/jobs").json()["data"]) == 1
