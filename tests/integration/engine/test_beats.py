"""The four beats: whatever speaks to the outside is called while no transaction is open."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.integration.engine.engine import Engine
from tests.integration.engine.hooks import Hooks
from worker.database import Database
from worker.flow import attempt, claim, remove, start
from worker.flow.again import retry_draft
from worker.flow.attempt import Attempt
from worker.gemini.client import ProbeAnswer

REMOTE = ("gemini", "poller", "artifacts", "sender", "loop")


class Always(dict[str, Callable[..., object]]):
    """The same for every name."""

    def __init__(self, what: Callable[..., object]) -> None:
        super().__init__()
        self._what = what

    def __contains__(self, name: object) -> bool:
        return True

    def __getitem__(self, name: str) -> Callable[..., object]:
        return self._what


class Watched:
    """A database that knows whether a transaction of this thread is open."""

    def __init__(self, real: Database) -> None:
        self._real = real
        self._open = threading.local()

    @property
    def depth(self) -> int:
        return getattr(self._open, "depth", 0)

    @contextmanager
    def write(self) -> Iterator[Any]:
        with self._within(), self._real.write() as session:
            yield session

    @contextmanager
    def read(self) -> Iterator[Any]:
        with self._within(), self._real.read() as session:
            yield session

    @contextmanager
    def _within(self) -> Iterator[None]:
        self._open.depth = self.depth + 1
        try:
            yield
        finally:
            self._open.depth -= 1


@pytest.fixture
def spoken(engine: Engine) -> list[str]:
    """Which parts were called; it fails the test when one is called within a transaction."""
    database: Any = Watched(engine.context.database)
    engine.context = replace(engine.context, database=database)
    called: list[str] = []

    def check(part: str) -> Callable[..., object]:
        def note(*_: object) -> None:
            called.append(part)
            assert database.depth == 0, f"{part} was called within a transaction"

        return note

    for part in REMOTE:
        engine.between(part).before = Always(check(part))
    return called


def test_nothing_speaks_to_the_outside_within_a_transaction(engine: Engine, hooks: Hooks, spoken: list[str]) -> None:
    image = {"model": "gemini-3-pro-image", "input": "[[sim: images=1]]", "webhook_url": hooks.url()}
    done, cancelled, expired = engine.started(**image), engine.started(), engine.started(timeout_seconds=60)
    engine.finish(done)
    engine.cancel(cancelled)
    engine.tell_upstream(cancelled)
    engine.poll(61)
    engine.tell_upstream(expired)
    engine.poll()
    engine.deliver()
    for status in (500, 400, 403, 401):
        engine.control.fault("create", status=status, count=1)
        engine.start(engine.submit(max_attempts=1))
    engine.sweep(31)
    engine.sweep(31 * 86_400)
    remove.job(engine.context, engine.project_id, done)

    assert set(spoken) == set(REMOTE)
    assert [engine.status(job_id) for job_id in (cancelled, expired)] == ["cancelled", "expired"]


def test_orphans_probes_and_retries_speak_outside_of_transactions(engine: Engine, spoken: list[str]) -> None:
    job_id = engine.submit()
    (taken,) = claim.claim(engine.context, [job_id])
    created = engine.context.gemini.create(start._request(engine.context, taken)).result(30)
    engine.cancel(job_id)
    engine.sweep(41)

    assert attempt.attach(engine.context, [Attempt(job_id, taken.token, created)]) == {job_id: "orphan"}

    gemini: Any = engine.context.gemini
    gemini.instead["probe"] = lambda: ProbeAnswer(False, 403)
    engine.control.fault("create", status=403, count=1)
    assert engine.start(engine.submit()) == "refused"
    del gemini.instead["probe"]
    engine.sweep(31)
    again = retry_draft(engine.context, engine.project_id, job_id)
    assert engine.start(engine.accept(again).jobs[0].id) == "started"
    assert "gemini" in spoken
