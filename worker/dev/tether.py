"""Child processes that cannot outlive their parent, however it ends: even SIGKILL leaves none behind.

Linux does it by itself (PR_SET_PDEATHSIG); elsewhere a watchdog process holds a pipe that only the parent keeps open.
Spawn from a thread that lives as long as the process: Linux takes the end of the spawning thread for the parent's.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, TypedDict, Unpack

_PR_SET_PDEATHSIG = 1
_WATCHDOG = """
import os, select, sys
if os.fork():
    os._exit(0)
while True:
    parent_is_gone = bool(select.select([0], [], [], 0.5)[0])
    try:
        os.kill(int(sys.argv[1]), int(sys.argv[2]) if parent_is_gone else 0)
    except ProcessLookupError:
        break
    if parent_is_gone:
        break
"""


class Options(TypedDict, total=False):
    """What a caller may ask of Popen."""

    stdout: int | IO[bytes]
    stderr: int | IO[bytes]
    cwd: Path
    env: Mapping[str, str]
    pass_fds: Sequence[int]
    user: int | None
    group: int | None
    extra_groups: Sequence[int] | None


def spawn(
    argv: Sequence[str | Path], *, ending: signal.Signals = signal.SIGKILL, **options: Unpack[Options]
) -> subprocess.Popen[bytes]:
    """Start a child that gets `ending` when this process is gone.

    The child has a session of its own, so that a Ctrl-C reaches the parent alone, who then decides the order.
    """
    tie = _tie(ending) if sys.platform == "linux" else None
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=tie, **options)  # noqa: PLW1509  (two system calls)
    if tie is None:
        watch(child.pid, ending)
    return child


def watch(pid: int, ending: signal.Signals) -> None:
    """Have a watchdog send `ending` to a process when this one is gone; it leaves when the watched process does."""
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", _WATCHDOG, str(pid), str(int(ending))],
        stdin=_lifeline()[0],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        check=True,
    )


def _tie(ending: signal.Signals) -> Callable[[], None]:
    prctl, parent = _libc().prctl, os.getpid()

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, int(ending))
        if os.getppid() != parent:
            os._exit(1)

    return tie


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


@cache
def _lifeline() -> tuple[int, int]:
    """A pipe whose writing end no child inherits: its reading end reports this process's end."""
    return os.pipe()
