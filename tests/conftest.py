"""What every test may ask for: real engines in private folders, migrated databases, settings and the simulator.

The environment is emptied of settings and keys, and the network is refused, before the first test module is imported.
"""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import anything, network
from tests.postgres import Postgres
from tests.waiting import PATIENCE_S
from worker.app import redis_client
from worker.database import Database, upgrade
from worker.dev.redis import EmbeddedRedis
from worker.dev.simulator import Options, SimulatorServer
from worker.settings import Settings

FOREIGN = ("NIGHTDESK_", "GEMINI_", "GOOGLE_")
ENCRYPTION_KEY = "a key for tests, of no value"

MakeSettings = Callable[..., Settings]

anything.load_profile()


def pytest_configure() -> None:
    """Runs in every process of a parallel run too."""
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        del os.environ[name]
    network.forbid()
    # A run in the background may ignore Ctrl-C, and its children would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A real Redis of this test process."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def redis_url(redis_server: EmbeddedRedis) -> str:
    """Its URL; emptied before each test that names it."""
    return redis_server.url


@pytest.fixture(autouse=True)
def _emptied_redis(request: pytest.FixtureRequest) -> None:
    if "redis_url" in request.fixturenames:
        client = redis_client(
            Settings(redis_url=request.getfixturevalue("redis_url"), _env_file=None), timeout_s=PATIENCE_S
        )
        client.flushall()
        client.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL of this test process."""
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    database = Database(f"sqlite:///{path}")
    upgrade(database)
    database.close()
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A migrated SQLite database of this test alone."""
    path = tmp_path / "nightdesk.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """A migrated PostgreSQL database of this test alone."""
    url = postgres.fresh()
    yield url
    postgres.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database of this test alone; the test runs once on each kind."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """That database, open."""
    opened = Database(Settings(database_url=database_url, _env_file=None).database)
    yield opened
    opened.close()


@pytest.fixture
def make_settings(tmp_path: Path) -> MakeSettings:
    """Builds settings with a data directory of this test; name what shall differ."""

    def make(**chosen: Any) -> Settings:
        defaults: dict[str, Any] = {"data_dir": tmp_path / "data", "encryption_key": ENCRYPTION_KEY}
        return Settings(**(defaults | chosen), _env_file=None)

    return make


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    """Settings as they are by default."""
    return make_settings()


@pytest.fixture
def simulator() -> Iterator[SimulatorServer]:
    """A Gemini simulator in a thread; a job of a model lasts 0.2 s, of an agent 2 s."""
    with SimulatorServer(Options(speed=10)) as server:
        yield server
