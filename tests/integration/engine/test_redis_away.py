"""Redis refuses, hangs or dies: submitting goes on, nothing raises, and the sweep makes up for what was not said."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from time import monotonic

import pytest

from tests.conftest import MakeSettings
from tests.integration.engine.engine import Engine
from tests.waiting import eventually
from worker.app import DELIVER, POLL, START, Hint, Sender
from worker.dev.redis import EmbeddedRedis
from worker.flow import wake
from worker.store import counters

QUICK_S = 2.0
"""More than the half second it may take, and less than the five that a worker's own connection waits."""

PATIENT_S = 20.0
"""For Redis's answers where there is one."""


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


@pytest.fixture(params=["refused", "silent"])
def lonely(request: pytest.FixtureRequest, engine: Engine, silent: str) -> Iterator[Engine]:
    """An engine whose Redis is not there."""
    url = silent if request.param == "silent" else "redis://127.0.0.1:9/0"
    settings = engine.context.settings.model_copy(update={"redis_url": type(engine.context.settings.redis_url)(url)})
    sender = Sender(settings)
    engine.context = replace(engine.context, sender=sender)
    yield engine
    sender.close()


def quickest(act: Callable[[], object]) -> float:
    """Seconds that it takes at best: a machine that stands still meanwhile says nothing."""
    took_s = list[float]()
    while len(took_s) < 5 and min(took_s, default=QUICK_S) >= QUICK_S:
        began = monotonic()
        act()
        took_s.append(monotonic() - began)
    return min(took_s)


def test_a_submission_commits_and_answers_quickly(lonely: Engine) -> None:
    jobs = list[str]()

    def submit() -> None:
        """The breaker may be closed again by now."""
        jobs.extend(lonely.submit() for _ in range(10))

    assert quickest(submit) < QUICK_S
    assert {lonely.status(job_id) for job_id in jobs} == {"queued"}


def test_a_job_lives_its_whole_life_without_redis(lonely: Engine) -> None:
    job_id = lonely.started(webhook_url="https://hooks.example/in")
    lonely.finish(job_id)
    lonely.poll()
    lonely.sweep()

    assert lonely.status(job_id) == "completed"
    assert len(lonely.deliveries(job_id)) == 1


def test_after_a_failure_nothing_is_tried_for_a_while(lonely: Engine) -> None:
    sender = lonely.context.sender

    assert sender.is_open
    assert sender.send([Hint(POLL)]) == 0
    assert not sender.is_open
    assert sender.failures == 1
    assert (sender.send([Hint(POLL)]), sender.backlog(START)) == (0, None)
    sender.publish(["job_x"])
    assert sender.failures == 1


@pytest.mark.parametrize("call", ["send", "backlog", "publish"])
def test_no_wake_up_ever_raises(lonely: Engine, call: str) -> None:
    sender = lonely.context.sender
    calls: dict[str, Callable[[], object]] = {
        "send": lambda: sender.send([Hint(DELIVER)] * 3),
        "backlog": lambda: sender.backlog(POLL),
        "publish": lambda: sender.publish(["job_x"]),
    }

    calls[call]()

    assert not sender.is_open


def test_wake_ups_after_a_commit_never_raise(lonely: Engine) -> None:
    job = lonely.job(lonely.submit())

    wake.moved(lonely.context, [job])
    wake.batch(lonely.context, POLL)
    assert wake.starts(lonely.context) == 0


def test_failed_sends_are_counted_and_stored_by_the_sweep(lonely: Engine) -> None:
    lonely.submit()

    lonely.sweep()
    lonely.sweep()

    stored = {counter.name: counter.value for counter in lonely.read(counters.all_counters)}
    assert stored["nightdesk_send_failures_total"] >= 1
    assert stored["nightdesk_submitted_total"] >= 1


@pytest.fixture
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A Redis of this test alone, in a folder whose path is short enough for its socket."""
    with EmbeddedRedis(tmp_path_factory.mktemp("r")) as server:
        yield server


def say_something(sender: Sender) -> int:
    """As if the breaker's time were over."""
    sender._closed_until = 0.0
    sender.publish(["job_x"])
    return sender.send([Hint(POLL)])


def test_a_redis_that_dies_and_comes_back_is_found_again(mortal: EmbeddedRedis, make_settings: MakeSettings) -> None:
    sender = Sender(make_settings(redis_url=mortal.url), PATIENT_S)
    assert say_something(sender) == 1

    mortal.stop()
    assert [say_something(sender), say_something(sender)] == [0, 0]
    mortal.start()

    assert say_something(sender) == 1
    assert sender.backlog(POLL) is not None
    sender.close()


def test_a_redis_that_freezes_holds_nobody_up_for_long(mortal: EmbeddedRedis, make_settings: MakeSettings) -> None:
    sender = Sender(make_settings(redis_url=mortal.url))
    eventually(lambda: say_something(sender) == 1)
    assert mortal.process is not None
    os.kill(mortal.process.pid, signal.SIGSTOP)
    said = list[int]()

    assert quickest(lambda: said.append(say_something(sender))) < QUICK_S

    assert set(said) == {0}
    os.kill(mortal.process.pid, signal.SIGCONT)
    sender.close()


def test_when_redis_is_back_the_sweep_says_what_was_not_said(lonely: Engine, engine: Engine, redis_url: str) -> None:
    jobs = [lonely.submit() for _ in range(3)]
    settings = engine.context.settings
    back = Sender(settings.model_copy(update={"redis_url": type(settings.redis_url)(redis_url)}), PATIENT_S)
    engine.context = replace(engine.context, sender=back)

    engine.sweep(6)

    assert back.backlog(START) == len(jobs)
    back.close()
