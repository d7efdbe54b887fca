"""What a test asks of a whole installation: to order jobs, to pause gates, and what the upstream saw of it."""

import json
import os
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2

from tests.stack import Stack
from tests.waiting import PATIENCE_S, eventually
from worker.dev.simulator import Control

DONE_S = 120.0


class Desk:
    """A client and an operator of one stack. Jobs are told apart upstream by their label `lane`."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.control = Control(stack.simulator_url)

    def lane(self, name: str) -> str:
        """A label that no other test has."""
        return f"{name}-{secrets.token_hex(4)}"

    def submit(self, many: int, lane: str, *, key: str | None = None, **fields: Any) -> list[str]:
        """Order jobs in one batch; gives back their ids."""
        body = {"model": "gemini-3.8-flash", "input": "Say hello.", "labels": {"lane": lane}} | fields
        answer = self._ask("POST", "/v1/jobs/batch", key, json={"jobs": [body] * many})
        assert answer.status_code == 202, answer.text
        return [job["id"] for job in answer.json()["data"]]

    def job(self, job_id: str, key: str | None = None) -> dict[str, Any]:
        """The job as the API shows it."""
        shown: dict[str, Any] = self._ask("GET", f"/v1/jobs/{job_id}", key).json()
        return shown

    def statuses(self, job_ids: list[str]) -> Counter[str]:
        """How many of these jobs stand how."""
        return Counter(self.job(job_id)["status"] for job_id in job_ids)

    def await_completed(self, job_ids: list[str]) -> None:
        """Wait until all of these jobs have completed."""
        eventually(lambda: self.statuses(job_ids) == {"completed": len(job_ids)}, within_s=DONE_S)

    def ready(self) -> dict[str, Any]:
        """What `/readyz` says."""
        report: dict[str, Any] = self._ask("GET", "/readyz").json()
        return report

    def closed(self, target: str) -> dict[str, Any] | None:
        """What `/readyz` says of this target's gate; None: it is open."""
        shut = self.ready()["checks"]["gates"]["closed"]
        return next((gate for gate in shut if gate["target"] == target), None)

    def metrics(self) -> list[str]:
        """The lines of `/metrics`."""
        return self._ask("GET", "/metrics").text.splitlines()

    def command(self, *words: str) -> str:
        """What `nightdesk` prints beside this stack."""
        environment = {**self.stack.environment, "PATH": os.environ["PATH"]}
        command = [sys.executable, "-m", "worker.cli", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        return done.stdout.strip()

    def created(self, *lanes: str) -> list[dict[str, Any]]:
        """The upstream's interactions of these lanes, in the order in which they were made."""
        return [one for one in self.control.interactions() if one["labels"].get("lane") in lanes]

    def places(self, created: list[dict[str, Any]], lane: str) -> list[int]:
        """At which places of such a log the creates of one lane stand."""
        return [place for place, one in enumerate(created) if one["labels"]["lane"] == lane]

    def await_created(self, number: int, *lanes: str) -> list[dict[str, Any]]:
        """The same, as soon as there are so many."""
        eventually(lambda: len(self.created(*lanes)) >= number, within_s=DONE_S)
        return self.created(*lanes)

    def steps(self, event: str) -> Iterator[dict[str, Any]]:
        """The lines of all workers' logs about one kind of step."""
        for log in self.stack.folder.glob("worker-*.log"):
            # What is still being written has no end of line yet.
            for line in log.read_text().split("\n")[:-1]:
                told = json.loads(line) if line.startswith("{") else {}
                if told.get("event") == event:
                    yield told

    def _ask(self, method: str, path: str, key: str | None = None, **given: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else self.stack.headers
        return httpx2.request(method, f"{self.stack.url}{path}", headers=headers, timeout=PATIENCE_S, **given)
