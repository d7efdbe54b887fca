"""The memory of processes that import a lot once and then serve for weeks with many threads."""

import ctypes
import gc
from contextlib import suppress

THRESHOLDS = (400, 5, 2)
"""New objects until the young are collected, and how many collections of one generation make one of the next."""


ARENAS, ARENA_MAX = 2, -8
"""How many arenas glibc's malloc may have, and M_ARENA_MAX in its malloc.h."""


def prepare() -> None:
    """Let all threads share two arenas of malloc: call it before there are any. Does nothing where that is unknown.

    Each thread would get its own, up to eight for each core, and keep what it once held: a tenth of a worker's memory.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(ARENA_MAX, ARENAS)


def settle() -> None:
    """Leave everything that is there by now out of all collections to come: half a million objects, mostly code.

    Call it once a process is warm. Walking through them again and again took a third of the CPU of polling.
    What is young is all that is left to walk through, so that it can be done often: the classes that the SDK makes for
    each call, 150 KB that only a collection frees, do not pile up.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
