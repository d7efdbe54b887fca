"""The backlog is counted from rows, but not for every submission."""

from tests.integration.engine.engine import Engine
from worker.flow.backlog import Backlog


def test_what_is_submitted_between_two_counts_is_added(engine: Engine) -> None:
    engine.submit()
    backlog = Backlog()

    assert engine.read(backlog.count) == 1
    backlog._count_at = float("inf")
    engine.submit()
    assert engine.read(backlog.count) == 1
    backlog.add(1)
    assert engine.read(backlog.count) == 2

    backlog._count_at = 0.0
    assert engine.read(backlog.count) == 2
