"""Counts what the simulator was asked and what it answered. Counters only; bounded."""

from collections import Counter
from typing import Any

_LIMIT = 200_000
DROPPED = 0
"""The status under which calls count that never got an answer."""


class Stats:
    """Calls by status, and the POSTs and accepted creates of each prompt and label."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start again from zero."""
        self.calls: dict[str, dict[int, int]] = {}
        self.faults: Counter[str] = Counter()
        self.posts: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        self.labels: Counter[str] = Counter()

    def answered(self, call: str, status: int) -> None:
        """Count one call by the status of its answer."""
        by_status = self.calls.setdefault(call, {})
        by_status[status] = by_status.get(status, 0) + 1

    def posted(self, prompt_hash: str, labels: Any) -> None:
        """Count one create that arrived, whatever becomes of it."""
        _count(self.posts, prompt_hash)
        for key, value in (labels if isinstance(labels, dict) else {}).items():
            _count(self.labels, f"{key}={value}")

    def took(self, prompt_hash: str) -> None:
        """Count one interaction that was made."""
        _count(self.accepted, prompt_hash)

    def as_json(self) -> dict[str, Any]:
        """Return everything that was counted."""
        calls = {
            call: {"dropped" if status == DROPPED else str(status): n for status, n in by_status.items()}
            for call, by_status in self.calls.items()
        }
        prompts = {key: {"posts": n, "created": self.accepted[key]} for key, n in self.posts.items()}
        return {"calls": calls, "faults": dict(self.faults), "prompts": prompts, "labels": dict(self.labels)}


def _count(counter: Counter[str], key: str) -> None:
    if key in counter or len(counter) < _LIMIT:
        counter[key] += 1
