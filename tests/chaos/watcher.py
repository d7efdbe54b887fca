"""Clients that follow jobs by their event streams, and go on after the last event they saw when they are cut off."""

import threading
from collections import deque
from collections.abc import Iterator, Mapping

import httpx2

THREADS = 6
READ_S = 20.0
"""Longer than the API stays silent: a comment comes every 15 s."""

AGAIN_S = 0.5
Seen = list[tuple[int, str]]
"""The events that a stream told, by sequence and type, in the order in which they came."""


class Watcher:
    """Follows the jobs given to it, a few at a time, each to the end of its stream."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url = url
        self._headers = {**headers, "Accept": "text/event-stream"}
        self._waiting = deque[str]()
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(THREADS)]
        self.seen: dict[str, Seen] = {}
        """By job, whole only where the stream came to its end."""

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def follow(self, job_id: str) -> None:
        """Follow this job, too, as soon as somebody has time."""
        self._waiting.append(job_id)

    def stop(self) -> None:
        """Leave what was not followed yet."""
        self._is_over.set()
        for thread in self._threads:
            thread.join(READ_S * 2)

    def _run(self) -> None:
        timeout = httpx2.Timeout(10, read=READ_S)
        with httpx2.Client(base_url=self._url, headers=self._headers, timeout=timeout) as client:
            while not self._is_over.wait(0.05):
                if self._waiting:
                    self._follow(client, self._waiting.popleft())

    def _follow(self, client: httpx2.Client, job_id: str) -> None:
        seen: Seen = []
        while not self._is_over.is_set():
            try:
                for sequence, kind in _events(client, job_id, seen[-1][0] if seen else 0):
                    seen.append((sequence, kind))
                if seen and _is_last(seen[-1][1]):
                    self.seen[job_id] = seen
                    return
            except httpx2.HTTPError:
                pass
            self._is_over.wait(AGAIN_S)


def _events(client: httpx2.Client, job_id: str, after: int) -> Iterator[tuple[int, str]]:
    told = {"Last-Event-ID": str(after)} if after else {}
    with client.stream("GET", f"/v1/jobs/{job_id}/events", headers=told) as answer:
        fields: dict[str, str] = {}
        for line in answer.iter_lines() if answer.status_code == 200 else ():
            name, _, value = line.partition(": ")
            fields[name] = value
            if not line:
                # Steps of the upstream, told live, have an id with a point in it and are best effort.
                if fields.get("id", "").isdecimal():
                    yield int(fields["id"]), fields["event"]
                fields = {}


def _is_last(kind: str) -> bool:
    return kind not in {"job.created", "job.started", "job.stalled", "job.requires_action"}
