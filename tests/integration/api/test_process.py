"""`python -m api`: a process that says what is wrong, serves, and leaves cleanly."""

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from api.__main__ import main
from tests.conftest import ENCRYPTION_KEY
from tests.integration.api.serving import DEAD_REDIS
from tests.waiting import eventually

KEY = "nd_" + "k" * 40


@contextmanager
def process(variables: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "api", *arguments]
    with subprocess.Popen(command, env=os.environ | variables, stderr=subprocess.PIPE) as started:
        try:
            yield started
        finally:
            if started.poll() is None:
                started.kill()


@pytest.fixture
def variables(sqlite_url: str, tmp_path: Path) -> dict[str, str]:
    given = {
        "DATABASE_URL": sqlite_url,
        "DATA_DIR": str(tmp_path),
        "ENCRYPTION_KEY": ENCRYPTION_KEY,
        "LOG_FORMAT": "json",
    }
    given |= {"GEMINI_API_KEY": "none", "REDIS_URL": DEAD_REDIS, "BOOTSTRAP_API_KEY": KEY}
    return {f"NIGHTDESK_{name}": value for name, value in given.items()}


@pytest.fixture
def _log_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def test_it_serves_and_leaves_at_once_when_told_though_a_client_waits(
    variables: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "api.sock"
    transport, headers = httpx2.HTTPTransport(uds=str(path)), {"Authorization": f"Bearer {KEY}"}
    with (
        process(variables, "--uds", str(path)) as started,
        httpx2.Client(base_url="http://nightdesk", headers=headers, transport=transport, timeout=60) as client,
    ):
        eventually(lambda: listens(path), within_s=120)
        job_id = client.post("/v1/jobs", json={"model": "gemini-3.8-flash", "input": "x"}).json()["id"]
        with client.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
            lines = stream.iter_lines()
            assert stream.headers.get("server") is None
            assert next(line for line in lines if line.startswith("id:")) == "id: 1"

            started.send_signal(signal.SIGTERM)

            assert not [line for line in lines if line.startswith("id:")]
        assert started.stderr is not None
        log = started.stderr.read()
        started.wait(60)

    assert started.returncode in {0, -signal.SIGTERM}
    assert b"Traceback" not in log
    assert b"Cancel" not in log


@pytest.mark.usefixtures("_log_as_before")
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("MAX_QUEUED", "many", "NIGHTDESK_MAX_QUEUED"),
        ("MAX_QUEUE", "1", "did you mean NIGHTDESK_MAX_QUEUED?"),
        ("DATABASE_URL", "sqlite:///{}/empty.db", "run `nightdesk migrate` first"),
        ("DATABASE_URL", "postgresql://me:p@ss:canary@db/nightdesk", "NIGHTDESK_DATABASE_URL"),
        ("DATABASE_URL", "postgresql:me:canary@db", "NIGHTDESK_DATABASE_URL"),
        ("DATABASE_URL", "mysql://me:canary@db/nightdesk", "NIGHTDESK_DATABASE_URL"),
        ("REDIS_URL", "redis://:canary#2@redis/0", "NIGHTDESK_REDIS_URL"),
        ("REDIS_URL", "http://:canary@redis", "NIGHTDESK_REDIS_URL"),
        ("REDIS_URL", "", "NIGHTDESK_REDIS_URL"),
        ("ARTIFACTS_URL", "ftp://me:canary@files/x", "NIGHTDESK_ARTIFACTS_URL"),
        ("ENCRYPTION_KEY", "canary", "NIGHTDESK_ENCRYPTION_KEY"),
    ],
)
def test_it_says_what_is_wrong_and_does_not_start(  # noqa: PLR0917
    variables: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
    told: str,
) -> None:
    for variable, given in (variables | {f"NIGHTDESK_{name}": value.format(tmp_path)}).items():
        monkeypatch.setenv(variable, given)

    assert main(["--port", "0"]) == 2

    said = capsys.readouterr().err
    assert told in said
    assert "canary" not in said
