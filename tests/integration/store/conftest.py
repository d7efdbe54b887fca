"""A store: a database of each kind with one project, and as many connections of their own as a test wants."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier
from typing import Any, Concatenate, ParamSpec, TypeVar

import pytest
import sqlalchemy as sa
from sqlmodel import Session

from tests import factories
from tests.lasting import KINDS, empty, lasting
from worker.database import Database
from worker.models import Delivery, Event, Job
from worker.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

RACE_S = 30.0


@dataclass
class Store:
    """The database under test; `other` is a second process's look at it."""

    url: str
    project_id: str = ""
    databases: list[Database] = field(default_factory=list)

    @property
    def database(self) -> Database:
        return self.databases[0]

    def open(self) -> Database:
        database = Database(Settings(database_url=self.url, _env_file=None).database)
        self.databases.append(database)
        return database

    def add(self, **values: Any) -> str:
        """A job; gives back its id."""
        return self.add_all([values])[0]

    def add_all(self, rows: list[dict[str, Any]]) -> list[str]:
        made = [factories.job(self.project_id, **values) for values in rows]
        names = [job.id for job in made]
        with self.database.write() as session:
            session.add_all(made)
        return names

    def write(self, work: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self.database.write() as session:
            return work(session, *args, **kwargs)

    def read(self, work: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self.database.read() as session:
            return work(session, *args, **kwargs)

    def job(self, job_id: str) -> Job:
        job = self.read(lambda session: session.get(Job, job_id))
        assert job is not None
        return job

    def events(self, job_id: str) -> list[Event]:
        statement = sa.select(Event).where(Event.job_id == job_id).order_by(Event.sequence)  # type: ignore[arg-type]
        return self.read(lambda session: list(session.scalars(statement)))

    def deliveries(self, job_id: str) -> list[Delivery]:
        statement = sa.select(Delivery).where(Delivery.job_id == job_id)  # type: ignore[arg-type]
        return self.read(lambda session: list(session.scalars(statement)))

    def race(self, *works: Callable[[Session], T]) -> list[T]:
        """Do all at the same moment, each on its own connection, and give back what each came to."""
        while len(self.databases) < len(works):
            self.open()
        barrier = Barrier(len(works))

        def run(database: Database, work: Callable[[Session], T]) -> T:
            barrier.wait(RACE_S)
            with database.write() as session:
                return work(session)

        with ThreadPoolExecutor(len(works)) as threads:
            running = [threads.submit(run, *pair) for pair in zip(self.databases, works, strict=False)]
            return [one.result(RACE_S) for one in running]


@pytest.fixture(scope="session", params=KINDS)
def lasting_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with lasting(request, tmp_path_factory) as (url, database):
        store = Store(url, databases=[database])
        yield store
        for other in store.databases[1:]:
            other.close()


@pytest.fixture
def store(lasting_store: Store) -> Store:
    """A store with nothing in it but a project."""
    empty(lasting_store.database)
    with lasting_store.database.write() as session:
        lasting_store.project_id = factories.project(session).id
    return lasting_store


@pytest.fixture
def fresh_store(database_url: str) -> Iterator[Store]:
    """A store on a database of its own, to be filled."""
    made = Store(database_url)
    with made.open().write() as session:
        made.project_id = factories.project(session).id
    yield made
    for database in made.databases:
        database.close()
