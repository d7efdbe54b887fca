"""Who is started first in a whole installation, by the upstream's own log of creates.

Everything waits before the worker comes.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.stack import Stack
from tests.system.desk import Desk
from worker.flow.start import AT_ONCE


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    env = {"NIGHTDESK_POLL_MODEL_START_S": "0.2", "NIGHTDESK_POLL_MODEL_CAP_S": "0.5"}
    with Stack(tmp_path_factory.mktemp("order"), workers=0, simulator={"model_s": 0.2}, env=env) as running:
        yield running


@pytest.fixture
def desk(stack: Stack) -> Desk:
    desk = Desk(stack)
    # What is under way together has no order: whoever comes later must wait for an answer.
    desk.control.fault("create", "slow", delay_s=0.1)
    return desk


@contextmanager
def working(stack: Stack) -> Iterator[None]:
    """A worker comes, and goes."""
    stack.start_worker()
    try:
        yield
    finally:
        stack.kill("worker-0", signal.SIGTERM)


def test_high_goes_first_and_low_is_never_starved(desk: Desk, stack: Stack) -> None:
    lanes = {name: desk.lane(name) for name in ("low", "normal", "high")}
    for name, many in (("low", 4), ("normal", 40), ("high", 64)):
        desk.submit(many, lanes[name], priority=name)

    with working(stack):
        created = desk.await_created(108, *lanes.values())

    low, normal, high = (desk.places(created, lane) for lane in lanes.values())
    assert (len(low), len(normal), len(high)) == (4, 40, 64)
    assert len([place for place in high if place < AT_ONCE]) > AT_ONCE * 3 / 4, "of the first that are under way"
    assert max(low) < max(high), "the last of low waited for the last of high"
    assert sum(high) / len(high) < sum(normal) / len(normal)


def test_a_project_with_few_jobs_does_not_wait_for_one_with_many(desk: Desk, stack: Stack) -> None:
    crowd, few = desk.lane("crowd"), desk.lane("few")
    key = desk.command("keys", "create", "--name=few", "--project=few")
    desk.submit(60, crowd)
    desk.submit(4, few, key=key)

    with working(stack):
        created = desk.await_created(64, crowd, few)

    assert len(desk.places(created, few)) == 4
    assert max(desk.places(created, few)) < AT_ONCE + AT_ONCE // 2, "not among the first that are under way together"
