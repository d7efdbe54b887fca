"""The supervisor of `nightdesk up`: restarts, hopeless parts, the order and the bounds of stopping."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen
from time import monotonic

import psutil
import pytest

from tests.waiting import PATIENCE_S
from worker.dev.interrupts import ENDING, Interrupts
from worker.dev.logs import Log
from worker.dev.supervisor import TRIES, Part, PartFailed, Supervisor
from worker.dev.tether import spawn

RUNS = "import time; time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


class Bench:
    """A supervisor with parts that are one line of Python each."""

    def __init__(self, folder: Path, interrupts: Interrupts) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.supervisor = Supervisor(interrupts, self.said.append)
        self.started: dict[str, list[int]] = {}
        self.ended: list[str] = []

    def add(self, name: str, code: str, *, rank: int = 0, stop_s: float = PATIENCE_S, ready_word: str = "") -> None:
        """Start a part; with a word it is ready once it has written that."""
        log = Log(self.folder / f"{name}.log")

        def launch() -> Popen[bytes]:
            with log.open() as sink:
                child = spawn([sys.executable, "-c", code], stdout=sink, stderr=sink)
            self.started.setdefault(name, []).append(child.pid)
            return child

        def is_ready(_pid: int) -> bool:
            return not ready_word or ready_word in log.tail(10)

        self.supervisor.add(Part(name=name, launch=launch, is_ready=is_ready, log=log, rank=rank, stop_s=stop_s))


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    with Interrupts() as counted:
        yield counted


@pytest.fixture
def bench(tmp_path: Path, interrupts: Interrupts) -> Iterator[Bench]:
    made = Bench(tmp_path, interrupts)
    yield made
    made.supervisor.stop()


def test_a_part_that_cannot_start_is_named_with_its_last_words(bench: Bench) -> None:
    bench.add("api", "raise SystemExit('nightdesk: a setting is bad')", ready_word="ready")

    with pytest.raises(PartFailed, match=r"(?s)^api does not start.*api\.log.*nightdesk: a setting is bad"):
        bench.supervisor.await_ready(PATIENCE_S)

    assert len(bench.started["api"]) == TRIES


def test_a_part_that_refuses_its_settings_is_not_tried_again(bench: Bench) -> None:
    bench.add("api", "print('nightdesk: no', flush=True); raise SystemExit(2)", ready_word="ready")

    with pytest.raises(PartFailed, match="nightdesk: no"):
        bench.supervisor.await_ready(PATIENCE_S)

    assert len(bench.started["api"]) == 1


def test_a_part_that_is_never_ready_is_named(bench: Bench) -> None:
    bench.add("api", RUNS, ready_word="ready")

    with pytest.raises(PartFailed, match=r"^api is not ready after 0\.2 s"):
        bench.supervisor.await_ready(0.2)


def test_a_part_that_stumbles_at_its_start_gets_another_try(bench: Bench, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    stumbles = f"import pathlib, time\nmark = pathlib.Path({str(mark)!r})\nmark.exists() or (mark.touch(), exit(1))\n"
    bench.add("api", stumbles + "print('ready', flush=True)\ntime.sleep(600)", ready_word="ready")

    assert bench.supervisor.await_ready(PATIENCE_S)

    assert len(bench.started["api"]) == 2


def test_a_request_to_end_ends_the_waiting_for_readiness(bench: Bench, interrupts: Interrupts) -> None:
    bench.add("api", RUNS, ready_word="ready")

    os.kill(os.getpid(), signal.SIGTERM)

    assert not bench.supervisor.await_ready(PATIENCE_S)
    assert interrupts.asked == 1


def test_what_serves_others_is_stopped_after_them(bench: Bench, tmp_path: Path) -> None:
    order = tmp_path / "order"
    notes = (
        "import signal, sys, time\n"
        "def end(*_): open({path!r}, 'a').write('{name} '); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\nprint('ready', flush=True)\ntime.sleep(600)"
    )
    bench.add("redis", notes.format(path=str(order), name="redis"), rank=1, ready_word="ready")
    bench.add("worker", notes.format(path=str(order), name="worker"), ready_word="ready")
    bench.supervisor.await_ready(PATIENCE_S)

    bench.supervisor.stop()

    assert order.read_text().split() == ["worker", "redis"]


def test_a_part_that_does_not_obey_is_killed_in_time(bench: Bench) -> None:
    bench.add("worker", DEAF, stop_s=0.3, ready_word="deaf")
    bench.supervisor.await_ready(PATIENCE_S)
    began = monotonic()

    bench.supervisor.stop()

    assert monotonic() - began < PATIENCE_S
    assert not psutil.pid_exists(bench.started["worker"][0])


def test_a_second_request_ends_the_waiting_for_a_slow_part(bench: Bench, interrupts: Interrupts) -> None:
    bench.add("worker", DEAF, stop_s=600, ready_word="deaf")
    bench.supervisor.await_ready(PATIENCE_S)
    interrupts.asked = 2

    bench.supervisor.stop()

    assert not psutil.pid_exists(bench.started["worker"][0])


def test_a_ctrl_c_that_a_wrapper_passes_on_counts_once(interrupts: Interrupts) -> None:
    # Let in together: between two calls of `kill` this process may stand still.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)

    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    interrupts.wait(1)

    assert interrupts.asked == 1


def test_the_handlers_of_before_are_back_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)

    with Interrupts():
        assert signal.getsignal(signal.SIGTERM) != before

    assert signal.getsignal(signal.SIGTERM) == before


def test_a_log_is_cut_at_its_limit_and_the_part_writes_on(tmp_path: Path) -> None:
    log = Log(tmp_path / "api.log", limit_bytes=100)
    with log.open() as sink:
        sink.write(b"old\n" * 50)
        sink.flush()

        log.rotate()
        sink.write(b"new\n")

    assert log.tail(5) == ["new"]
    assert (tmp_path / "api.log.1").read_bytes() == b"old\n" * 50


def test_the_last_words_are_those_of_the_last_start(tmp_path: Path) -> None:
    log = Log(tmp_path / "api.log")
    with log.open() as sink:
        sink.write(b"of the first\n")

    with log.open() as sink:
        sink.write(b"of the second\n")

    assert log.tail(5) == ["of the second"]
