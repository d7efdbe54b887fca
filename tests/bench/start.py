"""Start: how long after its commit a job's interaction exists upstream, with one worker and 50 ms to the upstream."""

from datetime import datetime
from functools import partial
from pathlib import Path

import httpx2

from tests.bench.machine import spread
from tests.stack import Stack
from tests.waiting import eventually

JOBS = 200
LATENCY_S = 0.05


def run(folder: Path, database_url: str = "") -> str:
    """One job alone, then 200 in one batch."""
    with Stack(folder, database_url, simulator={"latency_s": LATENCY_S, "model_s": 600}) as stack:
        alone = _lags_s(stack, 1)
        together = _lags_s(stack, JOBS)
    return f"alone {alone[0] * 1000:.0f} ms; {JOBS} at once {spread(together, 'ms', 1000)}"


def _lags_s(stack: Stack, number: int) -> list[float]:
    body = {"model": "gemini-3.8-flash", "input": "Say hello."}
    answer = httpx2.post(
        f"{stack.url}/v1/jobs/batch", json={"jobs": [body] * number}, headers=stack.headers, timeout=30
    )
    accepted = [job["id"] for job in answer.raise_for_status().json()["data"]]
    jobs = [eventually(partial(_started, stack, name), within_s=120) for name in accepted]
    return [_moment(job["started_at"]) - _moment(job["created_at"]) for job in jobs]


def _started(stack: Stack, job_id: str) -> dict[str, str]:
    answer = httpx2.get(f"{stack.url}/v1/jobs/{job_id}", headers=stack.headers, timeout=10)
    job: dict[str, str] = answer.raise_for_status().json()
    return job if job["interaction_id"] else {}


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
