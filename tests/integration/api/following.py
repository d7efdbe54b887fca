"""Following a job's stream at the application under test."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.integration.api.serving import Tenant
from tests.streams import Follower
from tests.waiting import eventually


@contextmanager
def following(tenant: Tenant, job_id: str, **headers: str) -> Iterator[Follower]:
    """A stream that must have ended by itself when the block has."""
    with tenant.http.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        follower = Follower(answer)
        yield follower
        eventually(lambda: follower.has_ended, what="the end of the stream")


@contextmanager
def glancing(tenant: Tenant, job_id: str, **headers: str) -> Iterator[Follower]:
    """A stream that the client leaves at the end of the block."""
    with tenant.http.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer:
        assert answer.status_code == 200
        follower = Follower(answer)
        yield follower
        answer.extensions["network_stream"].get_extra_info("socket").shutdown(2)
        eventually(lambda: follower.has_ended, what="the end of the reading")
