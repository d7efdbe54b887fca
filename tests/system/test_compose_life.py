import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest
from dotenv import dotenv_values
from standardwebhooks import Webhook

from tests.postgres import Postgres
from tests.stack import free_port
from tests.system import compose, image
from tests.system.compose import Project
from tests.waiting import PATIENCE_S, eventually
from worker.dev.simulator import SimulatorServer

API_KEY = "nd_of-no-value-for-a-test"
USER = "admin:of-no-value"
FILLED = {
    "NIGHTDESK_GEMINI_API_KEY": "simulated",
    "NIGHTDESK_ENCRYPTION_KEY": "of no value, for a test",
    "NIGHTDESK_BOOTSTRAP_API_KEY": API_KEY,
    "NIGHTDESK_FLOWER_BASIC_AUTH": USER,
}
LOCAL_RECEIVERS = {
    "NIGHTDESK_WEBHOOK_ALLOW_NETWORKS": "127.0.0.0/8",
    "NIGHTDESK_WEBHOOK_ALLOW_HTTP": "true",
    "NIGHTDESK_WEBHOOK_ALLOW_PORTS": "any",
}
PROMPT = "[[sim: text='Owls hunt by ear.']]"


@dataclass
class Receiver:
    """What came in, as it came."""

    url: str = ""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    seen = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.got.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nobody wants to know."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        seen.url = f"http://127.0.0.1:{server.server_port}/hook"
        yield seen
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as it is in the image: a copy, not this checkout."""
    return image.install(tmp_path_factory.mktemp("image"))


@pytest.fixture
def project(
    installed: Path, tmp_path: Path, postgres: Postgres, redis_url: str, simulator: SimulatorServer
) -> Iterator[Project]:
    """The services, on servers of this machine."""
    services = compose.read(POSTGRES_PASSWORD="given")["services"]
    services = {name: service for name, service in services.items() if "profiles" not in service}
    swaps = {
        "postgresql://nightdesk:given@postgres:5432/nightdesk": (url := postgres.empty()),
        "redis://redis:6379/0": redis_url,
        "/var/lib/nightdesk": str(tmp_path),
        "0.0.0.0": "127.0.0.1",
        "8000": str(free_port()),
        "5555": str(free_port()),
    }
    env_file = {**FILLED, **LOCAL_RECEIVERS, "NIGHTDESK_GEMINI_BASE_URL": simulator.url}
    yield Project(services, tmp_path, installed, env_file, swaps)
    postgres.drop(url)


def test_an_installation_holds_every_file_of_the_packages(installed: Path) -> None:
    sources = {
        path.relative_to(compose.ROOT)
        for package in image.PACKAGES
        for path in (compose.ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    missing = {str(path) for path in sources if not (installed / path).is_file()}

    assert sources
    assert missing == set()


def test_the_example_is_filled_in_whole() -> None:
    assert set(dotenv_values(compose.EXAMPLE)) == set(FILLED)


def test_the_services_start_work_and_end_as_the_file_says(project: Project, receiver: Receiver) -> None:
    with project.up():
        for name in ("api", "worker", "flower"):
            project.await_healthy(name)
        client = httpx2.Client(
            base_url=f"http://127.0.0.1:{project.swaps['8000']}",
            headers={"Authorization": f"Bearer {API_KEY}"},
            timeout=PATIENCE_S,
        )

        job = _completed(client, receiver.url)

        assert job["output_text"] == "Owls hunt by ear."
        assert _verified(client, receiver)["data"]["id"] == job["id"]
        assert _flower(project, USER) == 200
        assert _flower(project, "admin:guessed") == 401
        client.close()
        assert project.down() == {"api": 0, "worker": 0, "flower": 0}


def _completed(client: httpx2.Client, hook: str) -> Any:
    body = {"model": "gemini-3.8-flash", "input": PROMPT, "webhook_url": hook}
    job = client.post("/v1/jobs", json=body).json()
    return eventually(lambda: one if (one := client.get(job["links"]["self"]).json())["finished_at"] else None)


def _verified(client: httpx2.Client, receiver: Receiver) -> Any:
    eventually(lambda: receiver.got, what="the webhook")
    secret = client.get("/v1/webhook-secret").json()["secret"]
    headers, body = receiver.got[0]
    Webhook(secret).verify(body, headers)
    return json.loads(body)


def _flower(project: Project, user: str) -> int:
    name, _, password = user.partition(":")
    url = f"http://127.0.0.1:{project.swaps['5555']}/workers"
    return httpx2.get(url, auth=(name, password), timeout=PATIENCE_S).status_code
