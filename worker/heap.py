"""The garbage collector, set for processes that import a lot once and then serve for weeks."""

import gc

THRESHOLDS = (400, 5, 2)
"""New objects until the young are collected, and how many collections of one generation make one of the next."""


def settle() -> None:
    """Leave everything that is there by now out of all collections to come: half a million objects, mostly code.

    Call it once a process is warm. Walking through them again and again took a third of the CPU of polling.
    What is young is all that is left to walk through, so that it can be done often: the classes that the SDK makes for
    each call, 150 KB that only a collection frees, do not pile up.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
