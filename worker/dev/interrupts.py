"""Ctrl-C, SIGTERM and SIGHUP as something to wait for, without work inside a signal handler. Main thread only."""

import os
import select
import signal
from time import monotonic
from types import FrameType, TracebackType
from typing import Any, Self

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ECHO_S = 0.3
"""A wrapper may pass on the Ctrl-C that the terminal has sent to us already."""


class Interrupts:
    """For `with`: inside, signals are counted instead of obeyed; `asked` is how often the end was asked for."""

    def __init__(self) -> None:
        self.asked = 0
        self._asked_at = -ECHO_S
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._reading, writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(writing, False)
        self._writing = writing
        self._wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        # The end of a child is handled too, so that it wakes a wait.
        for number in (*ENDING, signal.SIGCHLD):
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # `nohup` asks to outlive the terminal
            self._before[number] = signal.signal(number, self._count)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._reading)
        os.close(self._writing)

    def wait(self, seconds: float) -> None:
        """Wait, but not longer than until the next signal."""
        if select.select([self._reading], [], [], seconds)[0]:
            os.read(self._reading, 4096)

    def _count(self, number: int, frame: FrameType | None) -> None:
        del frame
        now = monotonic()
        if number in ENDING and now - self._asked_at > ECHO_S:
            self.asked += 1
            self._asked_at = now
