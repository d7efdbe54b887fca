"""One event loop in one thread for a whole process: thousands of calls wait on it while task threads stay synchronous.

Shared by the SDK's client, the poller and the webhook sender. Owns no connection; must be started after any fork.
"""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

STOP_S = 5.0
LAST_LOOK_S = 0.5


class LoopThread:
    """A started thread that runs an event loop until it is stopped; uvloop's where it can be imported."""

    def __init__(self, name: str = "nightdesk-loop") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        """Whether calls can be made."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the thread and return when its loop runs; does nothing if it does already."""
        with self._lock:
            if self.is_running:
                return
            ready = threading.Event()
            self._loop = _new_loop()
            self._loop.call_soon(ready.set)
            self._thread = threading.Thread(target=_live, args=(self._loop,), name=self._name, daemon=True)
            self._thread.start()
            ready.wait()

    def stop(self) -> None:
        """Cancel what runs, close the loop and join the thread; does nothing if it never started."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
            if loop is not None and thread is not None and thread.is_alive():
                loop.call_soon_threadsafe(loop.stop)
                thread.join(STOP_S)

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the loop from any thread and return at once; raises RuntimeError if it does not run."""
        loop = self._loop
        if loop is None or not self.is_running:
            work.close()
            raise RuntimeError("the loop thread is not running")
        try:
            return asyncio.run_coroutine_threadsafe(work, loop)
        except RuntimeError:
            work.close()
            raise

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """Run a coroutine on the loop and wait for it; raises TimeoutError and cancels it after `timeout_s`."""
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("the loop thread cannot wait for itself")
        future = self.submit(work)
        try:
            return future.result(timeout_s)
        except TimeoutError:
            # Where the whole process was stopped for longer, the loop has had no time yet to take what came.
            return future.result(LAST_LOOK_S)
        finally:
            future.cancel()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415 - it exists on some platforms only
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _live(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(_cancel_all())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
