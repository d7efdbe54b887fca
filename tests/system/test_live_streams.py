"""Live streams of a whole installation: the SDK's creates, a real Celery worker, two API processes, many readers."""

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import httpx2
import pytest

from tests.bench.audience import Audience
from tests.stack import READY_S, Stack, free_port
from tests.streams import Follower
from tests.system.desk import Desk
from tests.waiting import PATIENCE_S, eventually

AGENT = "deep-research-preview-04-2026"
WATCHERS, JOBS = 200, 4
LONG_S, STRIDES = 6_000, 20
"""The runs go on only as somebody moves the upstream's clock, however slow the machine is."""

SEEN_S = 1.0
SLOW_POLLS = {f"NIGHTDESK_POLL_{kind}_{name}_S": "3600" for kind in ("MODEL", "AGENT") for name in ("START", "CAP")}
"""Whatever ends soon was not found by a poll of the schedule."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("live"), env=SLOW_POLLS) as started:
        yield started


@pytest.fixture(scope="module")
def second(stack: Stack) -> str:
    """The URL of another API process on the same database."""
    port = free_port()
    command = [sys.executable, "-m", "api", "--host", "127.0.0.1", "--port", str(port)]
    stack.spawn("api-2", command, stack.environment)
    url = f"http://127.0.0.1:{port}"
    eventually(partial(_is_ready, f"{url}/readyz"), within_s=READY_S, what="the second API")
    return url


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=2).status_code == 200
    except httpx2.HTTPError:
        return False


@contextmanager
def following(stack: Stack, job_id: str, *, url: str = "", **headers: str) -> Iterator[Follower]:
    """A stream that has ended when the block has, by itself or with its server."""
    path = f"{url or stack.url}/v1/jobs/{job_id}/events"
    with (
        httpx2.Client(headers=stack.headers | headers, timeout=PATIENCE_S, trust_env=False) as client,
        client.stream("GET", path) as answer,
    ):
        assert answer.status_code == 200
        follower = Follower(answer)
        yield follower
        eventually(lambda: follower.has_ended, what="the end of the stream")


def run(desk: Desk, **fields: Any) -> str:
    """A job that runs, and says something whenever the upstream's clock is moved."""
    asked = f"Tell of owls. [[sim: duration={LONG_S} size=6kb images=0]]"
    (job_id,) = desk.submit(1, desk.lane("live"), input=asked, **fields)
    eventually(lambda: desk.job(job_id)["status"] == "in_progress", what="the start of the run")
    return job_id


def half_told(desk: Desk, follower: Follower) -> None:
    """Let the run go on to its middle, and see something of it."""
    desk.control.advance(LONG_S / 2)
    eventually(lambda: len(follower.live) > 5, what="live events")


def test_an_agents_thoughts_searches_and_text_come_as_they_are_made(stack: Stack, desk: Desk) -> None:
    thinking = {"type": "deep-research", "thinking_summaries": "auto"}
    job_id = run(desk, model=None, agent=AGENT, agent_config=thinking)

    with following(stack, job_id) as follower:
        half_told(desk, follower)
        running = desk.job(job_id)["status"]
        desk.control.advance(LONG_S)

    job = desk.job(job_id)
    deltas = {one.data["delta"]["type"] for one in follower.live if one.name == "step.delta"}
    assert running == "in_progress"
    assert follower.stored == ["job.created", "job.started", "job.completed"]
    assert {"thought_summary", "google_search_call", "google_search_result", "text"} <= deltas
    assert follower.text == job["output_text"]
    assert job["status"] == "completed", "and no poll of the schedule was due yet"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_stream_goes_on_at_another_process_when_its_own_dies(
    stack: Stack, second: str, desk: Desk, how: signal.Signals
) -> None:
    job_id = run(desk)
    with following(stack, job_id) as before:
        half_told(desk, before)
        stack.kill("api", how)
    shown = before.told

    with following(stack, job_id, url=second, **{"Last-Event-ID": shown[-1].last_id}) as after:
        stack.start("api")
        eventually(partial(_is_ready, f"{stack.url}/readyz"), within_s=READY_S, what="the API again")
        desk.control.advance(LONG_S)

    assert before.stored + after.stored == ["job.created", "job.started", "job.completed"]
    assert not after.resets
    assert before.text + after.text == desk.job(job_id)["output_text"]


def test_two_hundred_watch_one_process(stack: Stack, desk: Desk) -> None:
    job_ids = [run(desk) for _ in range(JOBS)]

    audience = asyncio.run(_watch(stack, desk, job_ids))

    assert len(audience.ends_s) == WATCHERS
    reached = Counter(len(moments) for moments in audience.arrivals.values())
    assert reached[WATCHERS // JOBS] > 20, "deltas reached every watcher of their job"
    assert max(reached) == WATCHERS // JOBS, "and nobody got one twice"
    gets = desk.control.stats()["calls"]["get"]
    assert sum(gets.values()) < 100, "one stream for each job serves all who watch it"


async def _watch(stack: Stack, desk: Desk, job_ids: list[str]) -> Audience:
    audience = Audience()
    for job_id in job_ids:
        url = f"{stack.url}/v1/jobs/{job_id}/events"
        await audience.watch(url, job_id, stack.headers, many=WATCHERS // JOBS)
    await audience.until(begun=WATCHERS, frames=0)
    for _ in range(STRIDES):
        shown = audience.frames
        await asyncio.to_thread(desk.control.advance, LONG_S / STRIDES)
        with suppress(TimeoutError):  # not in every stride is anything said
            await audience.until(frames=shown + 1, within_s=SEEN_S)
    await audience.until(left=WATCHERS)
    return audience
