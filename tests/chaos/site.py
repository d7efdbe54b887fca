"""Where a scenario takes place: the stack, the receiver, the database's server, and a diary of what is done to them."""

import os
import signal
import sys
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, time
from types import TracebackType
from typing import Any, Self

import httpx2
import orjson
import psycopg
import redis
import sqlalchemy as sa
from sqlmodel import col

from tests.chaos import receiver, tenants
from tests.chaos.recovery import Recovery
from tests.chaos.tenants import Tenant
from tests.postgres import Postgres
from tests.stack import Stack, free_port
from tests.waiting import PATIENCE_S, eventually
from worker.app import QUEUES, redis_client
from worker.database import Database
from worker.dev.simulator import Control
from worker.errors import Unavailable
from worker.models import Delivery, WebhookEndpoint
from worker.settings import Settings
from worker.store.deliveries import PENDING

RETRY_LADDER = "0,1,1,2,2" + ",3" * 40
QUICK = {
    "NIGHTDESK_LOG_LEVEL": "info",
    "NIGHTDESK_POLL_AGENT_START_S": "1",
    "NIGHTDESK_POLL_AGENT_FACTOR": "1.5",
    "NIGHTDESK_POLL_AGENT_CAP_S": "10",
    "NIGHTDESK_WEBHOOK_RETRY_S": RETRY_LADDER,
}
"""Agents are polled as models are, and webhooks are retried for minutes instead of days."""

UNSETTLED = (
    "job WHERE finished_at IS NULL",
    "delivery WHERE status = 'pending' AND attempts = 0 AND due_at IS NOT NULL",
    "delivery JOIN webhook_endpoint ON endpoint_id = webhook_endpoint.id WHERE status = 'held' AND disabled_at IS NULL",
    "webhook_endpoint WHERE deleted_at IS NOT NULL OR disabled_reason = 'gone' OR replay_after IS NOT NULL",
)
"""What must not be there any more, nor what waits at an endpoint until its operator has seen that it is disabled."""

