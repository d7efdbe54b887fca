"""Streams over real HTTP: the SDK's own request, events as they came, and how each stream ended."""

import asyncio
from contextlib import aclosing
from typing import Any

import orjson
import pytest
from google import genai
from google.genai.types import HttpOptions

from tests.integration.gemini import stub as wire
from tests.integration.gemini.conftest import KEY
from tests.integration.gemini.stub import Act, Stub
from worker.dev.simulator import Options, SimulatorServer
from worker.gemini.access import Access
from worker.gemini.steps import Steps
from worker.gemini.stream import EndKind, StreamEnd, Streamer, StreamEvent

EVENTS = b'event: step.start\ndata: {"event_type": "step.start", "event_id": "e0"}\n\ndata: {"event_type": "odd"}\n\n'
DONE = EVENTS + b"data: [DONE]\n\n"
CUT = EVENTS + b'[{"error": {"code": 503, "message": "x"}}]\n'
SSE_TYPE = "text/event-stream; charset=utf-8"

Streamed = tuple[list[StreamEvent], StreamEnd]


def follow(
    access: Access, name: str = "v1_a", after: str | None = None, *, silence_s: float = 30.0, total_s: float = 60.0
) -> Streamed:
    async def run() -> list[StreamEvent | StreamEnd]:
        streamer = Streamer(access, total_s=total_s)
        try:
            async with aclosing(streamer.follow(name, after, silence_s)) as events:
                return [event async for event in events]
        finally:
            await streamer.close()

    *events, end = asyncio.run(run())
    assert isinstance(end, StreamEnd)
    return [event for event in events if isinstance(event, StreamEvent)], end


def streams(content: bytes) -> Act:
    return wire.says(200, content, Content_Type=SSE_TYPE)


def test_a_stream_is_asked_for_as_the_sdk_asks(access: Access, stub: Stub) -> None:
    stub.will(streams(DONE))
    client = genai.Client(vertexai=False, api_key=KEY, http_options=HttpOptions(base_url=stub.url, api_version="v1"))

    for after in (None, "e/0 é"):
        list(client.interactions.get("v1_a=b", stream=True, last_event_id=after))
        follow(access, "v1_a=b", after)
    client.close()

    theirs, ours = stub.requests[::2], stub.requests[1::2]
    assert [_query(one.target) for one in ours] == [_query(one.target) for one in theirs]
    assert {one.headers["x-goog-api-key"] for one in ours} == {KEY}


def _query(target: str) -> tuple[str, list[str]]:
    path, _, query = target.partition("?")
    return path, sorted(query.replace("+", "%20").split("&"))


def test_events_are_given_as_they_came_unknown_ones_too(access: Access, stub: Stub) -> None:
    stub.will(streams(b'data: [1]\n\ndata: {\n\nid: 9\nevent: named\ndata: {"x":\ndata: 1}\n\n' + DONE))

    events, end = follow(access)

    assert [(event.id, event.type) for event in events] == [("9", "named"), ("e0", "step.start"), (None, "odd")]
    assert events[0].data == b'{"x":\n1}'
    assert end == StreamEnd(EndKind.DONE)


@pytest.mark.parametrize(
    ("act", "kind", "number"),
    [
        (streams(DONE), EndKind.DONE, 2),
        (streams(b'data: {"event_type": "interaction.completed"}\n\n'), EndKind.DONE, 1),
        (streams(CUT), EndKind.CUT, 2),
        (streams(b""), EndKind.CUT, 0),
        (wire.breaks_off(EVENTS, Content_Type=SSE_TYPE), EndKind.CUT, 2),
        (wire.says(200, {"status": "in_progress"}), EndKind.TROUBLE, 0),
        (wire.says(404), EndKind.REFUSED, 0),
        (wire.says(400), EndKind.REFUSED, 0),
        (wire.says(403), EndKind.REFUSED, 0),
        (wire.says(500), EndKind.TROUBLE, 0),
        (wire.says(302, b"", Location="http://127.0.0.1:1/"), EndKind.TROUBLE, 0),
        (wire.closes(), EndKind.TROUBLE, 0),
        (wire.resets(), EndKind.TROUBLE, 0),
    ],
)
def test_every_stream_ends_in_its_way(access: Access, stub: Stub, act: Act, kind: EndKind, number: int) -> None:
    stub.will(act)

    events, end = follow(access)

    assert (end.kind, len(events)) == (kind, number)


def test_a_throttled_stream_says_for_how_long(access: Access, stub: Stub) -> None:
    stub.will(wire.says(429, b"", Retry_After="7"))

    assert follow(access) == ([], StreamEnd(EndKind.THROTTLED, 7.0))


@pytest.mark.parametrize(("silence_s", "total_s", "kind"), [(0.2, 60.0, EndKind.SILENT), (60.0, 0.3, EndKind.CUT)])
def test_silence_and_length_are_bounded(silence_s: float, total_s: float, kind: EndKind) -> None:
    with SimulatorServer() as sim:
        made = _create(sim, "x [[sim: status=stuck]]")

        # On a machine that stands still, the time may be over before the first event.
        streamed = [follow(_access(sim), made, silence_s=silence_s, total_s=total_s)]
        while not streamed[-1][0] and len(streamed) < 10:
            streamed.append(follow(_access(sim), made, silence_s=silence_s, total_s=total_s))

    assert {end.kind for _, end in streamed} == {kind}
    assert streamed[-1][0]


def test_a_stream_that_dribbles_is_cut_in_the_end(access: Access, stub: Stub) -> None:
    stub.will(wire.drips(EVENTS * 100, gap_s=0.005, Content_Type=SSE_TYPE))

    _, end = follow(access, total_s=0.3)

    assert end.kind == EndKind.CUT


@pytest.mark.parametrize(
    "fields",
    [
        {"agent": "deep-research-preview-04-2026", "input": "Tea in Zürich [[sim: duration=0 images=2 strange=yes]]"},
        {"model": "gemini-3.8-flash", "input": "Tea [[sim: duration=0 size=20kb event_ids=none]]"},
        {"model": "gemini-3.8-flash", "input": "Tea [[sim: duration=0]]", "tools": [{"type": "google_search"}]},
        {
            "model": "gemini-3.8-flash",
            "input": "What weather has London? [[sim: duration=0]]",
            "tools": [
                {"type": "function", "name": "weather", "parameters": {"properties": {"city": {"type": "string"}}}}
            ],
        },
    ],
)
def test_the_events_of_a_run_tell_the_steps_of_its_resource(fields: dict[str, Any]) -> None:
    with SimulatorServer(Options()) as sim:
        made = _create(sim, **fields)
        client = _client(sim)
        resource = client.interactions.with_raw_response.get(made).http_response.json()
        client.close()

        events, end = follow(_access(sim), made)

    steps = Steps()
    for event in events:
        steps.add(event.value, len(event.data))
    assert end.kind == EndKind.DONE
    assert orjson.loads(orjson.dumps(steps.tell())) == [s for s in resource["steps"] if s["type"] != "user_input"]


def _access(sim: SimulatorServer) -> Access:
    return Access(api_key="any", base_url=sim.url)


def _client(sim: SimulatorServer) -> Any:
    return genai.Client(vertexai=False, api_key="any", http_options=HttpOptions(base_url=sim.url, api_version="v1"))


def _create(sim: SimulatorServer, input: str, **fields: Any) -> str:  # noqa: A002 - the API's own name
    client = _client(sim)
    chosen = fields or {"model": "gemini-3.8-flash"}
    made = client.interactions.create(input=input, background=True, **chosen)
    client.close()
    return str(made.id)
