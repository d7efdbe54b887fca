"""The loop thread: what it runs, how it gives up, how it ends."""

import asyncio
import threading
from concurrent.futures import CancelledError

import pytest

from worker.gemini.loop import LoopThread

LONG_S = 20.0


async def name_of_thread() -> str:
    return threading.current_thread().name


async def forever(started: threading.Event, ended: threading.Event) -> None:
    started.set()
    try:
        await asyncio.Event().wait()
    finally:
        ended.set()


def test_work_runs_on_one_thread_of_its_own(loop: LoopThread) -> None:
    names = {loop.run(name_of_thread(), LONG_S) for _ in range(3)}

    assert names == {"nightdesk-loop"}


def test_work_that_takes_too_long_is_cancelled(loop: LoopThread) -> None:
    started, ended = threading.Event(), threading.Event()

    with pytest.raises(TimeoutError):
        loop.run(forever(started, ended), 0.1)

    assert ended.wait(LONG_S)


def test_an_exception_reaches_the_caller(loop: LoopThread) -> None:
    async def fails() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        loop.run(fails(), LONG_S)


def test_stopping_cancels_what_runs_and_frees_its_callers() -> None:
    loop = LoopThread()
    loop.start()
    started, ended = threading.Event(), threading.Event()
    future = loop.submit(forever(started, ended))
    assert started.wait(LONG_S)

    loop.stop()

    assert ended.is_set()
    with pytest.raises(CancelledError):
        future.result(LONG_S)


def test_it_may_be_started_and_stopped_again_and_again() -> None:
    loop = LoopThread()
    for _ in range(2):
        loop.start()
        loop.start()
        assert loop.run(name_of_thread(), LONG_S)
        loop.stop()
        loop.stop()

    assert not loop.is_running


def test_work_for_a_loop_that_does_not_run_is_refused() -> None:
    with pytest.raises(RuntimeError, match="not running"):
        LoopThread().run(name_of_thread(), 1.0)


def test_the_loop_never_waits_for_itself(loop: LoopThread) -> None:
    async def waits() -> None:
        loop.run(name_of_thread(), 1.0)

    with pytest.raises(RuntimeError, match="itself"):
        loop.run(waits(), LONG_S)
