"""One upstream, one set of clients for all tests here; each test has a database and a clock of its own."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import ENCRYPTION_KEY, MakeSettings
from tests.integration.engine.engine import Clock, Engine
from tests.integration.engine.hooks import Hooks
from tests.lasting import KINDS, empty, lasting
from worker import context as contexts
from worker.app import Sender
from worker.artifacts import Artifacts
from worker.context import Context
from worker.database import Database, upgrade
from worker.dev.simulator import Options, SimulatorServer
from worker.settings import Settings
from worker.store import projects

POLL_S = 10.0
"""How far polls lie apart, whatever runs."""


@pytest.fixture(scope="session")
def upstream() -> Iterator[SimulatorServer]:
    """Runs last long enough for every test: what ends, a test has ended."""
    own = ("my-agent",)
    with SimulatorServer(Options(model_s=1000, agent_s=10_000, jitter=0, cancel_lag_s=5, custom_agents=own)) as server:
        yield server


@pytest.fixture(scope="session")
def shared(upstream: SimulatorServer, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """The clients, which are costly to build."""
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("shared"),
        encryption_key=ENCRYPTION_KEY,
        redis_url=redis_url,
        gemini_api_key="simulated",
        gemini_base_url=upstream.url,
        webhook_allow_networks="127.0.0.0/8",
        webhook_allow_http=True,
        webhook_allow_ports="any",
        _env_file=None,
    )
    database = Database(settings.database)
    upgrade(database)
    database.close()
    context = contexts.build(settings)
    # What a moment without an answer of Redis does is a matter for the tests of that.
    sender = Sender(settings, timeout_s=20)
    yield replace(context, sender=sender)
    sender.close()
    context.close()


@pytest.fixture(scope="session", params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Database]]:
    """A database of each kind, by URL and open."""
    with lasting(request, tmp_path_factory) as made:
        yield made


@pytest.fixture
def engine(
    store: tuple[str, Database],
    redis_url: str,
    make_settings: MakeSettings,
    shared: Context,
    upstream: SimulatorServer,
) -> Engine:
    """An engine on each kind of database."""
    database_url, database = store
    empty(database)
    paces = {f"poll_{kind}_{name}": value for kind in ("agent", "model") for name, value in _PACE.items()}
    chosen = {name: getattr(shared.settings, name) for name in _KEPT}
    settings = make_settings(database_url=database_url, redis_url=redis_url, **chosen, **paces)
    clock = Clock()
    contexts.found(settings, database, shared.vault, clock())
    with database.read() as session:
        project = projects.by_name(session, projects.DEFAULT)
    assert project is not None
    upstream.control.reset()
    context = replace(
        shared,
        settings=settings,
        clock=clock,
        chance=lambda: 0.0,
        pause=clock.advance,
        database=database,
        artifacts=Artifacts(settings.artifacts),
    )
    return Engine(context, clock, upstream.control, project.id)


_PACE = {"start_s": POLL_S, "factor": 1.0, "cap_s": POLL_S}
_KEPT = ("gemini_api_key", "gemini_base_url", "webhook_allow_networks", "webhook_allow_http", "webhook_allow_ports")


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    """A receiver of webhooks on loopback."""
    with Hooks() as server:
        yield server


@pytest.fixture
def artifacts_folder(engine: Engine) -> Path:
    """Where the artifacts lie."""
    return engine.context.settings.data_dir / "artifacts"


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Everything that was said so far, by our log and by the libraries'."""
    caplog.set_level(logging.DEBUG)

    def all_of_it() -> str:
        captured = capfd.readouterr()
        return captured.out + captured.err + caplog.text

    return all_of_it
