"""Rest: the memory of a whole `nightdesk up` that has nothing to do, and how long it takes to be ready."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import psutil

from tests.bench.ground import SQLITE, Ground, let_pass
from tests.stack import free_port
from tests.waiting import eventually

NAMES = ("redis-server", "simulator", "receiver", "flower", "worker", "api")
IDLE_S = 10.0


def run(ground: Ground) -> None:
    """PSS of every process of `nightdesk up`, ten seconds after its banner."""
    ground.report.table("Rest: `nightdesk up` with nothing to do", "ready in s", "PSS MiB", "of which")
    with ground.site(SQLITE) as site:
        ready_s, sizes = _measure(site.folder)
    parts = ", ".join(f"{name} {size:.0f}" for name, size in sizes.items())
    ground.report.row(f"{ready_s:.1f}", f"{sum(sizes.values()):.0f}", parts)


def _measure(folder: Path) -> tuple[float, dict[str, float]]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("NIGHTDESK_", "GEMINI_", "GOOGLE_"))}
    ports = ["--port", str(free_port()), "--flower-port", str(free_port())]
    command = [sys.executable, "-m", "worker.cli", "up", "--data-dir", str(folder), *ports]
    began = perf_counter()
    with (folder / "up.out").open("wb") as out:
        up = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
        try:
            eventually(lambda: b"curl" in (folder / "up.out").read_bytes(), within_s=30)
            ready_s = perf_counter() - began
            let_pass(IDLE_S)
            return ready_s, _sizes(psutil.Process(up.pid))
        finally:
            up.send_signal(signal.SIGTERM)
            up.wait(30)


def _sizes(up: psutil.Process) -> dict[str, float]:
    sizes = {"up": up.memory_full_info().pss / 2**20}
    for child in up.children(recursive=True):
        line = " ".join(child.cmdline())
        name = next((name for name in NAMES if name in line), "other")
        sizes[name] = sizes.get(name, 0) + child.memory_full_info().pss / 2**20
    return sizes
