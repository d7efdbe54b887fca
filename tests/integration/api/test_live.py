"""Live upstream steps in a job's stream, against the simulator: what is shown, and how it goes on after any break."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from api.follower import Pace
from tests.conftest import MakeSettings
from tests.integration.api.following import following
from tests.integration.api.serving import Server, Tenant, serving, start_one
from tests.waiting import eventually
from worker.dev.simulator import Options, SimulatorServer
from worker.flow import poll
from worker.retry import Backoff
from worker.states import TERMINAL
from worker.store import jobs

LONG_S = 1000
TEXT = "Owls hunt by ear. " * 40
PACE = Pace(silence_s=20, resumed_silence_s=0.5, seek_s=0.5, again=Backoff(0.02, 1, 0.02))

Open = Callable[..., Server]


@pytest.fixture(scope="module")
def upstream() -> Iterator[SimulatorServer]:
    with SimulatorServer(Options()) as server:
        yield server


@pytest.fixture(autouse=True)
def _as_new(upstream: SimulatorServer) -> None:
    upstream.control.reset()


@pytest.fixture
def start(own_settings: MakeSettings, upstream: SimulatorServer) -> Iterator[Open]:
    """Starts API processes on one database, as many as are asked for."""
    with ExitStack() as opened:

        def start(**chosen: Any) -> Server:
            given = {"pace": PACE} | chosen
            return opened.enter_context(serving(own_settings(gemini_base_url=upstream.url), **given))

        yield start


def begin(server: Server, tenant: Tenant, directives: str = "", **fields: object) -> str:
    """A job whose run takes long, unless the simulator's clock is moved."""
    prompt = f"Tell [[sim: duration={LONG_S} text='{TEXT}']]{directives}"
    job_id: str = tenant.submit(input=prompt, **fields)["id"]
    assert start_one(server.context, job_id) == "started"
    return job_id


def finish(server: Server, upstream: SimulatorServer, job_id: str) -> None:
    """Let the run end, and play the worker that sees it."""
    upstream.control.advance(LONG_S)

    def has_ended() -> bool:
        poll.run(server.context)
        with server.context.database.read() as session:
            job = jobs.get(session, job_id)
        return job is not None and job.status in TERMINAL

    eventually(has_ended, within_s=20)


def test_live_steps_come_between_the_stored_events(start: Open, upstream: SimulatorServer) -> None:
    server = start()
    tenant = server.tenant()
    job_id = begin(server, tenant)

    with following(tenant, job_id) as follower:
        eventually(lambda: follower.stored == ["job.created", "job.started"])
        upstream.control.advance(LONG_S / 2)
        eventually(lambda: len(follower.live) > 3)
        half = follower.text
        upstream.control.advance(LONG_S / 2)
        eventually(lambda: follower.text == TEXT)
        finish(server, upstream, job_id)

    assert 0 < len(half) < len(TEXT)
    assert follower.stored == ["job.created", "job.started", "job.completed"]
