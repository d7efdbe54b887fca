"""A worker that is told to stop finishes what it has begun and takes nothing more."""

from collections.abc import Iterator

import pytest

from tests.integration.engine.engine import Engine
from worker.flow import start, wake
from worker.flow.line import Line


@pytest.fixture
def leaving(engine: Engine) -> Iterator[Engine]:
    """An engine whose process has been told to stop."""
    engine.context.leaving.set()
    yield engine
    engine.context.leaving.clear()


def test_nothing_is_started(leaving: Engine) -> None:
    first, second = leaving.submit(), leaving.submit()

    line = Line(leaving.context)
    line.join(first)

    assert start.run(leaving.context, line) == {}

    assert [leaving.status(job_id) for job_id in (first, second)] == ["queued", "queued"]


def test_a_start_goes_on_with_whatever_waits(engine: Engine) -> None:
    first, second = engine.submit(), engine.submit()
    engine.clock.advance(wake.HINT.total_seconds())

    line = Line(engine.context)
    line.join(first)

    assert start.run(engine.context, line) == {first: "started", second: "started"}


def test_nothing_is_polled_or_delivered(leaving: Engine) -> None:
    job_id = leaving.started(webhook_url="http://127.0.0.1:9/hook", webhook_events=["job.started"])
    leaving.clock.advance(60)

    assert leaving.poll()["claimed"] == 0
    assert leaving.deliver() == {"delivered": 0, "failed": 0}
    assert leaving.job(job_id).polls == 0
