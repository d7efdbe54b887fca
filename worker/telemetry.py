"""Logs and metrics: one wide line for each step, and counters that the ticker adds up in the database.

Nothing passed here may hold a prompt, a payload, a secret or a URL's query. Labels are bounded: never an id.
"""

import json
import logging
import sys
import threading
import traceback
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import structlog

LAG_BOUNDS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
BOUNDS = (*(f"{bound:g}" for bound in LAG_BOUNDS_S), "+Inf")

QUIET = (
    *("httpx", "httpx2", "httpcore", "httpcore2", "google_genai", "aiohttp.access"),
    *("celery.worker.strategy", "celery.app.trace", "kombu", "asyncio", "alembic"),
)
"""Libraries whose lines carry URLs or bodies, or say again what a step's own line says."""

FRAMES = 20

TELLTALES = ("python_multipart",)
"""Libraries whose warnings quote what they read."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("nightdesk")

Series = tuple[str, frozenset[tuple[str, str]]]
_counts: defaultdict[Series, float] = defaultdict(float)
_histograms: defaultdict[Series, tuple[list[int], list[float]]] = defaultdict(lambda: ([0] * len(BOUNDS), []))
"""How many values fell between each two bounds, and their sums: adding them up is left to `drain`."""

_lock = threading.Lock()


def set_up(log_format: Literal["console", "json"] | None, level: str) -> None:
    """Send every log line, ours and the libraries', to stderr in one format."""
    if (log_format or ("console" if sys.stderr.isatty() else "json")) == "console":
        renderer: structlog.types.Processor = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    else:
        renderer = structlog.processors.JSONRenderer()
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        # First of all, whether it is told at all: each request has a line.
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    last: list[structlog.types.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        _unquoted,
        renderer,
    ]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in TELLTALES:
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def step(event: str, **fields: Any) -> Iterator[dict[str, Any]]:
    """One wide line at the end of a step, with its duration; the block adds `outcome` and what else it learns."""
    began = perf_counter()
    line: dict[str, Any] = dict(fields)
    try:
        yield line
    except Exception as error:
        line.setdefault("outcome", "error")
        line["error"] = type(error).__name__
        raise
    finally:
        line.setdefault("outcome", "ok")
        tell(event, began, **line)


def tell(event: str, began: float, /, **line: Any) -> None:
    """The one wide line of a step that began at `began` of `perf_counter`, with its duration."""
    count("nightdesk_steps_total", event=event, outcome=str(line["outcome"]))
    log.info(event, **line, duration_ms=round((perf_counter() - began) * 1000, 1))


def crashed(event: str, error: Exception, **fields: Any) -> None:
    """One line about what nobody foresaw: its kind and its place, not its text, which may quote a prompt or a row."""
    count("nightdesk_crashes_total", event=event)
    log.error(event, outcome="crashed", error=type(error).__name__, place=_place(error), **fields)


def _unquoted(_logger: Any, _method: str, line: structlog.types.EventDict) -> structlog.types.EventDict:
    """The same of an error that a library, or the last resort, would log with its traceback."""
    given = line.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        line.update(error=type(error).__name__, place=_place(error))
    return line


def _place(error: BaseException) -> str:
    """Where it was raised, and by whose calls: the innermost first."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))


def count(name: str, amount: float = 1, /, **labels: str) -> None:
    """Add to a counter."""
    with _lock:
        _counts[name, frozenset(labels.items())] += amount


def observe(name: str, *values_s: float, **labels: str) -> None:
    """Add durations to a histogram."""
    if not values_s:
        return
    with _lock:
        counts, sums = _histograms[name, frozenset(labels.items())]
        for value in values_s:
            counts[bisect_left(LAG_BOUNDS_S, value)] += 1
        sums.append(sum(values_s))


def drain() -> dict[tuple[str, str], float]:
    """Take what was counted since the last call, by name and labels as JSON; histograms as Prometheus has them."""
    with _lock:
        taken = dict(_counts)
        histograms = dict(_histograms)
        _counts.clear()
        _histograms.clear()
    for (name, labels), (counts, sums) in histograms.items():
        for bound, within in zip(BOUNDS, accumulate(counts), strict=True):
            if within:
                taken[f"{name}_bucket", labels | {("le", bound)}] = within
        taken[f"{name}_sum", labels] = sum(sums)
        taken[f"{name}_count", labels] = sum(counts)
    return {(name, json.dumps(dict(labels), sort_keys=True)): value for (name, labels), value in taken.items()}


def restore(amounts: dict[tuple[str, str], float]) -> None:
    """Give back what could not be stored."""
    with _lock:
        for (name, labels), value in amounts.items():
            _counts[name, frozenset(json.loads(labels).items())] += value
