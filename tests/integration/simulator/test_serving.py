"""The simulator as a process and as a file: restart, SIGKILL, SIGTERM, and that it stands on its own."""

import ast
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import worker.dev.simulator
from tests.integration.simulator.conftest import client_of
from worker.dev.simulator import Options, SimulatorServer

MODEL, AGENT = "gemini-3.8-flash", "deep-research-preview-04-2026"
Start = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the simulator as a process of its own: the process and its URL."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-m", "worker.dev.simulator", "--port", "0", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().split()[3].rstrip(",")

    yield start
    for process in started:
        process.kill()
        process.wait(60)
        if process.stdout is not None:
            process.stdout.close()


def test_a_restart_keeps_interactions_cancels_deletes_and_the_clock(tmp_path: Path) -> None:
    options = Options(state_path=tmp_path / "state" / "journal")
    with SimulatorServer(options) as sim, client_of(sim.url) as client:
        kept = client.interactions.create(agent=AGENT, input="Look into tea", background=True)
        stopped = client.interactions.create(agent=AGENT, input="Look into tea", background=True)
        gone = client.interactions.create(agent=AGENT, input="Look into tea", background=True)
        client.interactions.cancel(stopped.id)
        client.interactions.delete(gone.id)
        sim.control.advance(100)
        report = client.interactions.get(kept.id)

    for _ in range(2):
        with SimulatorServer(options) as sim, client_of(sim.url) as client:
            assert client.interactions.get(kept.id) == report
            assert client.interactions.get(stopped.id).status == "cancelled"
            assert [entry["deleted"] for entry in sim.control.interactions()] == [False, False, True]


def test_a_restart_keeps_what_was_directed(tmp_path: Path) -> None:
    options = Options(state_path=tmp_path / "journal")
    with SimulatorServer(options) as sim, client_of(sim.url) as client:
        failed = client.interactions.create(model=MODEL, input="x", background=True)
        sim.control.direct(failed.id, status="failed", code="safety", finish=True)
        throttled = client.interactions.create(model=MODEL, input="x [[sim: get=404 times=9]]", background=True)

    with SimulatorServer(options) as sim, client_of(sim.url) as client:
        assert client.interactions.get(failed.id).errors[0].code == "safety"
        with pytest.raises(Exception, match="404"):
            client.interactions.get(throttled.id)


def test_sigkill_loses_nothing_that_was_answered(start: Start, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    process, url = start("--state", str(journal))
    with client_of(url) as client:
        made = [client.interactions.create(model=MODEL, input=f"x {n}", background=True).id for n in range(5)]
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    with journal.open("ab") as file:
        file.write(b'{"what": "record", "rec')

    with SimulatorServer(Options(state_path=journal)) as sim:
        assert [entry["id"] for entry in sim.control.interactions()] == made


def test_sigterm_ends_the_process_cleanly_even_while_a_client_waits(start: Start) -> None:
    process, url = start()
    with client_of(url) as client:
        stream = client.interactions.create(agent=AGENT, input="Look into tea", background=True, stream=True)
        next(stream)

        process.send_signal(signal.SIGTERM)

        assert process.wait(60) == 0
        stream.close()


def test_a_port_in_use_is_reported_where_the_server_was_entered() -> None:
    with SimulatorServer() as first:
        port = int(first.url.rsplit(":", 1)[1])

        with pytest.raises(RuntimeError), SimulatorServer(Options(port=port)):
            pass


def test_without_control_there_are_no_control_calls() -> None:
    with SimulatorServer(Options(control=False)) as sim, pytest.raises(Exception, match="Method not found"):
        sim.control.stats()


def test_the_simulator_imports_nothing_of_the_service() -> None:
    package = Path(worker.dev.simulator.__path__[0])
    imported = {
        name
        for file in package.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom | ast.Import)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }

    ours = {name for name in imported if name.split(".")[0] in ("worker", "api", "tests")}

    assert {name for name in ours if not name.startswith("worker.dev.simulator")} == set()
    assert "worker.dev.simulator.app" in ours
