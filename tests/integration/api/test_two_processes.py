"""Two real API processes on one PostgreSQL and one Redis: what one is told or allows holds on the other."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.conftest import ENCRYPTION_KEY
from tests.integration.api.test_process import KEY, listens, process
from tests.postgres import Postgres
from tests.waiting import eventually
from worker import keys
from worker.database import Database
from worker.models import ApiKey
from worker.settings import Settings
from worker.store import projects

READS = 300
STARTS_S = 120


class Pair:
    """Clients of both processes, and the database beside them."""

    def __init__(self, sockets: list[Path], database: Database) -> None:
        self._sockets = sockets
        self.database = database

    @contextmanager
    def clients(self, token: str) -> Iterator[list[httpx2.Client]]:
        headers = {"Authorization": f"Bearer {token}"}
        with ExitStack() as stack:
            ways = [httpx2.HTTPTransport(uds=str(path)) for path in self._sockets]
            base, patience = "http://nightdesk", 60
            made = [httpx2.Client(base_url=base, headers=headers, transport=way, timeout=patience) for way in ways]
            yield [stack.enter_context(client) for client in made]

    def key(self) -> tuple[str, str]:
        """Another key of the default project: its id and itself."""
        issued = keys.issue()
        with self.database.write() as session:
            project = projects.by_name(session, projects.DEFAULT)
            assert project is not None
            now = project.created_at
            made = projects.add_key(session, project.id, "pair", issued, scopes=list(keys.SCOPES), now=now)
        return made.id, issued.token


@pytest.fixture(scope="module")
def pair(postgres: Postgres, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder, url = tmp_path_factory.mktemp("pair"), postgres.fresh()
    given = {"DATABASE_URL": url, "DATA_DIR": str(folder), "ENCRYPTION_KEY": ENCRYPTION_KEY, "LOG_FORMAT": "json"}
    given |= {"GEMINI_API_KEY": "none", "REDIS_URL": redis_url, "BOOTSTRAP_API_KEY": KEY, "LOG_LEVEL": "error"}
    given["RATE_LIMIT_READ"] = str(READS)
    variables = {f"NIGHTDESK_{name}": value for name, value in given.items()}
    sockets = [folder / "one.sock", folder / "two.sock"]
    database = Database(Settings(database_url=url, _env_file=None).database)
    with ExitStack() as stack:
        for path in sockets:
            stack.enter_context(process(variables, "--uds", str(path)))
        for path in sockets:
            eventually(lambda path=path: listens(path), within_s=STARTS_S)  # type: ignore[misc]
        yield Pair(sockets, database)
    database.close()


def test_a_revoked_key_is_refused_by_every_process_at_once(pair: Pair) -> None:
    key_id, token = pair.key()
    with pair.clients(token) as clients:
        assert [client.get("/v1/jobs").status_code for client in clients] == [200, 200]

        with pair.database.write() as session:
            assert projects.revoke(session, key_id, session.get_one(ApiKey, key_id).created_at)

        assert [client.get("/v1/jobs").status_code for client in clients] == [401, 401]


def test_what_a_key_asks_one_process_is_taken_off_at_the_other(pair: Pair) -> None:
    _, token = pair.key()
    with pair.clients(token) as (one, two):

        def left(client: httpx2.Client) -> int:
            return int(client.get("/v1/jobs").headers["RateLimit-Remaining"])

        assert left(two) == READS - 1
        for _ in range(200):
            assert left(one)
        own = [left(two)]

        def is_told() -> bool:
            """It has less than what it was asked itself leaves; what was taken comes back with five a second."""
            own.append(left(two))
            return own[-1] < READS - len(own) - 10

        eventually(is_told, what="the other process's share")
