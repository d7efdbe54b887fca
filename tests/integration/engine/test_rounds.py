"""Rounds of starts: whatever happens to one job, the others are sent, heard and recorded."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.integration.engine.engine import Engine
from tests.waiting import eventually
from worker import context as contexts
from worker.app import START
from worker.flow import claim, start
from worker.flow.line import Line
from worker.gemini.client import ProbeAnswer
from worker.tasks import Shares


@pytest.fixture
def lively(engine: Engine) -> Engine:
    """An engine on the real clock."""
    engine.context = replace(engine.context, clock=contexts.utc_now, pause=time.sleep)
    return engine


@pytest.fixture
def rounds(lively: Engine) -> Iterator[tuple[Line, ThreadPoolExecutor]]:
    """A line, and threads that serve it."""
    with ThreadPoolExecutor(4) as threads:
        yield Line(lively.context), threads
        lively.context.leaving.set()
    lively.context.leaving.clear()


def test_a_slow_create_holds_up_nobody(lively: Engine, rounds: tuple[Line, ThreadPoolExecutor]) -> None:
    line, threads = rounds
    lively.control.fault("create", kind="slow", delay_s=4, count=1)
    slow = lively.submit()
    line.join(slow)
    running = threads.submit(start.run, lively.context, line)
    eventually(lambda: lively.job(slow).sent_at, within_s=10)

    quick = lively.submit()
    assert not line.join(quick)

    eventually(lambda: lively.status(quick) == "in_progress", within_s=3)
    assert lively.status(slow) == "starting"
    assert running.result(30) == {quick: "started", slow: "started"}


def test_what_nobody_foresaw_keeps_no_answer_from_being_recorded(
    lively: Engine, rounds: tuple[Line, ThreadPoolExecutor]
) -> None:
    line, threads = rounds
    lively.control.fault("create", kind="slow", delay_s=1, count=1)
    line.join(paid := lively.submit())
    running = threads.submit(start.run, lively.context, line)
    eventually(lambda: lively.job(paid).sent_at, within_s=10)

    def fail(*_: object) -> None:
        raise KeyError("a bug")

    lively.between("database").before["write"] = fail
    line._context = lively.context
    line.join("job_x")

    assert running.result(30) == {paid: "started"}


def test_a_job_that_the_catalog_chokes_on_stays_queued_alone(engine: Engine) -> None:
    bad, good = engine.submit(), engine.submit()
    left = [KeyError("a bug")]

    def choke(*_: object) -> None:
        if left:
            raise left.pop()

    engine.between("catalog").before["resolve"] = choke

    assert [one.job.id for one in claim.ready(engine.context, [bad, good])] == [good]
    assert engine.status(bad) == "queued"


def test_many_that_are_denied_cost_one_probe(engine: Engine) -> None:
    engine.control.fault("create", status=403, count=4)
    gemini = engine.between("gemini")
    gemini.instead["probe"] = lambda: ProbeAnswer(True, 404)
    jobs = [engine.submit() for _ in range(4)]

    sent = [(one, start.talk(engine.context, one)) for one in claim.ready(engine.context, jobs)]
    outcomes = start.record(engine.context, [(one, start.outcome(future)) for one, future in sent])

    assert outcomes == dict.fromkeys(jobs, "failed")
    assert gemini.calls.count("probe") == 1


def test_bodies_that_do_not_fit_wait_for_the_next_claim(engine: Engine) -> None:
    jobs = [engine.submit(input="x" * 1000) for _ in range(3)]

    first = claim.ready(engine.context, jobs, 2500)
    assert [one.job.id for one in first] == jobs[:2]
    assert engine.job(jobs[2]).due_at == engine.clock()
    assert [one.job.id for one in claim.ready(engine.context, jobs[2:], 10)] == jobs[2:]


def test_a_line_is_served_however_few_threads_there_are(engine: Engine) -> None:
    shares, line = Shares(2), Line(engine.context)
    inside, go = threading.Event(), threading.Event()

    def hold() -> str:
        inside.set()
        go.wait(10)
        return "held"

    with ThreadPoolExecutor(1) as threads:
        holding = threads.submit(shares.run, START, hold)
        inside.wait(10)
        line.join(job_id := engine.submit())
        outcomes = shares.run(START, lambda: start.run(engine.context, line))
        go.set()

    assert (holding.result(), outcomes) == ("held", {job_id: "started"})