ENDING = frozenset({signal.SIGKILL, signal.SIGTERM})
LOOK_S = 1.0
LATE = timedelta(seconds=3)
"""Well before the books call it overdue."""


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that happened to the installation, and when; a fault, if it was done to harm it."""

    at: float
    what: str
    is_fault: bool = False


@dataclass
class Site:
    """Build it with `with`; everything is started and ready inside the block. Use it from the main thread."""

    folder: Path
    postgres: Postgres | None = None
    workers: int = 2
    env: Mapping[str, str] = field(default_factory=dict)
    simulator: Mapping[str, object] = field(default_factory=dict)
    projects: int = 1
    diary: list[Deed] = field(default_factory=list)
    absent: set[str] = field(default_factory=set)
    """Processes that are not to be started again for now."""
    own_deaths: list[str] = field(default_factory=list)
    """Processes that ended without a signal from here, with their exit status."""
    broken: list[str] = field(default_factory=list)
    """Promises that a fault saw broken while it happened."""
    missed: list[str] = field(default_factory=list)
    """Faults that were planned and never struck: such a run proves less than it says."""
    recoveries: list[Recovery] = field(default_factory=list)
    """How the jobs went on after the faults where somebody asks."""
    longest: Counter[str] = field(default_factory=Counter)
    """The most messages that were ever seen in each queue."""
    spoiled: int = 0
    """How many calls the upstream failed or falsified on purpose before it was last killed."""
    _looked_at: float = 0.0
    _struck: set[str] = field(default_factory=set)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.database_url = self._database() if self.postgres is not None else ""
        options = {"state_path": str(self.folder / "simulator.journal"), "latency_s": 0.05, **self.simulator}
        self.stack = Stack(self.folder, self.database_url, self.workers, simulator=options, env={**QUICK, **self.env})
        try:
            self.stack.__enter__()
        except BaseException:
            self._drop()
            raise
        try:
            self.control = Control(self.stack.simulator_url)
            self.database = Database(self.stack.settings.database, connections=4)
            self.redis = redis_client(self.stack.settings, timeout_s=PATIENCE_S)
            self._glance = redis_client(self.stack.settings, timeout_s=0.1)
            self.tenants = tenants.settle(self.stack, self.database, self.projects)
            self._start_receiver()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._glance.close()
        self.redis.close()
        self.database.close()
        self._end()

    def _end(self) -> None:
        try:
            # What they are in the middle of is of no interest any more.
            for process in self.stack.processes.values():
                process.kill()
            self.stack.__exit__(None, None, None)
        finally:
            self._drop()

    def _drop(self) -> None:
        if self.postgres is not None:
            self.postgres.drop(self.database_url)

    def _database(self) -> str:
        """A database whose commits hold when the server is killed; the tests' server trades that for speed."""
        assert self.postgres is not None
        url = self.postgres.fresh()
        with psycopg.connect(url, autocommit=True) as connection:
            name = connection.info.dbname
            connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = on".encode())
        return url

    def _start_receiver(self) -> None:
        self.hooks_port = free_port()
        self.hooks = self.folder / "received.jsonl"
        secrets = {tenant.name: tenant.secret for tenant in self.tenants}
        environment = {receiver.SECRETS: orjson.dumps(secrets).decode(), "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-m", "tests.chaos.receiver", str(self.hooks_port), str(self.hooks)]
        self.stack.spawn("receiver", command, environment)
        eventually(self.hooks.exists, what="the receiver's start")

    def hook(self, tenant: Tenant) -> str:
        """A webhook URL of this project with `{host}` and `{manner}` left open."""
        return f"http://{{host}}:{self.hooks_port}/{tenant.name}/{{manner}}"

    @property
    def talk_s(self) -> float:
        """How long after its claim a webhook may still be sent."""
        return float(self.env.get("NIGHTDESK_CLAIM_DELIVER_S", Settings.model_fields["claim_deliver_s"].default))

    @property
    def worker_names(self) -> list[str]:
        """Every worker, whether it runs or not."""
        return [f"worker-{number}" for number in range(self.workers)]

    def note(self, what: str, *, is_fault: bool = False) -> None:
        """Write down what happens now."""
        self.diary.append(Deed(time(), what, is_fault))
        with (self.folder / "diary.log").open("a") as lines:
            lines.write(f"{time():.3f} {what}\n")

    def strike(self, what: str) -> None:
        """Write down the fault that is done now."""
        self.note(what, is_fault=True)

    def miss(self, what: str) -> None:
        """Write down that a fault never found its moment."""
        self.note(what)
        self.missed.append(what)

    def mend(self) -> None:
        """Start again what died, as a supervisor would; a death that nobody here caused is counted."""
        for name, status in self.stack.mend(*self.absent).items():
            self.note(f"{name} started again after status {status}")
            if name in self._struck:
                self._struck.discard(name)
            else:
                self.own_deaths.append(f"{name} {status}")

    def signal(self, name: str, how: signal.Signals) -> bool:
        """Send a signal to a process; False: it is dead already."""
        process = self.stack.processes[name]
        if process.poll() is not None:
            return False
        self.note(f"{how.name} {name}", is_fault=how != signal.SIGCONT)
        if how in ENDING:
            self._struck.add(name)
        process.send_signal(how)
        return True

    def keep_count(self) -> None:
        """Add up what the upstream has spoiled: it forgets that when it is killed."""
        with suppress(OSError):
            self.spoiled += sum(self.control.stats()["faults"].values())

    def ask(self, statement: str, **given: Any) -> list[Any]:
        """Rows of the database; raises Unavailable while it is away."""
        with self.database.read() as session:
            return list(session.execute(sa.text(statement), given).all())

    def number(self, statement: str, **given: Any) -> int | None:
        """The one number that a statement gives; None while the database is away."""
        try:
            return int(self.ask(statement, **given)[0][0])
        except Unavailable:
            return None

    def backlog(self) -> dict[str, int]:
        """How many messages wait in each queue."""
        return {queue: int(self.redis.llen(queue)) for queue in QUEUES.values()}

    def look(self) -> None:
        """Remember how long the queues are, each second; nothing to see while Redis is away."""
        if monotonic() < self._looked_at + LOOK_S:
            return
        self._looked_at = monotonic()
        with suppress(redis.RedisError):
            self.longest |= Counter({queue: int(self._glance.llen(queue)) for queue in QUEUES.values()})

    def is_at_rest(self) -> bool:
        """Whether everything is settled, no message waits, and API and upstream answer."""
        try:
            urls = (f"{self.stack.url}/readyz", f"{self.stack.simulator_url}/_sim")
            is_up = all(httpx2.get(url, timeout=5).status_code == 200 for url in urls)
        except httpx2.HTTPError:
            return False
        return is_up and self.is_settled() and not any(self.backlog().values()) and not self._is_late()

    def _is_late(self) -> bool:
        """Whether something is overdue: whoever was just started, or stood still, is given time to catch up."""
        then = datetime.now(UTC) - LATE
        deliveries = sa.exists().where(col(Delivery.status) == PENDING, col(Delivery.due_at) < then)
        endpoints = sa.exists().where(col(WebhookEndpoint.due_at) < then)
        with self.database.read() as session:
            return bool(session.scalar(sa.select(deliveries | endpoints)))

    def is_settled(self, manners: Collection[str] = receiver.LIVE) -> bool:
        """Whether every job has ended, and every event has reached its receiver, or was tried where that is dead."""
        if any(self.number(f"SELECT count(*) FROM {unsettled}") != 0 for unsettled in UNSETTLED):
            return False
        owed = "SELECT count(*) FROM delivery WHERE status = 'pending' AND host = :host"
        return all(self.number(owed, host=receiver.HOSTS[manner]) == 0 for manner in manners)
