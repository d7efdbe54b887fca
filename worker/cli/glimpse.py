"""What a running job is thinking, doing or saying just now, from its live stream: best effort, beside the long polls.

Read in a thread of its own that ends with the command; where the stream breaks, the last glimpse stays.
"""

import json
import threading
from typing import Any

import httpx2

from worker.cli.connection import Connection
from worker.cli.text import ELLIPSIS, line
from worker.errors import NightdeskError

SHOWN = 40
"""How many characters of what is being written: the latest ones."""


class Glimpse:
    """`latest` is one short line, or nothing yet."""

    def __init__(self, connection: Connection, job_id: str) -> None:
        self._connection = connection
        self._path = f"/v1/jobs/{job_id}/events"
        self._text = ""
        self.latest = ""

    def begin(self) -> None:
        """Start to read."""
        threading.Thread(target=self._read, name="glimpse", daemon=True).start()

    def _read(self) -> None:
        try:
            for told in self._connection.lines(self._path, headers={"Accept": "text/event-stream"}):
                if told.startswith("data: "):
                    self.take(json.loads(told.removeprefix("data: ")))
        except (NightdeskError, httpx2.HTTPError, httpx2.StreamError, RuntimeError, ValueError):
            return

    def take(self, event: dict[str, Any]) -> None:
        """Take the data of one event in."""
        step, delta = event.get("step"), event.get("delta")
        if isinstance(step, dict):
            self._text = ""
            self.latest = line(step["type"]) if str(step.get("type")).endswith("_call") else self.latest
        elif isinstance(delta, dict) and isinstance(delta.get("text"), str):
            self._text = (self._text + delta["text"])[-SHOWN:]
            self.latest = ELLIPSIS + line(self._text)
        elif isinstance(delta, dict) and isinstance(content := delta.get("content"), dict):
            self.latest = line(content.get("text") or "") or self.latest
