"""A whole installation as real processes on loopback: Redis, a simulator, the API and workers, on a given database.

For benchmarks and proofs under fire. It ends only what it started, and nothing of it outlives this process.
Use it from the main thread: Linux takes the end of the thread that spawned a process for the end of its parent.
"""

import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self

import httpx2
import psutil

from tests.waiting import eventually
from worker.database import Database, upgrade
from worker.dev.redis import EmbeddedRedis
from worker.dev.tether import spawn
from worker.settings import Settings

READY_S = 120.0
STOP_S = 15.0
END_S = 90.0
"""What a worker may take to end after SIGTERM: a round, the answers that it awaits, and a slow machine."""

RESTART_S = 1.0
"""How long a process that died stays away, as under a supervisor."""

FOREIGN = ("NIGHTDESK_", "GEMINI_", "GOOGLE_")
PORTS = range(10_000, 30_000, 10)
"""None of those that the system hands out: somebody's outgoing connection would soon have it. Every tenth: what
`nightdesk up` runs beside its API takes the next ones."""

SIMULATE = """
import ast, sys
from pathlib import Path
from worker.dev.simulator import Options, run
options = ast.literal_eval(sys.argv[1])
if "state_path" in options:
    options["state_path"] = Path(options["state_path"])
run(Options(**options))
"""


SHARES = 20

_given = deque[int](maxlen=50)
"""Between the choice of a port and its server's start nothing is to be seen there."""


@cache
def _share() -> tuple[range, int]:
    """Ports that this process alone draws from, so that a server started again finds its own free; and their lock."""
    for number in range(SHARES):
        path = Path(tempfile.gettempdir()) / f"nightdesk-tests-{os.getuid()}-{number}.lock"
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return PORTS[number::SHARES], lock
        os.close(lock)
    raise AssertionError(f"{SHARES} processes run tests already")


def free_port() -> int:
    """A TCP port on loopback that nobody has just now, and that no other test on this machine is given."""
    ports, _ = _share()
    while True:
        port = secrets.choice(ports)
        if port in _given:
            continue
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given.append(port)
            return port


def is_listening(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True, slots=True)
class Program:
    """How a process is started."""

    command: list[str]
    environment: Mapping[str, str]


