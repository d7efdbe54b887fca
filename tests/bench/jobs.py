"""What several benchmarks do with jobs: submit a crowd, wait until it runs, and look into the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx2
import sqlalchemy as sa

from tests.bench.ground import BODY
from tests.stack import Stack
from tests.waiting import eventually
from worker.database import Database

AT_ONCE = 1000


def submit(stack: Stack, number: int, **fields: Any) -> list[str]:
    """Submit so many jobs in batches; gives back their ids."""
    url, accepted = f"{stack.url}/v1/jobs/batch", list[str]()
    while len(accepted) < number:
        content = {"jobs": [{**BODY, **fields}] * min(AT_ONCE, number - len(accepted))}
        answer = httpx2.post(url, json=content, headers=stack.headers, timeout=120)
        accepted += [job["id"] for job in answer.raise_for_status().json()["data"]]
    return accepted


class Looker:
    """Looks into a database."""

    def __init__(self, url: str) -> None:
        self._database = Database(url, connections=2)

    def rows(self, statement: str, **given: Any) -> list[Any]:
        """What a statement gives."""
        with self._database.read() as session:
            return list(session.execute(sa.text(statement), given).all())

    def number(self, statement: str, **given: Any) -> float:
        """The one number that a statement gives."""
        return float(self.rows(statement, **given)[0][0] or 0)

    def count(self, status: str) -> int:
        """How many jobs have this status."""
        return int(self.number("SELECT count(*) FROM job WHERE status = :status", status=status))

    def await_count(self, status: str, number: int, within_s: float) -> None:
        """Wait until so many jobs have this status."""
        has = partial(self.count, status)
        eventually(lambda: has() >= number, within_s=within_s, what=f"{number} jobs {status}")

    def moment(self, at: float) -> object:
        """Seconds since the epoch as this database compares them."""
        told = datetime.fromtimestamp(at, UTC)
        return told.strftime("%Y-%m-%d %H:%M:%S.%f") if self._database.is_sqlite else told

    def close(self) -> None:
        """Give the connections back."""
        self._database.close()


@contextmanager
def looking(url: str) -> Iterator[Looker]:
    """A looker for a while."""
    looker = Looker(url)
    try:
        yield looker
    finally:
        looker.close()


def seconds(moment: object) -> float:
    """A database's moment as seconds since the epoch."""
    if isinstance(moment, datetime):
        return moment.timestamp()
    return datetime.fromisoformat(str(moment)).replace(tzinfo=UTC).timestamp()
