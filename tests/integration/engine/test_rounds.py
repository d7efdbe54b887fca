"""Rounds of starts: whatever happens to one job, the others are sent, heard and recorded."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.integration.engine.engine import Engine
from tests.waiting import eventually
from worker import context as contexts
from worker.app import START
from worker.flow import claim, start
from worker.flow.line import Line
from worker.gemini.client import Created, ProbeAnswer
from worker.gemini.request import CreateRequest
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


def withheld(engine: Engine) -> Callable[[], None]:
    """The first create takes effect, and is answered when the function is called that this gives back."""
    gemini, held = engine.between("gemini"), list[tuple[Future[Created], Future[Created]]]()

    def create(request: CreateRequest) -> Future[Created]:
        made: Future[Created] = gemini.real.create(request)
        if held:
            return made
        held.append((made, Future()))
        return held[0][1]

    def answer() -> None:
        (made, promised), *_ = held
        promised.set_result(made.result(30))

    gemini.instead["create"] = create
    return answer


def test_a_slow_create_holds_up_nobody(lively: Engine, rounds: tuple[Line, ThreadPoolExecutor]) -> None:
    line, threads = rounds
    answer = withheld(lively)
    slow = lively.submit()
    line.join(slow)
    running = threads.submit(start.run, lively.context, line)
    eventually(lambda: lively.job(slow).sent_at)

    quick = lively.submit()
    assert not line.join(quick)

    eventually(lambda: lively.status(quick) == "in_progress")
    assert lively.status(slow) == "starting"
    answer()
    assert running.result(60) == {quick: "started", slow: "started"}


def test_what_nobody_foresaw_keeps_no_answer_from_being_recorded(
    lively: Engine, rounds: tuple[Line, ThreadPoolExecutor]
) -> None:
    line, threads = rounds
    answer = withheld(lively)
    line.join(paid := lively.submit())
    running = threads.submit(start.run, lively.context, line)
    eventually(lambda: lively.job(paid).sent_at)

    def fail(*_: object) -> None:
        raise KeyError("a bug")

    lively.between("database").before["write"] = fail
    line._context = lively.context
    line.join("job_x")
    eventually(lambda: "write" in lively.context.database.calls)  # type: ignore[attr-defined]
    answer()

    assert running.result(60) == {paid: "started"}


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
        go.wait(30)
        return "held"

    with ThreadPoolExecutor(1) as threads:
        holding = threads.submit(shares.run, START, hold)
        inside.wait(30)
        line.join(job_id := engine.submit())
        outcomes = shares.run(START, lambda: start.run(engine.context, line))
        go.set()

    assert (holding.result(), outcomes) == ("held", {job_id: "started"})
