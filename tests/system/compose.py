"""`docker-compose.yml` as Compose reads it, and its own services as processes of this machine: no engine is needed."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.waiting import eventually
from worker.dev.tether import spawn

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
EXAMPLE = ROOT / "deploy" / "nightdesk.env.example"
IMAGE = re.compile(r"nightdesk:.+")
VARIABLE = re.compile(r"\$\{(\w+):\?[^}]+\}")
HEALTHY_S = 120
STALL_S = 30
"""How much longer than its grace a service may take: the machine may stand still, and Compose would kill it."""

PAUSE_S = 0.3
COMPLETED, HEALTHY = "service_completed_successfully", "service_healthy"


def read(**variables: str) -> dict[str, Any]:
    """The whole file; variables must all be there, as Compose demands of those with `:?`."""
    content: dict[str, Any] = yaml.safe_load(VARIABLE.sub(lambda found: variables[found[1]], FILE.read_text()))
    return content


def own(services: Mapping[str, Any]) -> dict[str, Any]:
    """The services that run our image."""
    return {name: service for name, service in services.items() if IMAGE.fullmatch(service["image"])}


def seconds(text: str) -> int:
    """A Compose duration in whole seconds."""
    found = re.fullmatch(r"(\d+)s", text)
    assert found, text
    return int(found[1])


@dataclass
class Project:
    """Services as processes: `swaps` has what stands in the file for what stands for it on this machine."""

    services: Mapping[str, Any]
    folder: Path
    installed: Path
    env_file: Mapping[str, str]
    swaps: Mapping[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @contextmanager
    def up(self) -> Iterator[None]:
        """Start all in their order, each when what it depends on is as it demands; kills what is left at the end."""
        order = TopologicalSorter({name: service.get("depends_on", {}) for name, service in self.services.items()})
        try:
            for name in order.static_order():
                if name in own(self.services):
                    for needed, demand in self.services[name].get("depends_on", {}).items():
                        self._await(needed, demand["condition"])
                    self._start(name)
            yield
        finally:
            for process in self.processes.values():
                process.kill()
                process.wait()

    def await_healthy(self, name: str) -> None:
        """Ask a service's own health check until it is content."""
        eventually(lambda: self._is_healthy(name), within_s=HEALTHY_S, what=f"the health of {name}")

    def down(self) -> dict[str, int]:
        """Ask all that run to end, as Compose does, and give each its grace; the exit codes."""
        living = {name: process for name, process in self.processes.items() if process.poll() is None}
        for process in living.values():
            process.terminate()
        return {name: process.wait(self._grace_s(name) + STALL_S) for name, process in living.items()}

    def said(self, name: str) -> str:
        """What a service wrote."""
        return (self.folder / f"{name}.log").read_text()

    def _await(self, name: str, condition: str) -> None:
        if name not in own(self.services):
            assert condition == HEALTHY, "a server that a fixture runs"
        elif condition == COMPLETED:
            assert self.processes[name].wait(HEALTHY_S) == 0, self.said(name)
        else:
            self.await_healthy(name)

    def _start(self, name: str) -> None:
        command = self._words(["nightdesk", *self.services[name]["command"]])
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = spawn(
                command, cwd=self.folder, env=self._environment(name), stdout=log, stderr=subprocess.STDOUT
            )

    def _is_healthy(self, name: str) -> bool:
        # Between two checks it may fail; asking without a pause would take the processor from who starts.
        with suppress(subprocess.TimeoutExpired):
            self.processes[name].wait(PAUSE_S)
            pytest.fail(f"{name} ended: {self.said(name)}", pytrace=False)
        check = self.services[name]["healthcheck"]
        how, *command = check["test"]
        assert how == "CMD"
        try:
            done = subprocess.run(
                self._words(command),
                cwd=self.folder,
                env=self._environment(name),
                capture_output=True,
                timeout=seconds(check["timeout"]),
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def _words(self, command: list[str]) -> list[str]:
        programs = {"python": sys.executable, "nightdesk": str(Path(sys.executable).with_name("nightdesk"))}
        program, *words = command
        return [programs[program], *map(self._swapped, words)]

    def _environment(self, name: str) -> dict[str, str]:
        given = {variable: self._swapped(value) for variable, value in self.services[name]["environment"].items()}
        return {**os.environ, "PYTHONPATH": str(self.installed), **self.env_file, **given}

    def _swapped(self, text: str) -> str:
        return re.sub("|".join(map(re.escape, self.swaps)), lambda found: self.swaps[found[0]], text)

    def _grace_s(self, name: str) -> int:
        return seconds(self.services[name].get("stop_grace_period", "10s"))
