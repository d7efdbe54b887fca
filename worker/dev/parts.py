"""The parts of the stack: how each is started, and how one knows that it is ready."""

import socket
import sys
from collections.abc import Callable
from subprocess import Popen

from worker.app import FAILURES, build
from worker.dev import ports
from worker.dev.logs import Log
from worker.dev.redis import EmbeddedRedis
from worker.dev.supervisor import Part
from worker.dev.surroundings import Surroundings
from worker.dev.tether import spawn
from worker.settings import Settings

SERVED, SERVING = 0, 1
"""Ranks: what still works is stopped before what serves it."""
WORKER_STOP_S = 35.0
"""Longer than a create may take: one that is under way, and billed, still gets its answer recorded."""
PING_S = 0.5


def redis(server: EmbeddedRedis, around: Surroundings) -> Part:
    """The embedded Redis."""
    log = Log(around.logs / "redis.log")
    return Part(name="redis", launch=server.spawn, is_ready=lambda _: server.answers(), log=log, rank=SERVING)


def simulator(port: int, around: Surroundings) -> Part:
    """The Gemini simulator, whose runs survive a restart."""
    journal = around.data_dir / "simulator.journal"
    command = ("-m", "worker.cli", "simulator", f"--port={port}", f"--state={journal}")
    return _part("simulator", command, around, _opens(ports.LOOPBACK, port, "/_sim/stats"), rank=SERVING)


def receiver(around: Surroundings) -> Part:
    """The page that shows webhooks."""
    port = around.receiver_port
    command = ("-m", "worker.dev.receiver", f"--host={ports.LOOPBACK}", f"--port={port}")
    is_ready = _opens(ports.LOOPBACK, port, "/healthz")
    return _part("receiver", command, around, is_ready, rank=SERVING)


def api(around: Surroundings) -> Part:
    """The HTTP API; ready when it reaches the database."""
    host, port = around.options.host, around.options.port
    return _part("api", ("-m", "api", f"--host={host}", f"--port={port}"), around, _opens(host, port, "/readyz"))


def flower(around: Surroundings) -> Part:
    """The view of queues and tasks."""
    host, port = around.options.host, around.options.flower_port
    command = ("-m", "worker.cli", "flower", f"--host={host}", f"--port={port}")
    return _part("flower", command, around, _opens(host, port, "/healthcheck"))


def workers(around: Surroundings) -> list[Part]:
    """As many workers as were asked for; ready when they take commands."""
    is_ready = _pongs(around.settings)
    return [
        _part(f"worker-{number}", ("-m", "worker.cli", "worker"), around, is_ready, stop_s=WORKER_STOP_S)
        for number in range(1, around.options.workers + 1)
    ]


def _part(
    name: str,
    command: tuple[str, ...],
    around: Surroundings,
    is_ready: Callable[[int], bool],
    *,
    rank: int = SERVED,
    stop_s: float = 10.0,
) -> Part:
    log = Log(around.logs / f"{name}.log")

    def launch() -> Popen[bytes]:
        with log.open() as sink:
            return spawn([sys.executable, *command], stdout=sink, stderr=sink, env=around.environment)

    return Part(name=name, launch=launch, is_ready=is_ready, log=log, rank=rank, stop_s=stop_s)


def _opens(host: str, port: int, path: str) -> Callable[[int], bool]:
    return lambda _pid: ports.serves(host, port, path)


def _pongs(settings: Settings) -> Callable[[int], bool]:
    """Whether the worker with a process id answers; `worker.process` puts the id into the worker's name."""
    app = build(settings, sends=True)

    def pongs(pid: int) -> bool:
        try:
            return bool(app.control.ping([f"nightdesk.{pid}@{socket.gethostname()}"], timeout=PING_S))
        except FAILURES:
            return False

    return pongs