@dataclass
class Stack:
    """Start it with `with`; `env` is added to the environment of API and workers.

    Without `api` there are Redis, a simulator and a migrated database only: the ground for other programs.
    """

    folder: Path
    database_url: str = ""
    workers: int = 1
    simulator: Mapping[str, object] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    api: bool = True

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.key = "nd_" + secrets.token_urlsafe(32)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._programs: dict[str, Program] = {}
        self._died_at: dict[str, float] = {}
        self.redis = EmbeddedRedis(self.folder / "redis")
        self.redis.__enter__()
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self) -> None:
        self.simulator_port = free_port()
        self.simulator_url = f"http://127.0.0.1:{self.simulator_port}"
        self.start_simulator()
        self.api_port = free_port()
        self.url = f"http://127.0.0.1:{self.api_port}"
        self.environment = self._environment()
        database = Database(self.settings.database)
        upgrade(database)
        database.close()
        if self.api:
            self.start_api()
            for number in range(self.workers):
                self.start_worker(number)
            self.await_ready()
        self.await_simulator()

    def _stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        give_up = monotonic() + STOP_S
        for process in self.processes.values():
            try:
                process.wait(max(0.1, give_up - monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self.redis.process is not None:
            self.redis.process.send_signal(signal.SIGCONT)
        self.redis.stop()

    @property
    def settings(self) -> Settings:
        """The settings that every process of the stack has."""
        return Settings(
            data_dir=self.folder,
            database_url=self.environment["NIGHTDESK_DATABASE_URL"],
            redis_url=self.redis.url,
            encryption_key=self.environment["NIGHTDESK_ENCRYPTION_KEY"],
            _env_file=None,
        )

    @property
    def headers(self) -> dict[str, str]:
        """What a client sends with every request."""
        return {"Authorization": f"Bearer {self.key}"}

    def _environment(self) -> dict[str, str]:
        return {
            "NIGHTDESK_DATA_DIR": str(self.folder),
            "NIGHTDESK_DATABASE_URL": self.database_url or f"sqlite:///{self.folder / 'nightdesk.db'}",
            "NIGHTDESK_REDIS_URL": self.redis.url,
            "NIGHTDESK_ENCRYPTION_KEY": "a key of no value, for a stack",
            "NIGHTDESK_BOOTSTRAP_API_KEY": self.key,
            "NIGHTDESK_GEMINI_API_KEY": "simulated",
            "NIGHTDESK_GEMINI_BASE_URL": self.simulator_url,
            "NIGHTDESK_PUBLIC_URL": self.url,
            "NIGHTDESK_WEBHOOK_ALLOW_NETWORKS": "127.0.0.0/8",
            "NIGHTDESK_WEBHOOK_ALLOW_HTTP": "true",
            "NIGHTDESK_WEBHOOK_ALLOW_PORTS": "any",
            "NIGHTDESK_RATE_LIMIT_SUBMIT": "1000000",
            "NIGHTDESK_RATE_LIMIT_READ": "1000000",
            "NIGHTDESK_LOG_FORMAT": "json",
            "NIGHTDESK_LOG_LEVEL": "warning",
            **self.env,
        }

    def start_simulator(self, **chosen: object) -> None:
        """Start the simulator on its port; options go over those of the stack."""
        options = {"port": self.simulator_port, "max_interactions": 1_000_000, **self.simulator, **chosen}
        self.spawn("simulator", [sys.executable, "-c", SIMULATE, repr(options)], {})

    def start_api(self) -> None:
        """Start the API."""
        command = [sys.executable, "-m", "api", "--host", "127.0.0.1", "--port", str(self.api_port)]
        self.spawn("api", command, self.environment)

    def start_worker(self, number: int = 0) -> None:
        """Start worker `number`."""
        self.spawn(f"worker-{number}", [sys.executable, "-m", "worker.cli", "worker"], self.environment)

    def spawn(self, name: str, command: list[str], environment: Mapping[str, str]) -> None:
        """Start a process of the stack; its output goes to `<name>.log`."""
        self._programs[name] = Program(command, environment)
        self.start(name)

    def start(self, name: str) -> None:
        """Start a process again that was spawned before and has ended."""
        program = self._programs[name]
        clean = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
        with (self.folder / f"{name}.log").open("ab") as log:
            environment = {**clean, **program.environment}
            self.processes[name] = spawn(program.command, env=environment, stdout=log, stderr=log)

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to one process; waits for its end where the signal ends it."""
        self.processes[name].send_signal(how)
        if how in {signal.SIGKILL, signal.SIGTERM}:
            self.processes[name].wait(END_S)

    def mend(self, *absent: str) -> dict[str, int]:
        """Start what died a second ago, but for those that are to stay away; gives back their exit statuses by name."""
        now, started = monotonic(), {}
        for name, process in list(self.processes.items()):
            if process.poll() is None or name in absent:
                self._died_at.pop(name, None)
            elif now - self._died_at.setdefault(name, now) >= RESTART_S:
                started[name] = process.returncode
                self.start(name)
        return started

    def kill_redis(self) -> None:
        """End Redis as the kernel would for want of memory; its data stay on the disk as they are."""
        assert self.redis.process is not None
        self.redis.process.kill()
        self.redis.process.wait()

    def start_redis(self) -> None:
        """Start Redis again on the data it has."""
        self.redis.spawn()
        eventually(self.redis.answers, within_s=READY_S, what="Redis's start")

    def await_simulator(self) -> None:
        """Wait until the simulator takes calls."""
        eventually(lambda: is_listening(self.simulator_port), within_s=READY_S, what="the simulator's start")

    def await_ready(self) -> None:
        """Wait until the API answers and a worker has swept."""
        eventually(self._is_ready, within_s=READY_S, what="the start of API and workers")

    def _is_ready(self) -> bool:
        for name, process in self.processes.items():
            assert process.poll() is None, f"{name} ended: {(self.folder / f'{name}.log').read_text()[-2000:]}"
        try:
            ready = httpx2.get(f"{self.url}/readyz", timeout=2)
        except httpx2.HTTPError:
            return False
        return ready.status_code == 200 and (ready.json()["status"] == "ok" or self.workers == 0)

    def cpu_s(self, *prefixes: str) -> float:
        """CPU seconds that the processes with these names have used."""
        times = [psutil.Process(process.pid).cpu_times() for process in self._named(prefixes)]
        return sum(time.user + time.system for time in times)

    def pss_mib(self, *prefixes: str) -> float:
        """Proportional memory of the processes with these names (shared pages counted once), MiB."""
        return sum(psutil.Process(process.pid).memory_full_info().pss for process in self._named(prefixes)) / 2**20

    def _named(self, prefixes: tuple[str, ...]) -> list[subprocess.Popen[bytes]]:
        return [process for name, process in self.processes.items() if name.startswith(prefixes)]
