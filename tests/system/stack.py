"""`nightdesk up` as a newcomer starts it, in a folder of its own, and what a test wants to know of it."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from tests.stack import free_port
from tests.waiting import PATIENCE_S, eventually

START_S = 120
STOP_S = 120


class Stack:
    """One running `up`, for `with`; killed with all of its parts at the end, whatever the test did to it."""

    def __init__(self, folder: Path, *options: str, **variables: str) -> None:
        self.folder = folder
        self.port, self.flower_port = free_port(), free_port()
        self._options = (f"--port={self.port}", f"--flower-port={self.flower_port}", *options)
        self._variables = variables
        self.parts: list[psutil.Process] = []

    def __enter__(self) -> Self:
        self.process = start(self.folder, *self._options, **self._variables)
        eventually(self._is_up, within_s=START_S, what="nightdesk up")
        self.parts = psutil.Process(self.process.pid).children(recursive=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        eventually(lambda: not self.living, what="the end of the parts")

    @property
    def banner(self) -> str:
        """What was printed."""
        return (self.folder / "out").read_text()

    @property
    def told(self) -> str:
        """What was said on stderr."""
        return (self.folder / "err").read_text()

    @property
    def api(self) -> str:
        """The API's URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def receiver(self) -> str:
        """The receiver's URL."""
        return self._named(r"Webhooks +(http://\S+)")

    @property
    def key(self) -> str:
        """The API key."""
        return self._named(r"API key +(nd_\S+)")

    @property
    def living(self) -> list[psutil.Process]:
        """The parts that were seen and still run."""
        return [part for part in self.parts if part.is_running() and part.status() != psutil.STATUS_ZOMBIE]

    def part(self, *words: str) -> psutil.Process:
        """The part whose command line has these words."""
        found = [part for part in self.living if all(word in part.cmdline() for word in words)]
        assert len(found) == 1, found
        return found[0]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; gives back the exit status."""
        self.process.send_signal(number)
        return self.process.wait(STOP_S)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """A call of the API."""
        return self.call(f"{self.api}{path}", json.dumps(body).encode())

    def call(self, url: str, data: bytes | None = None) -> Any:
        """GET, or POST of data, with the API key; gives back the JSON."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def _is_up(self) -> bool:
        assert self.process.poll() is None, self.told
        return "Ctrl-C stops everything" in self.banner

    def _named(self, pattern: str) -> str:
        found = re.search(pattern, self.banner)
        assert found, self.banner
        return found[1]


def start(folder: Path, *options: str, **variables: str) -> "subprocess.Popen[bytes]":
    """Start `up` with an almost empty environment; output goes to the files `out` and `err` of the folder."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)} | variables
    command = [sys.executable, "-m", "worker.cli", "up", *options]
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=err)
