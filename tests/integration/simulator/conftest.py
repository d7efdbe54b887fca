"""One simulator and one unmodified google-genai client for all tests here; each test starts with an empty simulator."""

from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from google import genai
from google.genai import _interactions as errors
from google.genai.types import HttpOptions, HttpRetryOptions

from worker.dev.simulator import Options, SimulatorServer

Post = Callable[..., tuple[int, Any]]


def client_of(url: str, api_key: str = "any", **options: Any) -> Any:
    """An SDK client that sends every request once; untyped, because a create may answer with a stream."""
    retry = HttpRetryOptions(attempts=1)
    return genai.Client(api_key=api_key, http_options=HttpOptions(base_url=url, retry_options=retry, **options))


def error_of(error: errors.APIError) -> dict[str, Any]:
    """The error object in the answer that an SDK exception carries, in whichever shape it came."""
    body: Any = error.body
    first = body[0] if isinstance(body, list) else body
    found: dict[str, Any] = first["error"]
    return found


@pytest.fixture(scope="session")
def shared_simulator() -> Iterator[SimulatorServer]:
    with SimulatorServer(Options(speed=10, model_s=1, cancel_lag_s=50, custom_agents=("my-agent",))) as server:
        yield server


@pytest.fixture
def sim(shared_simulator: SimulatorServer) -> SimulatorServer:
    """Runs last about 2 s (agents) and 0.1 s (models), a cancel 5 s; `control.advance` takes one there at once."""
    shared_simulator.control.reset()
    return shared_simulator


@pytest.fixture(scope="session")
def genai_client(shared_simulator: SimulatorServer) -> Iterator[genai.Client]:
    client = client_of(shared_simulator.url)
    yield client
    client.close()


@pytest.fixture
def interactions(sim: SimulatorServer, genai_client: genai.Client) -> Any:
    """`client.interactions` of the SDK, on an empty simulator."""
    assert not sim.control.interactions()
    return genai_client.interactions


@pytest.fixture
def post(sim: SimulatorServer) -> Post:
    """Posts a create without the SDK: status and parsed body of the answer."""

    def post(
        body: Any, *, version: str = "v1", method: str = "POST", path: str = "", **headers: str
    ) -> tuple[int, Any]:
        address = urlsplit(sim.url)
        connection = HTTPConnection(address.hostname or "", address.port, timeout=60)
        try:
            data = body if isinstance(body, bytes) else orjson.dumps(body)
            connection.request(method, f"/{version}/interactions{path}", data, headers or {"x-goog-api-key": "any"})
            response = connection.getresponse()
            return response.status, orjson.loads(response.read())
        finally:
            connection.close()

    return post
