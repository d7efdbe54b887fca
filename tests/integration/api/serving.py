"""The real application over real HTTP: uvicorn in a thread, on a port of its own."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from socket import socket
from typing import Any, ClassVar

import httpx2
import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI
from sqlmodel import col

from api.app import build
from api.connection import Connection
from api.desk import Desk
from tests.conftest import ENCRYPTION_KEY
from tests.integration.api.contract import Contract
from tests.waiting import eventually
from worker import ids, keys, telemetry
from worker.context import Context
from worker.flow import start
from worker.flow.line import Line
from worker.models import Job
from worker.settings import Settings
from worker.store import projects

LOOK_EVERY_S = 0.1
DEAD_REDIS = "redis://127.0.0.1:1/0"
DEAD_GEMINI = "http://127.0.0.1:1"
ANSWER_S = 90.0
"""Longer than the longest wait that can be asked for, and than a crowd of requests takes on a busy machine."""


@dataclass
class Tenant:
    """A project with a key of its own."""

    project_id: str
    key_id: str
    token: str
    http: httpx2.Client

    def post(self, path: str, json: Any = None, **more: Any) -> httpx2.Response:
        return self.http.post(path, json=json, **more)

    def get(self, path: str, **more: Any) -> httpx2.Response:
        return self.http.get(path, **more)

    def submit(self, **fields: Any) -> dict[str, Any]:
        """A job that was taken."""
        answer = self.post("/v1/jobs", {"model": "gemini-3.8-flash", "input": "Say hello."} | fields)
        assert answer.status_code == 202, answer.text
        found: dict[str, Any] = answer.json()
        return found


@dataclass
class Server:
    """A running application."""

    url: str
    app: FastAPI
    uvicorn: uvicorn.Server
    contract: Contract
    clients: ClassVar[list[httpx2.Client]] = []

    @property
    def desk(self) -> Desk:
        desk: Desk = self.app.state.desk
        return desk

    @property
    def context(self) -> Context:
        return self.desk.context

    def client(self, token: str | None = None) -> httpx2.Client:
        """A client whose every answer is held against the OpenAPI document."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        hooks = {"response": [self.contract.check]}
        # Reading the certificates of the world takes longer than most tests.
        made = httpx2.Client(
            base_url=self.url, headers=headers, event_hooks=hooks, timeout=ANSWER_S, trust_env=False, verify=False
        )
        self.clients.append(made)
        return made

    def tenant(self, *scopes: str) -> Tenant:
        """A new project with a key of these scopes (all without any)."""
        context = self.context
        with context.database.write() as session:
            sealed = context.vault.seal("whsec_c2VjcmV0")
            project = projects.create_project(session, ids.new("name"), sealed_secret=sealed, now=context.clock())
        return self.key(project.id, *scopes)

    def awaited(self, tenant: Tenant) -> list[str]:
        """The jobs of a project that somebody waits for: who waited in other tests may not be gone yet."""
        with self.context.database.read() as session:
            mine = session.scalars(sa.select(col(Job.id)).where(col(Job.project_id) == tenant.project_id))
            return [job_id for job_id in mine if job_id in self.desk.watch.awaited]

    def operator(self) -> Tenant:
        """A key that may do everything, in the project that every installation has."""
        with self.context.database.read() as session:
            project = projects.by_name(session, projects.DEFAULT)
        assert project is not None
        return self.key(project.id)

    def key(self, project_id: str, *scopes: str) -> Tenant:
        """Another key of a project."""
        context, issued = self.context, keys.issue()
        with context.database.write() as session:
            granted = list(scopes or keys.SCOPES)
            key = projects.add_key(session, project_id, "test", issued, scopes=granted, now=context.clock())
        return Tenant(project_id, key.id, issued.token, self.client(issued.token))


def prepared(**chosen: Any) -> Settings:
    """Settings that suffice for an API process; Redis and the upstream are away unless named."""
    given: dict[str, Any] = {"encryption_key": ENCRYPTION_KEY, "gemini_api_key": "none", "redis_url": DEAD_REDIS}
    given["gemini_base_url"] = DEAD_GEMINI
    return Settings(**(given | chosen), _env_file=None)


@contextmanager
def serving(
    settings: Settings, *, at: socket | None = None, http: type[Connection] = Connection, **chosen: Any
) -> Iterator[Server]:
    """Serve until the end of the block, then stop as a process would at SIGTERM; `at` is a port that was taken."""
    telemetry.set_up("json", "warning")
    server: list[uvicorn.Server] = []
    # Tests of the same process look at what is counted in it: here only a request for /metrics may take it away.
    given = {"look_every_s": LOOK_EVERY_S, "flush_every_s": 3600} | chosen
    app = build(settings, is_leaving=lambda: server[0].should_exit, **given)
    config = uvicorn.Config(
        app,
        port=0,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        ws="none",
        http=http,
        loop="asyncio",
        timeout_graceful_shutdown=5,
    )
    server.append(uvicorn.Server(config))
    thread = threading.Thread(target=server[0].run, args=([at] if at else None,), name="api")
    thread.start()
    try:
        eventually(lambda: server[0].started or not thread.is_alive(), within_s=20, what="the server")
        assert server[0].started, "the application did not start"
        taken = (at or server[0].servers[0].sockets[0]).getsockname()[1]
        yield Server(f"http://127.0.0.1:{taken}", app, server[0], Contract(app.openapi()))
    finally:
        server[0].should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the server did not stop"


def start_one(context: Context, job_id: str) -> str:
    """Start a job as a worker that was told of it; gives back the outcome in a word."""
    line = Line(context)
    line.join(job_id)
    return start.run(context, line).get(job_id, "nothing")
