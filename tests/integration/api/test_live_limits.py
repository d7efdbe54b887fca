"""Live steps at their limits: too many jobs, readers that are slow or deaf, and a process that leaves."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from api.places import Streams
from tests.conftest import MakeSettings
from tests.integration.api.following import following, glancing
from tests.integration.api.live import LONG_S, PACE, TEXT, Run
from tests.integration.api.serving import Server, Tenant, serving
from tests.waiting import eventually
from worker.dev.simulator import Options, SimulatorServer
from worker.settings import Settings


@pytest.fixture
def upstream() -> Iterator[SimulatorServer]:
    with SimulatorServer(Options()) as server:
        yield server


@pytest.fixture
def own(own_settings: MakeSettings, upstream: SimulatorServer) -> Settings:
    """Settings for a process of this test alone, with that upstream."""
    return own_settings(gemini_base_url=upstream.url)


def test_jobs_beyond_the_limit_of_followers_tell_stored_events_until_there_is_room(
    own: Settings, upstream: SimulatorServer
) -> None:
    with serving(own, pace=PACE, streams=Streams(followed=1, heartbeat_s=0.1)) as server:
        tenant = server.tenant()
        one, other = (
            Run(server, upstream, tenant, f"Tell [[sim: duration={LONG_S} text='{TEXT}']]").start() for _ in range(2)
        )
        with following(tenant, other.job_id) as late:
            with glancing(tenant, one.job_id) as early:
                one.go_on(0.5)
                eventually(lambda: early.live or late.live)
                refused = late if early.live else early
                eventually(lambda: refused.stored == ["job.created", "job.started"])
                assert len(server.desk.live.followed) == 1
            eventually(lambda: late.live, what="live steps where there is room")
            other.end()

    assert late.stored[-1] == "job.completed"


@contextmanager
def tight(own: Settings, **chosen: Any) -> Iterator[Server]:
    """A process whose connections hold little on any machine: what its clients do not take waits in it."""
    with serving(own, pace=PACE, **chosen) as server:
        (listening,) = server.uvicorn.servers[0].sockets
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        yield server


def _ask(connection: socket.socket, server: Server, tenant: Tenant, job_id: str) -> None:
    """Ask for a stream on a connection that holds little, and read nothing."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
    request = f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tenant.token}\r\n\r\n"
    connection.sendall(request.encode())


def test_a_slow_reader_holds_nobody_up_and_gets_what_is_stored(own: Settings, upstream: SimulatorServer) -> None:
    with tight(own, streams=Streams(send_s=120)) as server, socket.socket() as slow:
        tenant = server.tenant()
        job = Run(server, upstream, tenant, f"Tell [[sim: duration={LONG_S} size=2mb]]").start()
        with following(tenant, job.job_id) as quick:
            _ask(slow, server, tenant, job.job_id)
            eventually(lambda: server.desk.live.followed and server.desk.streams.places.open == 2)
            for percent in range(5, 101, 5):
                job.go_on(0.05)
                # After the first tenth an event is less than a percent: the quick one is never far behind.
                eventually(lambda told=1.1 * (percent - 10): len(quick.field("event")) > told)  # type: ignore[misc]
            eventually(lambda: sum(map(len, quick.lines)) > 2_000_000)
            (shared,) = server.desk.live._followers.values()
            kept = shared[0].history._bytes
            job.end()
            content = bytearray()
            while not content.endswith(b"0\r\n\r\n"):
                content += slow.recv(65536)

    assert kept <= 512 * 1024
    assert len(content) < 1_500_000
    assert content.count(b"event: reset\n") >= 1
    assert [content.count(f"event: job.{name}\n".encode()) for name in ("created", "started", "completed")] == [1, 1, 1]
    assert not quick.resets


def test_who_takes_nothing_for_long_loses_its_place(own: Settings, upstream: SimulatorServer) -> None:
    with tight(own, streams=Streams(send_s=0.3)) as server, socket.socket() as deaf:
        tenant = server.tenant()
        job = Run(server, upstream, tenant, f"Tell [[sim: duration={LONG_S} size=20mb]]").start()
        _ask(deaf, server, tenant, job.job_id)
        eventually(lambda: server.desk.live.followed)

        job.go_on(1)
        eventually(lambda: not server.desk.streams.places.open, what="the place to be given back")
        eventually(lambda: not server.desk.live.followed, what="the end of following")


def test_a_process_that_leaves_follows_nothing_any_more(own: Settings, upstream: SimulatorServer) -> None:
    with serving(own, pace=PACE) as server:
        tenant = server.tenant()
        job = Run(server, upstream, tenant, f"Tell [[sim: duration={LONG_S}]]").start()
        with following(tenant, job.job_id) as follower:
            eventually(lambda: server.desk.live.followed)
            server.uvicorn.should_exit = True

    assert follower.stored == ["job.created", "job.started"]
    assert not server.desk.live.followed
