"""Jobs whose runs are watched live: the tests move the simulator's clock and play the worker."""

from typing import Any

from api.follower import Pace
from tests.integration.api.serving import Server, Tenant, start_one
from tests.waiting import eventually
from worker.dev.simulator import SimulatorServer
from worker.flow import poll
from worker.retry import Backoff
from worker.states import TERMINAL
from worker.store import jobs

LONG_S = 1000
TEXT = "Owls hunt by ear. " * 40
PACE = Pace(silence_s=60, resumed_silence_s=0.3, seek_s=60, again=Backoff(0.02, 1, 0.02))


class Run:
    """A job whose run takes long unless the simulator's clock is moved, and who plays its worker."""

    def __init__(self, server: Server, upstream: SimulatorServer, tenant: Tenant, asked: str, **fields: Any) -> None:
        self._server = server
        self.control = upstream.control
        self.job_id: str = tenant.submit(**({"input": asked} | fields))["id"]

    def start(self) -> "Run":
        assert start_one(self._server.context, self.job_id) == "started"
        return self

    @property
    def upstream_id(self) -> str:
        with self._server.context.database.read() as session:
            job = jobs.get(session, self.job_id)
        assert job is not None
        assert job.interaction_id is not None
        return job.interaction_id

    def go_on(self, share: float) -> None:
        """Let this share of the run pass."""
        self.control.advance(LONG_S * share)

    def end(self) -> None:
        """Let the run end, and see it."""
        self.go_on(1)
        eventually(self._has_ended, within_s=20)

    def _has_ended(self) -> bool:
        poll.run(self._server.context)
        with self._server.context.database.read() as session:
            job = jobs.get(session, self.job_id)
        return job is None or job.status in TERMINAL
