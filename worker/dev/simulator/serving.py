"""Runs the simulator: blocking until a signal, or in a thread of a test. Owns event loops, ports and shutdown."""

import asyncio
import signal
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from aiohttp import web

from worker.dev.simulator.app import build_app
from worker.dev.simulator.client import Control
from worker.dev.simulator.options import Options

try:
    import uvloop
except ImportError:
    new_event_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
else:
    new_event_loop = uvloop.new_event_loop

_START_S = 60.0
_STOP_S = 0.5


def run(options: Options, ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is called with the URL once connections are taken."""

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await _serve(options, ready or _ignore, stop)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())


class SimulatorServer:
    """A simulator in a thread, for `with`: `url` and `control` are there inside the block. Ports are free ones."""

    url: str
    control: Control

    def __init__(self, options: Options | None = None) -> None:
        self._options = options or Options()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._main, name="gemini-simulator", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(_START_S):
            raise TimeoutError("The simulator did not start.")
        if self._failure is not None:
            raise RuntimeError("The simulator did not start.") from self._failure
        self.control = Control(self.url)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_START_S)

    def _main(self) -> None:
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(self._run())
        except Exception as error:  # noqa: BLE001 - it is raised again where the server was entered
            self._failure = error
        finally:
            self._ready.set()

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await _serve(self._options, self._opened, self._stop)

    def _opened(self, url: str) -> None:
        self.url = url
        self._ready.set()


async def _serve(options: Options, ready: Callable[[str], None], stop: asyncio.Event) -> None:
    runner = web.AppRunner(build_app(options), access_log=None, shutdown_timeout=_STOP_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, options.host, options.port, backlog=1024)
        await site.start()
        port = runner.addresses[0][1]
        ready(f"http://{options.host}:{port}")
        await stop.wait()
    finally:
        await runner.cleanup()


def _ignore(url: str) -> None:
    """Nobody wants to know."""
