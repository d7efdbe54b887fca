"""The command line against a whole service: real processes, and the command itself run in this one."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.integration.cli.lossy import Lossy
from tests.stack import Stack
from worker.cli import main
from worker.dev.simulator import Control

QUICK = {"NIGHTDESK_POLL_MODEL_START_S": "0.1", "NIGHTDESK_POLL_MODEL_CAP_S": "0.3"}


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str


class Nightdesk:
    """Runs `nightdesk …` with chosen variables and nothing else of this machine's settings."""

    def __init__(self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self._patch = patch
        self._capture = capture

    def __call__(self, *words: str, stdin: str = "") -> Ran:
        self._patch.setattr(sys, "argv", ["nightdesk", *words])
        self._patch.setattr(sys, "stdin", StringIO(stdin))
        self._capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = self._capture.readouterr()
        code = ended.value.code
        return Ran(code if isinstance(code, int) else 0, said.out, said.err)

    def set(self, **variables: str) -> None:
        for name, value in variables.items():
            self._patch.setenv(name, value)


class Service:
    """A running service and its API, asked without the command line."""

    def __init__(self, url: str, key: str, simulator_url: str) -> None:
        self.url = url
        self.key = key
        self.upstream = Control(simulator_url)
        self._client = httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30)

    def get(self, path: str) -> Any:
        return self._client.get(path).json()

    def post(self, path: str, body: Any = None) -> Any:
        return self._client.post(path, json=body).json()

    def job(self, job_id: str, wait_s: int = 0) -> Any:
        return self.get(f"/v1/jobs/{job_id}?wait={wait_s}")

    def cancel(self, job_id: str) -> None:
        """End a job that a test left running: a worker that stops would wait for its poll."""
        self.post(f"/v1/jobs/{job_id}/cancel")

    def close(self) -> None:
        self._client.close()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all tests; a run of a model takes 0.2 s."""
    with Stack(tmp_path_factory.mktemp("service"), simulator={"speed": 10}, env=QUICK) as stack:
        running = Service(stack.url, stack.key, stack.simulator_url)
        yield running
        running.close()


@pytest.fixture
def bare_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def bare(bare_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nightdesk:
    """The command in an empty folder, told nothing."""
    assert not any(bare_folder.iterdir())
    return Nightdesk(monkeypatch, capsys)


@pytest.fixture
def nightdesk(bare: Nightdesk, service: Service) -> Nightdesk:
    """The command, told where the service is."""
    bare.set(NIGHTDESK_URL=service.url, NIGHTDESK_API_KEY=service.key)
    return bare


@pytest.fixture
def lossy(service: Service) -> Iterator[Lossy]:
    """A way to the service that loses answers."""
    with Lossy(service.url) as way:
        yield way
