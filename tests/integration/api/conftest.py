"""One application for each kind of database and test process; each test has a project of its own."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeSettings
from tests.integration.api.engine import Worker
from tests.integration.api.serving import DEAD_GEMINI, DEAD_REDIS, Server, Tenant, prepared, serving
from worker.settings import Settings


@pytest.fixture(scope="session")
def sqlite_server(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("api")
    shutil.copyfile(sqlite_template, folder / "nightdesk.db")
    with serving(prepared(data_dir=folder)) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    url = request.getfixturevalue("postgres").fresh()
    with serving(prepared(data_dir=tmp_path_factory.mktemp("api"), database_url=url)) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> Server:
    """The application of this kind of database."""
    name = "sqlite_server" if request.param == "sqlite" else "postgres_server"
    found: Server = request.getfixturevalue(name)
    return found


@pytest.fixture
def tenant(server: Server) -> Tenant:
    """A project of this test alone, with a key that may do everything."""
    return server.tenant()


@pytest.fixture(autouse=True)
def _closed_clients() -> Iterator[None]:
    yield
    while Server.clients:
        Server.clients.pop().close()


@pytest.fixture
def guest(sqlite_server: Server) -> Tenant:
    """The same where the kind of database cannot matter."""
    return sqlite_server.tenant()


@pytest.fixture
def worker(server: Server) -> Worker:
    """Moves that server's jobs."""
    return Worker(server.context)


@pytest.fixture
def local(sqlite_server: Server) -> Worker:
    """Moves the guests' jobs."""
    return Worker(sqlite_server.context)


@pytest.fixture
def own_settings(make_settings: MakeSettings, sqlite_url: str) -> MakeSettings:
    """Settings for an application of this test alone, on a SQLite of its own."""

    def make(**chosen: Any) -> Settings:
        given: dict[str, Any] = {"database_url": sqlite_url, "gemini_api_key": "none", "redis_url": DEAD_REDIS}
        given["gemini_base_url"] = DEAD_GEMINI
        return make_settings(**(given | chosen))

    return make
